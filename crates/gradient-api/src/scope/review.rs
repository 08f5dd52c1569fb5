//! A stream may go on for as long as a build does. Meanwhile keys are revoked and members leave, so it is decided again and again.

use std::time::Duration;

use actix_web::{FromRequest, HttpMessage, HttpRequest, web};

use crate::{ApiError, error::Code, rate_limit::KnownCaller};

/// From one decision to the next.
pub(crate) struct StreamReview(pub(crate) Duration);

/// Waits until the request would not be granted the scope `S` any more.
pub(crate) async fn revoked<S: FromRequest<Error = ApiError>>(request: HttpRequest) {
    let review = request.app_data::<web::Data<StreamReview>>().map_or(Duration::from_mins(1), |review| review.0);
    loop {
        tokio::time::sleep(review).await;
        // Who asked is known from the beginning, and may have signed out since.
        request.extensions_mut().remove::<KnownCaller>();
        match S::extract(&request).await {
            Err(error) if matches!(error.code(), Code::Unauthorized | Code::Forbidden | Code::NotFound) => return,
            // When it cannot be decided now, the last decision holds until it can.
            Ok(_) | Err(_) => {}
        }
    }
}
