//! The named schemas of the document.

use serde_json::Value;
use utoipa::openapi::{
    Ref, RefOr, Schema,
    schema::{AdditionalProperties, ArrayItems, SchemaType, Type},
};

use super::examples::Named;

/// Collects schemas under their names.
#[derive(Default)]
pub(super) struct Schemas {
    pub(super) named: Named,
    /// Names that two schemas claim.
    pub(super) conflicts: Vec<String>,
}

impl Schemas {
    /// What requests are made of.
    pub(super) fn add_all(&mut self, schemas: Vec<(String, RefOr<Schema>)>) {
        for (name, mut schema) in schemas {
            self.tidy(&mut schema, Titles::Keep);
            self.insert(name, schema);
        }
    }

    /// What answers are made of. What may be null in an answer is there all the same.
    pub(super) fn add_all_of_answers(&mut self, schemas: Vec<(String, RefOr<Schema>)>) {
        for (name, mut schema) in schemas {
            require_nullable(&mut schema);
            self.tidy(&mut schema, Titles::Keep);
            self.insert(name, schema);
        }
    }

    /// Moves every schema with a title to the named ones, and leaves a reference. Standard types, such as arrays, write out what
    /// they are made of, so that a title is how the schema of an item keeps its name.
    pub(super) fn move_titled(&mut self, schema: &mut RefOr<Schema>) {
        require_nullable(schema);
        self.tidy(schema, Titles::Move);
    }

    fn insert(&mut self, name: String, schema: RefOr<Schema>) {
        match self.named.get(&name) {
            Some(known) if *known != schema => self.conflicts.push(name),
            Some(_) => {}
            None => {
                self.named.insert(name, schema);
            }
        }
    }

    fn tidy(&mut self, schema: &mut RefOr<Schema>, titles: Titles) {
        for part in parts(schema) {
            self.tidy(part, Titles::Move);
        }
        let RefOr::T(inner) = schema else { return };
        one_way_of_examples(inner);
        let title = take_title(inner);
        if let (Some(name), Titles::Move) = (title, titles) {
            let reference = Ref::from_schema_name(&name);
            let named = std::mem::replace(schema, reference.into());
            self.insert(name, named);
        }
    }
}

/// What becomes of a schema with a title.
#[derive(Clone, Copy)]
enum Titles {
    /// It has a name already.
    Keep,
    Move,
}

/// The schemas inside.
fn parts(schema: &mut RefOr<Schema>) -> Vec<&mut RefOr<Schema>> {
    match schema {
        RefOr::T(Schema::Object(object)) => {
            let values = match object.additional_properties.as_deref_mut() {
                Some(AdditionalProperties::RefOr(value)) => Some(value),
                _ => None,
            };
            object.properties.values_mut().chain(values).collect()
        }
        RefOr::T(Schema::Array(array)) => match &mut array.items {
            ArrayItems::RefOrSchema(item) => vec![item],
            ArrayItems::False => Vec::new(),
        },
        RefOr::T(Schema::OneOf(one)) => one.items.iter_mut().collect(),
        RefOr::T(Schema::AnyOf(any)) => any.items.iter_mut().collect(),
        RefOr::T(Schema::AllOf(all)) => all.items.iter_mut().collect(),
        _ => Vec::new(),
    }
}

fn take_title(schema: &mut Schema) -> Option<String> {
    match schema {
        Schema::Object(object) => object.title.take(),
        Schema::OneOf(one) => one.title.take(),
        Schema::AllOf(all) => all.title.take(),
        _ => None,
    }
}

/// OpenAPI 3.1 has `examples`; `example` is the older way.
fn one_way_of_examples(schema: &mut Schema) {
    fn join(example: &mut Option<Value>, examples: &mut Vec<Value>) {
        examples.extend(example.take());
    }
    match schema {
        Schema::Object(object) => join(&mut object.example, &mut object.examples),
        Schema::Array(array) => join(&mut array.example, &mut array.examples),
        Schema::OneOf(one) => join(&mut one.example, &mut one.examples),
        Schema::AnyOf(any) => join(&mut any.example, &mut any.examples),
        Schema::AllOf(all) => join(&mut all.example, &mut all.examples),
        _ => {}
    }
}

/// A property that may be null is written as null, and not left out.
fn require_nullable(schema: &mut RefOr<Schema>) {
    if let RefOr::T(Schema::Object(object)) = schema {
        let nullable = object.properties.iter().filter(|(_, property)| is_nullable(property)).map(|(name, _)| name.clone());
        let missing: Vec<String> = nullable.filter(|name| !object.required.contains(name)).collect();
        object.required.extend(missing);
    }
    for part in parts(schema) {
        require_nullable(part);
    }
}

fn is_nullable(schema: &RefOr<Schema>) -> bool {
    let is_null = |kind: &SchemaType| match kind {
        SchemaType::Type(kind) => *kind == Type::Null,
        SchemaType::Array(kinds) => kinds.contains(&Type::Null),
        SchemaType::AnyValue => false,
    };
    match schema {
        RefOr::T(Schema::Object(object)) => is_null(&object.schema_type),
        RefOr::T(Schema::Array(array)) => is_null(&array.schema_type),
        RefOr::T(Schema::OneOf(one)) => one.items.iter().any(is_nullable),
        _ => false,
    }
}
