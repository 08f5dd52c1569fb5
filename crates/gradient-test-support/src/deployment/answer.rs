//! Values out of the API's answers.

use serde_json::Value;

use super::DeploymentError;

/// A text.
pub fn text(value: &Value) -> Result<&str, DeploymentError> {
    value.as_str().ok_or_else(|| unexpected("a text", value))
}

/// The text in a field.
pub fn field<'a>(value: &'a Value, name: &str) -> Result<&'a str, DeploymentError> {
    value.get(name).and_then(Value::as_str).ok_or_else(|| unexpected(&format!("a text in the field `{name}`"), value))
}

/// The elements of a list.
pub fn list(value: &Value) -> Result<&[Value], DeploymentError> {
    value.as_array().map(Vec::as_slice).ok_or_else(|| unexpected("a list", value))
}

fn unexpected(expected: &str, value: &Value) -> DeploymentError {
    DeploymentError::UnexpectedAnswer { expected: expected.to_owned(), answer: value.clone() }
}
