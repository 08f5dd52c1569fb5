//! JSON bodies of requests. What does not parse is told with the field it is about and what was expected there.

mod receive;

use std::{convert::Infallible, future::Future, pin::Pin};

use actix_web::{FromRequest, HttpRequest, dev::Payload, web};
use serde::de::DeserializeOwned;
use utoipa::{ToSchema, openapi::Required};

use crate::{
    ApiError,
    error::Code,
    openapi::{Describe, Description},
    rate_limit::RateLimiter,
};
use receive::receive;

pub(crate) use receive::{BodyLimits, Received, Receiving, Sender};

/// A body that has to be there. Whatever content type it claims, it has to be JSON.
///
/// What is wrong with it is told by [`read`](Self::read), in the handler: by then the other extractors have decided whether the
/// caller is to be told anything.
pub(crate) struct Body<T>(Result<T, ApiError>);

/// A body that may be missing.
pub(crate) struct OptionalBody<T>(Result<Option<T>, ApiError>);

type Extracting<T> = Pin<Box<dyn Future<Output = Result<T, Infallible>>>>;

impl<T> Body<T> {
    pub(crate) fn read(self) -> Result<T, ApiError> {
        self.0
    }
}

impl<T> OptionalBody<T> {
    pub(crate) fn read(self) -> Result<Option<T>, ApiError> {
        self.0
    }
}

impl<T: DeserializeOwned + 'static> FromRequest for Body<T> {
    type Error = Infallible;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), payload.take());
        Box::pin(async move { Ok(Self(of_client(&request, payload).await.and_then(|body| parse(body.bytes())))) })
    }
}

impl<T: DeserializeOwned + 'static> FromRequest for OptionalBody<T> {
    type Error = Infallible;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let parse_some = |bytes: &[u8]| if bytes.trim_ascii().is_empty() { Ok(None) } else { parse(bytes).map(Some) };
            Ok(Self(of_client(&request, payload).await.and_then(|body| parse_some(body.bytes()))))
        })
    }
}

impl<T: ToSchema> Describe for Body<T> {
    fn describe(description: &mut Description) {
        description.takes::<T>(Required::True);
    }
}

impl<T: ToSchema> Describe for OptionalBody<T> {
    fn describe(description: &mut Description) {
        description.takes::<T>(Required::False);
    }
}

/// A body for a handler that finds out first whether the sender may send it.
pub(crate) async fn read<T: DeserializeOwned>(
    limits: &BodyLimits,
    sender: Sender,
    request: &HttpRequest,
    payload: web::Payload,
) -> Result<T, ApiError> {
    parse(receive(limits, sender, request, payload.into_inner()).await?.bytes())
}

async fn of_client(request: &HttpRequest, payload: Payload) -> Result<Received, ApiError> {
    let (limits, sender) = bounds(request)?;
    receive(limits, sender, request, payload).await
}

/// The bounds of a client's body, and whose memory it takes.
pub(crate) fn bounds(request: &HttpRequest) -> Result<(&BodyLimits, Sender), ApiError> {
    let (limits, clients) = (request.app_data::<web::Data<BodyLimits>>(), request.app_data::<web::Data<RateLimiter>>());
    let (Some(limits), Some(clients)) = (limits, clients) else {
        return Err(ApiError::new(Code::Internal, "internal server error"));
    };
    Ok((limits, Sender::Client(clients.client(request))))
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    // Fields have names: what serde would take for them by their places is nothing that anybody means.
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        return Err(ApiError::bad_request("the body is not what is expected: an array, expected an object"));
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let (path, inner) = (error.path().to_string(), error.inner());
        let at = if path == "." { String::new() } else { format!("{path}: ") };
        ApiError::bad_request(format!("the body is not what is expected: {at}{inner}"))
    })?;
    json.end().map_err(|error| ApiError::bad_request(format!("the body is not what is expected: {error}")))?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::parse;

    #[derive(Debug, Deserialize)]
    struct Example {
        name: String,
        #[serde(default)]
        numbers: Vec<u8>,
    }

    fn error(text: &str) -> String {
        parse::<Example>(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn an_error_names_the_field_and_what_is_expected() {
        let example: Example = parse(br#"{"name": "x", "unknown": 1}"#).unwrap();
        assert_eq!((example.name.as_str(), example.numbers.len()), ("x", 0));
        assert!(error(r#"{"name": 5}"#).contains("name: invalid type: integer `5`, expected a string"));
        assert!(error("{}").contains("missing field `name`"));
        assert!(error(r#"{"name": "x", "numbers": [1, 300]}"#).contains("numbers[1]: invalid value: integer `300`, expected u8"));
        assert!(error(r#" ["x", [1]]"#).contains("expected an object"));
        assert!(error("").contains("EOF"));
        assert!(error(r#"{"name": "x"} {}"#).contains("trailing characters"));
    }
}
