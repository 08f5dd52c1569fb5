//! The REST API as an OpenAPI 3.1 document, made from the same endpoints that are served.
//!
//! What is common is said once: a handler's argument types tell the permission, the parameters, the body and the errors that come
//! with them; its answer type tells the answer; examples are put together from those of the parts.

mod answers;
mod description;
mod examples;
mod links;
mod parameters;
mod permission;
mod schemas;
mod tag;

use std::collections::BTreeMap;

use utoipa::openapi::{
    Components, ComponentsBuilder, Content, HttpMethod, Info, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, PathItem,
    Paths, RefOr, Response, Server,
    extensions::ExtensionsBuilder,
    path::Operation,
    security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
};

use crate::{
    cache_root,
    endpoints::{Endpoint, Endpoints},
    routes,
    scope::COOKIE,
};
use permission::{BASIC, BEARER};
use schemas::Schemas;

pub(crate) use description::{Describe, Description, Form};
pub(crate) use permission::{Credentials, Permission};
pub(crate) use tag::Tag;

/// Under which name an operation tells the permission it needs.
const PERMISSION: &str = "x-gradient-permission";

const ABOUT: &str = "\
A Nix CI system with a binary cache built in.

Every JSON answer below `/api/v1` is an envelope: `{\"error\": false, \"message\": payload}`, or, when a request fails, \
`{\"error\": true, \"code\": \"not_found\", \"message\": \"a sentence\"}`. Codes are stable. What somebody may not see is answered like \
what does not exist.

Unknown fields of requests are ignored. Ids are UUIDs; times are RFC 3339 in UTC. `x-gradient-permission` tells what an operation \
needs: `none`, `signedIn`, `session`, `superuser`, or a permission in the organization or on the cache that it is about.";

/// The document.
pub fn openapi() -> OpenApi {
    let mut document = Document::default();
    document.add("/api/v1", routes::endpoints());
    document.add("/cache/{cache}", cache_root::endpoints());
    document.finish()
}

/// The document while it is made.
#[derive(Default)]
struct Document {
    paths: Paths,
    schemas: Schemas,
    /// Errors, by name.
    responses: BTreeMap<String, Response>,
}

impl Document {
    fn add(&mut self, prefix: &str, endpoints: Endpoints) {
        for endpoint in endpoints {
            let (path, _) = parameters::path(&format!("{prefix}{}", endpoint.path));
            for method in &endpoint.methods {
                let operation = self.operation(prefix, &endpoint, method);
                let item = self.paths.paths.entry(path.clone()).or_default();
                *slot(item, method) = Some(operation);
            }
        }
    }

    fn operation(&mut self, prefix: &str, endpoint: &Endpoint, method: &HttpMethod) -> Operation {
        let mut operation = (endpoint.operation)();
        let mut schemas = Vec::new();
        (endpoint.schemas)(&mut schemas);
        self.schemas.add_all_of_answers(schemas);

        let mut description = Description::new();
        (endpoint.describe)(&mut description);
        description.errors.extend(endpoint.codes);
        if *method != HttpMethod::Get && *method != HttpMethod::Head && description.credentials != Credentials::Unused {
            description.fails_with(crate::error::Code::Forbidden);
        }
        self.schemas.add_all(std::mem::take(&mut description.request_schemas));
        self.schemas.add_all_of_answers(std::mem::take(&mut description.answer_schemas));

        operation.operation_id = Some(operation_id(endpoint.name, method));
        operation.tags = Some(vec![endpoint.tag.name().to_owned()]);
        let needs = description.permission.sentence(description.credentials);
        operation.description =
            Some([operation.description.as_deref().unwrap_or_default(), &needs].join("\n\n").trim().to_owned());
        let ways: &[&str] = if description.form == Form::Text { &[BASIC, BEARER] } else { &[BEARER, permission::COOKIE] };
        operation.security = Some(permission::security(description.credentials, ways));
        let extension = ExtensionsBuilder::new().add(PERMISSION, description.permission.name()).build();
        operation.extensions.get_or_insert_default().merge(extension);

        let (_, parameters) = parameters::path(&format!("{prefix}{}", endpoint.path));
        let own = operation.parameters.get_or_insert_default();
        for parameter in parameters.into_iter().chain(description.query.drain(..)) {
            if own.iter().all(|other| other.name != parameter.name) {
                own.push(parameter);
            }
        }
        if operation.request_body.is_none() {
            operation.request_body = description.body.take();
        }
        self.respond(&mut operation, &mut description);
        links::add(&mut operation);
        if *method == HttpMethod::Head {
            without_bodies(&mut operation, &self.responses);
        }
        operation
    }

