//! Identifiers, times, and texts with a grammar of their own.

use utoipa::openapi::{ObjectBuilder, SchemaFormat};

use super::{schema, text};
use crate::{Id, IdKind, Moment, Password, RepositoryUrl, Wildcard, WorkerId};

schema! {
    <K: IdKind> Id<K>,
    id_name(K::NAME),
    with_format(&format!("Names one {}: a UUID of version 7.", K::NAME), "uuid")
        .examples(["0191e0a0-4b2c-7d3e-8f40-5a6b7c8d9e0f"])
        .build()
}
schema! {
    WorkerId,
    "WorkerId",
    with_format("Names one worker: a UUID of version 4 that the worker made for itself.", "uuid")
        .pattern(Some("^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-4[0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}$"))
        .examples(["550e8400-e29b-41d4-a716-446655440001"])
        .build()
}
schema! {
    Moment,
    "Moment",
    with_format("A point in time: RFC 3339 in UTC, with `Z`.", "date-time").examples(["2026-04-12T10:00:00Z"]).build()
}
schema! {
    Password,
    "Password",
    with_format(
        "A password that may be chosen: an upper case letter, a lower case letter, a digit and a punctuation character; not the word \
         \"password\"; no four ascending characters in a row, and none three times in a row.",
        "password"
    )
    .min_length(Some(8))
    .max_length(Some(128))
    .examples(["Correct-Horse-7"])
    .build()
}
schema! {
    Wildcard,
    "Wildcard",
    text(
        "Which attributes of the flake are evaluated: a comma separated list of attribute paths. `*` stands for any name at its \
         level, and at the end also looks one level deeper; `#` for any name that is a derivation, at exactly that level; `\"a.b\"` \
         quotes a name; `!` in front of a path leaves that one attribute out."
    )
    .min_length(Some(1))
    .max_length(Some(8192))
    .examples(["packages.x86_64-linux.#"])
    .build()
}
schema! {
    RepositoryUrl,
    "RepositoryUrl",
    text(
        "A git repository: an `https`, `http`, `ssh` or `git` URL, its `git+` form, or `git@example.com:owner/name`. Answers leave \
         credentials out."
    )
    .min_length(Some(1))
    .max_length(Some(2048))
    .examples(["https://git.example.com/acme/web.git"])
    .build()
}

fn with_format(description: &str, format: &str) -> ObjectBuilder {
    text(description).format(Some(SchemaFormat::Custom(format.to_owned())))
}

/// `API key` is `ApiKeyId`.
fn id_name(kind: &str) -> String {
    let words = kind.split(' ').map(|word| {
        let (first, rest) = word.split_at_checked(1).unwrap_or((word, ""));
        first.to_uppercase() + &rest.to_lowercase()
    });
    words.chain(["Id".to_owned()]).collect()
}
