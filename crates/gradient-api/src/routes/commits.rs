//! `/commits/{id}`: a commit that was evaluated.

use gradient_domain::{CommitId, Username};
use gradient_engine::Commit;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    endpoints::{Endpoints, endpoints},
    envelope::Answer,
    scope::{CommitScope, ViewOrg},
};

pub(super) fn endpoints() -> Endpoints {
    endpoints! { Commits:
        show;
    }
}

/// A commit.
#[derive(Serialize, ToSchema)]
#[schema(as = Commit)]
struct CommitBody {
    id: CommitId,
    #[schema(example = "web: a new page")]
    message: String,
    #[schema(example = "2c26b46b68ffc68ff99b453c1d30413413422d70", pattern = "^[0-9a-f]{40}$")]
    hash: String,
    /// A user of this server; commits are not tied to one yet.
    #[schema(value_type = Option<Username>)]
    author: Option<()>,
    #[schema(example = "Alice")]
    author_name: String,
}

/// Shows a commit that was evaluated.
#[utoipa::path(get, path = "/commits/{id}")]
async fn show(scope: CommitScope<ViewOrg>) -> Answer<CommitBody> {
    let Commit { id, message, hash, author_name, .. } = scope.commit;
    Answer(CommitBody { id, message, hash, author: None, author_name: author_name.unwrap_or_default() })
}
