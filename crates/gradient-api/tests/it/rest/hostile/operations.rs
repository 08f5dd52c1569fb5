//! The endpoints, as the description of the API has them: a new one is tried with all of this without a word here.

use serde_json::Value;

/// An endpoint below `/api/v1`.
pub(super) struct Operation {
    pub(super) method: String,
    /// Its path, with parameters in braces.
    template: String,
    /// The fields of its body; none when it takes no body, or can do without.
    pub(super) fields: Vec<String>,
    /// The statuses that it may answer.
    pub(super) statuses: Vec<u16>,
}

impl Operation {
    pub(super) fn all() -> Vec<Self> {
        let document = serde_json::to_value(gradient_api::openapi()).unwrap();
        let mut all = Vec::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            let Some(template) = path.strip_prefix("/api/v1") else { continue };
            for (method, operation) in item.as_object().unwrap() {
                all.push(Self {
                    method: method.to_uppercase(),
                    template: template.to_owned(),
                    fields: fields(&document, &operation["requestBody"]),
                    statuses: operation["responses"].as_object().unwrap().keys().map(|status| status.parse().unwrap()).collect(),
                });
            }
        }
        assert!(all.len() > 50, "{} endpoints only", all.len());
        all
    }

    /// Its path to something that there is, where its parameters are names.
    pub(super) fn path(&self) -> String {
        self.template.split('/').map(existing).collect::<Vec<_>>().join("/")
    }

    /// Its path with this in place of one parameter, for each of its parameters.
    pub(super) fn paths_with(&self, segment: &str) -> Vec<String> {
        let parts: Vec<&str> = self.template.split('/').collect();
        let parameters = parts.iter().enumerate().filter(|(_, part)| part.starts_with('{')).map(|(at, _)| at);
        let path_with = |at: usize| {
            let replaced = parts.iter().enumerate().map(|(other, part)| if other == at { segment } else { existing(part) });
            replaced.collect::<Vec<_>>().join("/")
        };
        parameters.map(path_with).collect()
    }

    /// Whether it is described to answer so.
    pub(super) fn answers(&self, status: u16) -> bool {
        self.statuses.contains(&status)
    }
}

impl std::fmt::Display for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.method, self.template)
    }
}

fn existing(part: &str) -> &str {
    match part {
        "{org}" => "acme",
        "{project}" => "web",
        "{cache}" => "main",
        part if part.starts_with('{') => "0191e0a0-0000-7000-8000-000000000001",
        part => part,
    }
}

/// The properties of a JSON body that has to be there.
fn fields(document: &Value, body: &Value) -> Vec<String> {
    if body["required"] != Value::Bool(true) {
        return Vec::new();
    }
    let schema = &body["content"]["application/json"]["schema"];
    let schema = match schema["$ref"].as_str() {
        Some(reference) => document.pointer(reference.trim_start_matches('#')).unwrap(),
        None => schema,
    };
    schema["properties"].as_object().into_iter().flat_map(|properties| properties.keys().cloned()).collect()
}
