use std::{error::Error, fmt::Write};

use object_store::path::Path;
use thiserror::Error as ThisError;

use super::S3Settings;
use crate::BlobError;

/// What is wrong with a bucket, and what to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ThisError)]
#[non_exhaustive]
pub enum BucketProblem {
    /// There is none of this name.
    #[error("there is no such bucket; make it, or correct its name")]
    NoSuchBucket,
    /// The access key is unknown, or its secret is wrong.
    #[error("the access key or its secret is wrong")]
    WrongCredentials,
    /// The access key may not do this.
    #[error("the access key may not do this; it needs to get, put and delete objects and to abort multipart uploads")]
    Forbidden,
    /// The bucket is elsewhere.
    #[error("the bucket is in another region; correct the region or the endpoint")]
    WrongRegion,
    /// Signatures carry the time.
    #[error("the clocks of this machine and of the server differ too much; set this machine's")]
    WrongTime,
    /// There is an object of this name, or one is just being made.
    #[error("there is an object of this name, or another one is just being made")]
    Exists,
    /// Somebody else removed it, or an upload that is not completed yet.
    #[error("it is not there any more; nothing but this server may remove anything below its prefix")]
    Gone,
    /// No answer, or none in time.
    #[error("its server does not answer; see that the endpoint is right and that it runs")]
    NoAnswer,
    /// The source says what.
    #[error("its server refuses it")]
    Refused,
}

pub(crate) fn failed(settings: &S3Settings, location: &Path, source: object_store::Error) -> BlobError {
    BlobError::Bucket {
        bucket: settings.bucket.clone(),
        server: settings.server(),
        object: location.to_string(),
        problem: problem(&source),
        source: Box::new(source),
    }
}

/// Also a missing bucket is a 404, and only the code in the body tells it from a missing object.
pub(crate) fn is_no_such_bucket(error: &object_store::Error) -> bool {
    chain(error).contains("NoSuchBucket")
}

pub(crate) fn is_not_implemented(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::NotImplemented { .. }) || chain(error).contains("NotImplemented")
}

fn problem(error: &object_store::Error) -> BucketProblem {
    let text = chain(error);
    let codes = [
        ("NoSuchBucket", BucketProblem::NoSuchBucket),
        ("InvalidAccessKeyId", BucketProblem::WrongCredentials),
        ("NotSignedUp", BucketProblem::WrongCredentials),
        ("SignatureDoesNotMatch", BucketProblem::WrongCredentials),
        ("RequestTimeTooSkewed", BucketProblem::WrongTime),
        ("AuthorizationHeaderMalformed", BucketProblem::WrongRegion),
        ("PermanentRedirect", BucketProblem::WrongRegion),
        ("incorrectly configured region", BucketProblem::WrongRegion),
    ];
    if let Some((_, problem)) = codes.into_iter().find(|(code, _)| text.contains(code)) {
        return problem;
    }
    match error {
        object_store::Error::NotFound { .. } => BucketProblem::Gone,
        object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. } => BucketProblem::Exists,
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => BucketProblem::Forbidden,
        _ if text.contains("HTTP error") => BucketProblem::NoAnswer,
        _ => BucketProblem::Refused,
    }
}

/// All that the error says. Its sources carry the body of the answer, in which the server names the code.
fn chain(error: &object_store::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let _ = write!(text, ": {error}");
        source = error.source();
    }
    text
}
