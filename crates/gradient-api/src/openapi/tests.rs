use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;

/// Each operation: its method and path, and itself.
fn operations_of(document: &Value) -> Vec<(String, Value)> {
    let paths = document["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, item)| {
        item.as_object().unwrap().iter().map(move |(method, operation)| (format!("{method} {path}"), operation.clone()))
    });
    operations.collect()
}

fn document() -> Value {
    serde_json::to_value(openapi()).unwrap()
}

/// Every value of the key `$ref`.
fn references<'v>(value: &'v Value, found: &mut BTreeSet<&'v str>) {
    match value {
        Value::Object(object) => {
            found.extend(object.get("$ref").and_then(Value::as_str));
            object.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[test]
fn every_operation_is_documented() {
    let document = document();
    let mut ids = BTreeSet::new();
    for (what, operation) in operations_of(&document) {
        assert!(ids.insert(operation["operationId"].to_string()), "{what}: its id is another's too");
        let summary = operation["summary"].as_str().unwrap();
        assert!(summary.ends_with('.') && summary.lines().count() == 1, "{what}: {summary:?}");
        assert!(operation[PERMISSION].is_string(), "{what}");
        assert!(operation["security"].is_array(), "{what}");
        assert_eq!(operation["tags"].as_array().unwrap().len(), 1, "{what}");
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            assert!(parameter["description"].as_str().is_some_and(|text| !text.is_empty()), "{what}: {parameter}");
        }
    }
}

#[test]
fn bodies_and_answers_have_examples() {
    for (what, operation) in operations_of(&document()) {
        let succeeds = |status: &str| status.starts_with(['2', '3']);
        let responses = operation["responses"].as_object().unwrap();
        assert!(responses.keys().any(|status| succeeds(status)), "{what}: does it never succeed?");
        let answers = responses.iter().filter(|(status, _)| succeeds(status)).map(|(_, response)| response);
        for content in answers.chain([&operation["requestBody"]]).filter_map(|part| part["content"].as_object()) {
            for (media, content) in content {
                assert!(!content["example"].is_null() || media == "*/*", "{what}: {media}");
            }
        }
    }
}

#[test]
fn every_reference_leads_somewhere() {
    let document = document();
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    for reference in found {
        assert!(document.pointer(reference.strip_prefix('#').unwrap()).is_some(), "{reference}");
    }
}

#[test]
fn links_lead_to_operations_with_such_parameters() {
    let document = document();
    let operations = operations_of(&document);
    let links = operations.iter().filter_map(|(_, operation)| operation["responses"]["200"]["links"].as_object());
    let links: Vec<_> = links.flatten().collect();
    assert_eq!(links.len(), links::NEXT.iter().map(|next| next.operations.len()).sum::<usize>(), "an operation is misnamed");
    for (name, link) in links {
        let (_, target) = operations.iter().find(|(_, operation)| operation["operationId"] == link["operationId"]).expect(name);
        for parameter in link["parameters"].as_object().unwrap().keys() {
            let has_it = target["parameters"].as_array().unwrap().iter().any(|other| other["name"] == *parameter);
            assert!(has_it, "{name} has no {parameter}");
        }
    }
}

#[test]
fn a_name_means_one_schema() {
    let mut document = Document::default();
    document.add("", routes::endpoints());
    document.add("", cache_root::endpoints());
    assert_eq!(document.schemas.conflicts, Vec::<String>::new());
}

#[test]
fn the_types_of_a_handler_tell_what_it_needs() {
    let document = document();
    let operation = &document["paths"]["/api/v1/orgs/{org}/users"]["post"];
    assert_eq!(operation[PERMISSION], json!("manageMembers"));
    assert_eq!(operation["security"], json!([{"bearer": []}, {"cookie": []}]));
    assert_eq!(
        operation["requestBody"]["content"]["application/json"]["schema"]["$ref"],
        json!("#/components/schemas/MemberRole")
    );
    let statuses: Vec<_> = operation["responses"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(statuses, ["200", "400", "401", "403", "404", "408", "409", "413", "429", "500", "503"]);
    assert_eq!(document["paths"]["/api/v1/orgs/{org}"]["get"]["security"], json!([{}, {"bearer": []}, {"cookie": []}]));
    assert_eq!(document["paths"]["/api/v1/user/keys"]["get"][PERMISSION], json!("session"));
    assert_eq!(document["paths"]["/api/v1/health"]["get"]["security"], json!([{}]));
}

#[test]
fn lists_name_their_items() {
    let document = document();
    let answer = |path: &str| {
        document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]["properties"]["message"]
            .clone()
    };
    let member = json!("#/components/schemas/Member");
    assert_eq!(answer("/api/v1/orgs/{org}/users")["items"]["$ref"], member);
    assert_eq!(answer("/api/v1/orgs")["properties"]["items"]["items"]["$ref"], json!("#/components/schemas/Organization"));
    assert_eq!(document["components"]["schemas"]["Organization"]["properties"]["role"]["oneOf"][0], json!({"type": "null"}));
    assert!(document["components"]["schemas"]["Organization"]["required"].as_array().unwrap().contains(&json!("role")));
}
