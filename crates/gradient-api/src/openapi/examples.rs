//! Examples of schemas, put together from those of their parts.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use utoipa::openapi::{
    Content, Object, RefOr, Schema,
    schema::{AdditionalProperties, ArrayItems, SchemaType, Type},
};

pub(super) type Named = BTreeMap<String, RefOr<Schema>>;

/// Gives the content an example, unless it has one.
pub(super) fn add(content: &mut Content, named: &Named) {
    if let (None, true, Some(schema)) = (&content.example, content.examples.is_empty(), &content.schema) {
        content.example = Some(of(schema, named));
    }
}

/// An example of a schema.
fn of(schema: &RefOr<Schema>, named: &Named) -> Value {
    match schema {
        RefOr::Ref(reference) => {
            let name = reference.ref_location.rsplit('/').next().unwrap_or_default();
            named.get(name).map_or(Value::Null, |schema| of(schema, named))
        }
        RefOr::T(Schema::Object(object)) => of_object(object, named),
        RefOr::T(Schema::Array(array)) => given(array.example.as_ref(), &array.examples).unwrap_or_else(|| match &array.items {
            ArrayItems::RefOrSchema(item) => Value::Array(vec![of(item, named)]),
            ArrayItems::False => Value::Array(Vec::new()),
        }),
        RefOr::T(Schema::OneOf(one)) => given(one.example.as_ref(), &one.examples).unwrap_or_else(|| first(&one.items, named)),
        RefOr::T(Schema::AnyOf(any)) => given(any.example.as_ref(), &any.examples).unwrap_or_else(|| first(&any.items, named)),
        RefOr::T(Schema::AllOf(all)) => given(all.example.as_ref(), &all.examples).unwrap_or_else(|| together(&all.items, named)),
        RefOr::T(_) => Value::Null,
    }
}

fn of_object(object: &Object, named: &Named) -> Value {
    if let Some(example) = given(object.example.as_ref(), &object.examples) {
        return example;
    }
    if let Some(word) = object.enum_values.as_ref().and_then(|words| words.first()) {
        return word.clone();
    }
    match kind(&object.schema_type) {
        Some(Type::Object) => {
            let mut example: Map<String, Value> =
                object.properties.iter().map(|(name, schema)| (name.clone(), of(schema, named))).collect();
            if let Some(AdditionalProperties::RefOr(value)) = object.additional_properties.as_deref() {
                example.insert("out".to_owned(), of(value, named));
            }
            Value::Object(example)
        }
        Some(Type::String) => Value::from("text"),
        Some(Type::Integer | Type::Number) => Value::from(1),
        Some(Type::Boolean) => Value::from(true),
        Some(Type::Array) => Value::Array(Vec::new()),
        Some(Type::Null) | None => Value::Null,
    }
}

fn given(example: Option<&Value>, examples: &[Value]) -> Option<Value> {
    example.or_else(|| examples.first()).cloned()
}

/// The first that is not nothing.
fn first(items: &[RefOr<Schema>], named: &Named) -> Value {
    items.iter().map(|item| of(item, named)).find(|example| !example.is_null()).unwrap_or_default()
}

fn together(items: &[RefOr<Schema>], named: &Named) -> Value {
    let mut example = Map::new();
    for item in items {
        if let Value::Object(part) = of(item, named) {
            example.extend(part);
        }
    }
    Value::Object(example)
}

/// The type that is not null.
fn kind(schema_type: &SchemaType) -> Option<Type> {
    match schema_type {
        SchemaType::Type(kind) => Some(kind.clone()),
        SchemaType::Array(kinds) => kinds.iter().find(|kind| **kind != Type::Null).cloned(),
        SchemaType::AnyValue => None,
    }
}
