//! `/commits/{id}`: a commit that was evaluated.

use actix_web::{http::Method, web};
use gradient_auth::{Caller, Decision};
use gradient_domain::{CommitId, OrgPermission};
use gradient_engine::Engine;
use serde::Serialize;

use super::resource;
use crate::{ApiError, envelope::Answer, scope::Anybody};

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config.service(resource("/commits/{id}", [(Method::GET, web::to(show))]));
}

#[derive(Serialize)]
struct CommitBody {
    id: CommitId,
    message: String,
    hash: String,
    /// A user of this server; commits are not tied to one yet.
    author: Option<()>,
    author_name: String,
}

/// A commit belongs to the organization whose evaluation brought it, and whoever may see that may see it.
async fn show(caller: Anybody, id: web::Path<String>, engine: web::Data<Engine>) -> Result<Answer<CommitBody>, ApiError> {
    let Anybody(caller) = caller;
    let missing = || match caller {
        Caller::Anonymous => ApiError::unauthorized(),
        Caller::User(_) => ApiError::not_found("there is no such commit"),
    };
    let id: CommitId = id.parse().map_err(|_| missing())?;
    let commit = engine.find_commit(id).await?.ok_or_else(missing)?;
    let found = engine.organization_by_id(&caller, commit.organization).await?.ok_or_else(missing)?;
    match found.access.decide(&caller, OrgPermission::ViewOrg) {
        Decision::Granted => {
            let author_name = commit.author_name.unwrap_or_default();
            Ok(Answer(CommitBody { id, message: commit.message, hash: commit.hash, author: None, author_name }))
        }
        Decision::Hidden | Decision::Denied | Decision::Anonymous => Err(missing()),
    }
}
