//! What is answered: envelopes of payloads, and errors.

use std::collections::BTreeMap;

use utoipa::openapi::{
    Content, Header, HeaderBuilder, KnownFormat, ObjectBuilder, Ref, RefOr, Response, ResponseBuilder, Schema, SchemaFormat, Type,
};

use super::description::Form;
use crate::error::Code;

/// The answer to a request that succeeded.
pub(super) fn success(payload: RefOr<Schema>) -> Response {
    let envelope = ObjectBuilder::new()
        .property("error", constant(false))
        .required("error")
        .property("message", payload)
        .required("message");
    plain(envelope.build())
}

/// The answer, without an envelope, to a request that succeeded.
pub(super) fn plain(schema: impl Into<RefOr<Schema>>) -> Response {
    ResponseBuilder::new().description("Success.").content("application/json", content(schema)).build()
}

/// The errors that have one status, as a named response: its name and itself.
pub(super) fn failure(codes: &[Code], form: Form) -> Option<(String, Response)> {
    let status = codes.first()?.status().as_u16();
    let slugs: Vec<&str> = codes.iter().map(|code| code.slug()).collect();
    let meanings: Vec<String> = codes.iter().map(|code| format!("- `{}`: {}", code.slug(), code.meaning())).collect();
    let mut response = ResponseBuilder::new().description(meanings.join("\n"));
    if form == Form::Text {
        response = response.content("text/plain", content(ObjectBuilder::new().schema_type(Type::String).build()));
    }
    response = response.content("application/json", content(error_envelope(&slugs)));
    for (name, header) in headers(status) {
        response = response.header(name, header);
    }
    let suffix = if form == Form::Text { ".text" } else { "" };
    Some((format!("{}{suffix}", slugs.join("-")), response.build()))
}

/// A reference to a named response.
pub(super) fn reference(name: &str) -> RefOr<Response> {
    Ref::from_response_name(name).into()
}

/// Each status with the errors that have it.
pub(super) fn by_status(codes: impl IntoIterator<Item = Code>) -> BTreeMap<u16, Vec<Code>> {
    let mut statuses: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    for code in codes {
        let known = statuses.entry(code.status().as_u16()).or_default();
        if known.iter().all(|other| other.slug() != code.slug()) {
            known.push(code);
        }
    }
    statuses
}

fn error_envelope(slugs: &[&str]) -> Schema {
    let code = ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some("For programs: never renamed."))
        .enum_values(Some(slugs.iter().copied()));
    let message = ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some("One sentence for people."))
        .examples(["what happened, to which thing, and what to do"]);
    let envelope = ObjectBuilder::new()
        .property("error", constant(true))
        .required("error")
        .property("code", code)
        .required("code")
        .property("message", message)
        .required("message");
    envelope.build().into()
}

fn headers(status: u16) -> Vec<(&'static str, Header)> {
    let header = |description: &str, schema: ObjectBuilder| {
        HeaderBuilder::new().schema(schema.build()).description(Some(description)).build()
    };
    match status {
        401 => vec![("WWW-Authenticate", header("How to sign in.", ObjectBuilder::new().schema_type(Type::String)))],
        429 => {
            let seconds = ObjectBuilder::new()
                .schema_type(Type::Integer)
                .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
                .minimum(Some(0));
            vec![("Retry-After", header("Seconds until the next request can succeed.", seconds))]
        }
        _ => Vec::new(),
    }
}

fn constant(value: bool) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Boolean).enum_values(Some([value]))
}

fn content(schema: impl Into<RefOr<Schema>>) -> Content {
    Content::new(Some(schema))
}
