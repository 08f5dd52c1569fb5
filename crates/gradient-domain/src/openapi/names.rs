//! The names that only parse.

use utoipa::openapi::{KnownFormat, Object, SchemaFormat};

use super::{sentence, text};
use crate::NameField;

const SLUG: &str = "^(?!(?:available|public)$)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$";
const PROJECT: &str = "^(?!(?:available|public|build-request)$)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$";
const ROLE: &str = "^(?!(?:available|public)$)(?:Admin|Write|View|[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)$";
const USERNAME: &str = "^[A-Za-z0-9]+(?:[_-][A-Za-z0-9]+)*$";

/// The schema of a name of this kind.
pub(crate) fn name(field: NameField, doc: &[&str]) -> Object {
    let (example, longest) = match field {
        NameField::Organization => ("acme", 64),
        NameField::Project => ("web", 64),
        NameField::Cache => ("main", 64),
        NameField::Role => ("deployer", 64),
        NameField::ApiKey => ("ci-runner", 100),
        NameField::DisplayName => ("Acme Corp.", 100),
        NameField::Username => ("alice", 50),
        NameField::Email => ("alice@example.com", 254),
    };
    let shortest = if field == NameField::Username { 3 } else { 1 };
    let pattern = match field {
        NameField::Organization | NameField::Cache => Some(SLUG),
        NameField::Project => Some(PROJECT),
        NameField::Role => Some(ROLE),
        NameField::Username => Some(USERNAME),
        // Letters and digits of every script: the description says so, since patterns differ in what they call a letter.
        NameField::ApiKey | NameField::DisplayName | NameField::Email => None,
    };
    let format = (field == NameField::Email).then_some(SchemaFormat::KnownFormat(KnownFormat::Email));
    text(&sentence(doc))
        .pattern(pattern)
        .format(format)
        .min_length(Some(shortest))
        .max_length(Some(longest))
        .examples([example])
        .build()
}
