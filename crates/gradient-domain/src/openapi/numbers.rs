//! Numbers, and what wears the form of one.

use utoipa::openapi::{KnownFormat, ObjectBuilder, SchemaFormat, Type};

use super::schema;
use crate::{Epoch, Priority};

schema! {
    Priority,
    "Priority",
    integer("A project's priority: higher runs first, 0 where nothing is said.").minimum(Some(-10)).maximum(Some(10)).examples([0]).build()
}
schema! {
    Epoch,
    "Epoch",
    integer("Which attempt at a build, counted from 1.").minimum(Some(0)).examples([1]).build()
}

fn integer(description: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int32)))
        .description(Some(description))
}
