//! What stands in braces in the paths.

use gradient_domain::{CacheName, OrganizationName, ProjectName, WorkerId};
use utoipa::{
    PartialSchema,
    openapi::{
        ObjectBuilder, RefOr, Required, Schema, SchemaFormat, Type,
        path::{Parameter, ParameterBuilder, ParameterIn},
    },
};

/// The path as OpenAPI writes it, and its parameters. Actix also has a pattern in some braces: `{path:.*}`.
pub(super) fn path(pattern: &str) -> (String, Vec<Parameter>) {
    let mut path = String::new();
    let mut parameters = Vec::new();
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once('{') {
        let (inside, after) = after.split_once('}').unwrap_or((after, ""));
        let name = inside.split(':').next().unwrap_or(inside);
        path.extend([before, "{", name, "}"]);
        parameters.push(parameter(name));
        rest = after;
    }
    path.push_str(rest);
    (path, parameters)
}

fn parameter(name: &str) -> Parameter {
    let (description, schema) = match name {
        "org" => ("The organization's name.", OrganizationName::schema()),
        "project" => ("The project's name.", ProjectName::schema()),
        "cache" => ("The cache's name.", CacheName::schema()),
        "worker" => ("The worker's id.", WorkerId::schema()),
        "id" => ("The id of what is meant.", id()),
        "hash" => ("The first 32 characters of a store path's name.", text("00bgd045z0d4icpbc2yyz4gx48ak44la")),
        "file" => (
            "The name of the file: a NAR's hash in nixbase32, or a build id, with an extension.",
            text("1w1fff338fvdw53sqgamddn1b2xgds473pv6y13gizdbqjv4i5p3.nar.zst"),
        ),
        "realisation" => (
            "A derivation's hash modulo and an output, separated by `!`.",
            text("sha256:cd3fb99ab4ff9a748dba4d04fb9923d0b19103600a14c6381c1402e7419ee295!out"),
        ),
        "output" => ("The derivation's output.", text("out")),
        "derivation" => ("The derivation's name in the store.", text("00bgd045z0d4icpbc2yyz4gx48ak44la-hello-2.12.1.drv")),
        "filename" => ("The name of the file.", text("manual.pdf")),
        "path" => ("A path inside.", text("bin/hello")),
        _ => ("", text("")),
    };
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some(description))
        .schema(Some(schema))
        .build()
}

fn id() -> RefOr<Schema> {
    let uuid = ObjectBuilder::new().schema_type(Type::String).format(Some(SchemaFormat::Custom("uuid".to_owned())));
    uuid.examples(["0191e0a0-4b2c-7d3e-8f40-5a6b7c8d9e0f"]).build().into()
}

fn text(example: &str) -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(Type::String).examples([example]).build().into()
}
