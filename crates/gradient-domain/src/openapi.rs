//! The JSON schemas of the values, for the description of the REST API: no rule that parsing does not have, and an example of each.

mod names;
mod numbers;
mod texts;

use utoipa::openapi::{Object, ObjectBuilder, Type};

pub(crate) use names::name;

/// Gives a type the schema of this expression, under a name of its own.
macro_rules! schema {
    (<$generic:ident: $bound:ident> $type:ty, $name:expr, $schema:expr) => {
        $crate::openapi::schema!(@ [<$generic: $bound>] $type, $name, $schema);
    };
    (@ [$($generics:tt)*] $type:ty, $name:expr, $schema:expr) => {
        impl $($generics)* utoipa::PartialSchema for $type {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                utoipa::openapi::Schema::from($schema).into()
            }
        }

        impl $($generics)* utoipa::ToSchema for $type {
            fn name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }
        }
    };
    ($type:ty, $name:expr, $schema:expr) => {
        $crate::openapi::schema!(@ [] $type, $name, $schema);
    };
}

pub(crate) use schema;

/// One of the words of a vocabulary, each with what it means.
pub(crate) fn words(doc: &[&str], words: &[(&str, &[&str])]) -> Object {
    let meanings: Vec<String> = words.iter().map(|(word, doc)| format!("- `{word}`: {}", sentence(doc))).collect();
    let description = format!("{}\n\n{}", sentence(doc), meanings.join("\n"));
    let first = words.first().map(|(word, _)| *word);
    text(&description).enum_values(Some(words.iter().map(|(word, _)| *word))).examples(first).build()
}

/// The lines of a doc comment as one.
pub(crate) fn sentence(doc: &[&str]) -> String {
    doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}

fn text(description: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).description(Some(description))
}

#[cfg(test)]
mod tests;
