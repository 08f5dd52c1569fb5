use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::{
    ApiKeyId, BuildStatus, DisplayName, Email, EvaluationId, OrganizationName, ProjectName, RoleName, Username, WorkerId,
};

fn schema<T: ToSchema>() -> Value {
    serde_json::to_value(T::schema()).unwrap()
}

/// The example in the schema parses.
fn check<T: ToSchema + serde::de::DeserializeOwned>() {
    let example = schema::<T>()["examples"][0].clone();
    assert!(serde_json::from_value::<T>(example.clone()).is_ok(), "{}: {example}", T::name());
}

#[test]
fn examples_are_what_they_are_examples_of() {
    check::<OrganizationName>();
    check::<ProjectName>();
    check::<RoleName>();
    check::<Username>();
    check::<Email>();
    check::<DisplayName>();
    check::<EvaluationId>();
    check::<WorkerId>();
    check::<BuildStatus>();
    check::<crate::CacheName>();
    check::<crate::ApiKeyName>();
    check::<crate::Moment>();
    check::<crate::Priority>();
    check::<crate::RepositoryUrl>();
    check::<crate::Wildcard>();
}

#[test]
fn ids_are_named_after_their_kind() {
    assert_eq!(ApiKeyId::name(), "ApiKeyId");
    assert_eq!(EvaluationId::name(), "EvaluationId");
}

#[test]
fn words_are_told_with_their_meaning() {
    let schema = schema::<crate::Publish>();
    assert_eq!(schema["enum"], json!(["runtime", "all"]));
    assert_eq!(
        schema["description"],
        json!(
            "What of an evaluation the caches get.\n\n\
             - `runtime`: What the entry points need at run time.\n- `all`: All outputs, and the source."
        )
    );
}
