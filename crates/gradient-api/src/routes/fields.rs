//! From the fields of a request to the types that prove them, with the code that tells programs which one is wrong.

use std::{fmt::Display, str::FromStr};

use gradient_domain::{CachePermission, NameError, NameField, OrgPermission, PasswordError};
use serde::{Deserialize, Deserializer};
use utoipa::{IntoParams, ToSchema};

use crate::{ApiError, envelope::Page, error::Code};

impl From<NameError> for ApiError {
    fn from(error: NameError) -> Self {
        let code = match error.field {
            NameField::Username => Code::InvalidUsername,
            NameField::Email => Code::InvalidEmail,
            NameField::Organization
            | NameField::Project
            | NameField::Cache
            | NameField::Role
            | NameField::ApiKey
            | NameField::DisplayName => Code::InvalidName,
        };
        Self::new(code, error.to_string())
    }
}

impl From<PasswordError> for ApiError {
    fn from(error: PasswordError) -> Self {
        Self::new(Code::InvalidPassword, error.to_string())
    }
}

/// The value of a field whose type has no code of its own.
pub(super) fn parse<T: FromStr<Err: Display>>(field: &str, text: &str) -> Result<T, ApiError> {
    text.parse().map_err(|error| ApiError::new(Code::Validation, format!("{field}: {error}")))
}

/// The name in an optional field.
pub(super) fn optional<T: FromStr<Err = NameError>>(text: Option<&String>) -> Result<Option<T>, ApiError> {
    Ok(text.map(|text| text.parse()).transpose()?)
}

/// The longest description, in characters.
const MAX_DESCRIPTION: usize = 10_000;

/// What somebody says to be a name, to look for it. The one character that databases do not take is in no name.
pub(super) fn sought(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// A description: any text that is not too long.
pub(super) fn description(text: String) -> Result<String, ApiError> {
    if text.contains('\0') {
        Err(ApiError::new(Code::Validation, "description: must not have the character U+0000"))
    } else if text.chars().count() <= MAX_DESCRIPTION {
        Ok(text)
    } else {
        Err(ApiError::new(Code::Validation, format!("description: at most {MAX_DESCRIPTION} characters")))
    }
}

/// Tells a field that is `null` from one that is not there: for use with `#[serde(default)]`.
#[expect(clippy::option_option, reason = "absent, null and a value are three different things")]
pub(super) fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// A permission in organizations or on caches, as requests name it and answers tell it.
#[derive(ToSchema)]
#[schema(as = Permission)]
#[serde(untagged)]
#[expect(dead_code, reason = "the schema of texts that are looked up later")]
pub(super) enum AnyPermission {
    Organization(OrgPermission),
    Cache(CachePermission),
}

/// Which page of a list.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// Which page, counted from 1.
    #[param(minimum = 1, maximum = 4_294_967_295_u32, default = 1)]
    page: Option<u32>,
    /// How many items a page has.
    #[param(minimum = 1, maximum = 100, default = 50)]
    per_page: Option<u32>,
}

/// A page that there can be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    page: u32,
    pub(super) limit: u32,
    pub(super) offset: u32,
}

impl PageQuery {
    pub(super) fn window(self) -> Result<Window, ApiError> {
        let (page, limit) = (self.page.unwrap_or(1), self.per_page.unwrap_or(50));
        if page == 0 {
            return Err(ApiError::bad_request("page has to be at least 1"));
        }
        if !(1..=100).contains(&limit) {
            return Err(ApiError::bad_request("per_page has to be from 1 to 100"));
        }
        Ok(Window { page, limit, offset: (page - 1).saturating_mul(limit) })
    }
}

impl Window {
    pub(super) fn of<T>(self, items: Vec<T>, total: i64) -> Page<T> {
        Page { items, total, page: self.page, per_page: self.limit }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_counted_from_one() {
        let window = |page, per_page| PageQuery { page, per_page }.window().map(|window| (window.limit, window.offset)).ok();
        assert_eq!(window(None, None), Some((50, 0)));
        assert_eq!(window(Some(3), Some(100)), Some((100, 200)));
        assert_eq!(window(Some(0), None), None);
        assert_eq!(window(None, Some(0)), None);
        assert_eq!(window(None, Some(101)), None);
        assert_eq!(window(Some(u32::MAX), Some(100)), Some((100, u32::MAX)));
    }
}
