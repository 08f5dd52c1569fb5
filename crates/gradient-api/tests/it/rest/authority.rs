//! Who may call what: one table of all endpoints, and a sweep that calls each of them as those who may not and as somebody who may.

mod sweep;
mod table;
mod world;

use std::collections::BTreeMap;

use serde_json::Value;
use table::TABLE;

/// Each endpoint of the description with the permission that it tells, by method and path. HEAD is GET without the bytes.
fn described() -> BTreeMap<(String, String), String> {
    let document = serde_json::to_value(gradient_api::openapi()).unwrap();
    let mut found = BTreeMap::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let permission = permission(operation);
            match method.as_str() {
                "head" => assert_eq!(permission, self::permission(&item["get"]), "HEAD {path}"),
                _ => drop(found.insert((method.to_uppercase(), path.clone()), permission)),
            }
        }
    }
    found
}

fn permission(operation: &Value) -> String {
    operation["x-gradient-permission"].as_str().unwrap().to_owned()
}

#[test]
fn the_table_has_every_endpoint_with_its_permission() {
    let table: BTreeMap<(String, String), String> =
        TABLE.iter().map(|row| ((row.method.to_owned(), row.full_path()), row.permission.to_owned())).collect();
    assert_eq!(table.len(), TABLE.len(), "an endpoint has two rows");
    let described = described();
    let missing: Vec<_> = described.iter().filter(|(endpoint, _)| !table.contains_key(*endpoint)).collect();
    assert!(missing.is_empty(), "these have no row in authority/table.rs: {missing:#?}");
    let unknown: Vec<_> = table.keys().filter(|endpoint| !described.contains_key(*endpoint)).collect();
    assert!(unknown.is_empty(), "the server has nothing at these rows of authority/table.rs: {unknown:#?}");
    assert_eq!(table, described);
}