    /// Adds the answer and the errors, unless the handler's own documentation has them.
    fn respond(&mut self, operation: &mut Operation, description: &mut Description) {
        let responses = &mut operation.responses.responses;
        let succeeds = responses.keys().any(|status| status.starts_with(['2', '3']));
        if let (false, Some(answer)) = (succeeds, description.answer.take()) {
            responses.insert("200".to_owned(), answer.into());
        }
        for (status, codes) in answers::by_status(description.errors.iter().copied()) {
            let status = status.to_string();
            if responses.contains_key(&status) {
                continue;
            }
            if let Some((name, response)) = answers::failure(&codes, description.form) {
                responses.insert(status, answers::reference(&name));
                self.responses.insert(name, response);
            }
        }
    }

    fn finish(mut self) -> OpenApi {
        for content in self.paths.paths.values_mut().flat_map(operations).flat_map(contents) {
            if let Some(schema) = &mut content.schema {
                self.schemas.move_titled(schema);
            }
        }
        let errors = self.responses.values_mut().flat_map(|response| response.content.values_mut());
        for content in self.paths.paths.values_mut().flat_map(operations).flat_map(contents).chain(errors) {
            examples::add(content, &self.schemas.named);
        }
        OpenApiBuilder::new()
            .info(info())
            .servers(Some([Server::new("/")]))
            .tags(Some(Tag::ALL.map(Tag::build)))
            .paths(self.paths)
            .components(Some(components(self.schemas, self.responses)))
            .build()
    }
}

/// The place of a method's operation.
fn slot<'i>(item: &'i mut PathItem, method: &HttpMethod) -> &'i mut Option<Operation> {
    match method {
        HttpMethod::Get => &mut item.get,
        HttpMethod::Post => &mut item.post,
        HttpMethod::Put => &mut item.put,
        HttpMethod::Delete => &mut item.delete,
        HttpMethod::Options => &mut item.options,
        HttpMethod::Head => &mut item.head,
        HttpMethod::Patch => &mut item.patch,
        HttpMethod::Trace => &mut item.trace,
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem { get, post, put, delete, head, patch, .. } = item;
    [get, post, put, delete, head, patch].into_iter().flatten()
}

/// The bodies of its requests and answers, but not of its errors.
fn contents(operation: &mut Operation) -> impl Iterator<Item = &mut Content> {
    let bodies = operation.request_body.iter_mut().flat_map(|body| body.content.values_mut());
    let answers = operation.responses.responses.values_mut().filter_map(|response| match response {
        RefOr::T(response) => Some(response.content.values_mut()),
        RefOr::Ref(_) => None,
    });
    bodies.chain(answers.flatten())
}

/// The handler's module and name: unique, and fit for a function in any language.
fn operation_id(name: &str, method: &HttpMethod) -> String {
    let name = name.replace(' ', "");
    let below = ["gradient_api::routes::", "gradient_api::"].iter().find_map(|prefix| name.strip_prefix(prefix));
    let id = below.unwrap_or(&name).replace("::", "_");
    if *method == HttpMethod::Head { format!("{id}_head") } else { id }
}

/// An answer to HEAD has the headers of that to GET, and nothing else.
fn without_bodies(operation: &mut Operation, errors: &BTreeMap<String, Response>) {
    for response in operation.responses.responses.values_mut() {
        if let RefOr::Ref(reference) = response {
            let name = reference.ref_location.rsplit('/').next().unwrap_or_default();
            *response = errors.get(name).cloned().unwrap_or_default().into();
        }
        if let RefOr::T(response) = response {
            response.content.clear();
        }
    }
}

fn components(schemas: Schemas, responses: BTreeMap<String, Response>) -> Components {
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("A session's JWT, or an API key, which begins with `GRAD`."));
    let basic = HttpBuilder::new()
        .scheme(HttpAuthScheme::Basic)
        .description(Some("Any user name; the password is a session's JWT or an API key. This is how Nix signs in."));
    let cookie = ApiKeyValue::with_description(
        COOKIE,
        "The cookie that login sets. What changes something then needs `Origin` to be the server's own, or `Sec-Fetch-Site: same-origin`.",
    );
    ComponentsBuilder::new()
        .schemas_from_iter(schemas.named)
        .responses_from_iter(responses)
        .security_scheme(BEARER, SecurityScheme::Http(bearer.build()))
        .security_scheme(BASIC, SecurityScheme::Http(basic.build()))
        .security_scheme(permission::COOKIE, SecurityScheme::ApiKey(ApiKey::Cookie(cookie)))
        .build()
}

fn info() -> Info {
    let license = LicenseBuilder::new().name("MIT OR Apache-2.0").identifier(Some("MIT OR Apache-2.0"));
    InfoBuilder::new()
        .title("Gradient")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(ABOUT))
        .license(Some(license.build()))
        .build()
}

#[cfg(test)]
mod tests;
