//! `/auth/verify-email`, `/auth/resend-verification`: proof that mail to an address is read.

use actix_web::web;
use gradient_engine::Engine;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::{
    ApiError,
    body::Body,
    envelope::{Answer, Sentence},
};

/// What a link in a mail brings.
#[derive(Deserialize, IntoParams)]
pub(super) struct VerifyQuery {
    /// The token of the mail. It is good for a day, and once.
    #[serde(default)]
    #[param(required, example = "jIqbGxLM3bJAvzQ2LFFRN8Hb7Dq0tQJm3sFzq1mZ0hk")]
    token: String,
}

/// Verifies an email address with the token of a mail.
///
/// From then on it is the user's address, if it is not yet.
#[utoipa::path(get, path = "/auth/verify-email")]
pub(super) async fn verify(query: web::Query<VerifyQuery>, engine: web::Data<Engine>) -> Result<Answer<Sentence>, ApiError> {
    let email = engine.verify_email(&query.token).await?;
    Ok(Answer(Sentence(format!("{email} is verified"))))
}

/// Who waits for a mail.
#[derive(Deserialize, ToSchema)]
#[schema(as = VerificationRequest)]
pub(super) struct ResendBody {
    #[schema(example = "alice")]
    username: String,
}

/// Sends the mail with which an email address is verified once more.
///
/// The answer is the same whether there is such a user or not. Nothing is sent within a minute of the last mail.
#[utoipa::path(post, path = "/auth/resend-verification")]
pub(super) async fn resend(body: Body<ResendBody>, engine: web::Data<Engine>) -> Result<Answer<Sentence>, ApiError> {
    engine.resend_verification(&body.read()?.username)?;
    Ok(Answer(Sentence("if this user has an address to verify, a mail is on its way to it".to_owned())))
}
