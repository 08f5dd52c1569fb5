//! Under what the endpoints are listed.

use utoipa::openapi::{Tag as OpenApiTag, tag::TagBuilder};

/// A chapter of the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tag {
    Authentication,
    User,
    ApiKeys,
    Organizations,
    Members,
    Roles,
    Workers,
    Projects,
    Evaluations,
    Builds,
    Commits,
    Caches,
    BinaryCache,
    Server,
}

impl Tag {
    /// In the order of the document.
    pub(super) const ALL: [Self; 14] = [
        Self::Authentication,
        Self::User,
        Self::ApiKeys,
        Self::Organizations,
        Self::Members,
        Self::Roles,
        Self::Workers,
        Self::Projects,
        Self::Evaluations,
        Self::Builds,
        Self::Commits,
        Self::Caches,
        Self::BinaryCache,
        Self::Server,
    ];

    pub(super) const fn name(self) -> &'static str {
        self.texts().0
    }

    pub(super) fn build(self) -> OpenApiTag {
        let (name, description) = self.texts();
        TagBuilder::new().name(name).description(Some(description)).build()
    }

    const fn texts(self) -> (&'static str, &'static str) {
        match self {
            Self::Authentication => ("authentication", "Registration, login and logout."),
            Self::User => ("user", "One's own account."),
            Self::ApiKeys => {
                ("API keys", "Keys for programs. Only a session manages them, so that a leaked key makes no siblings.")
            }
            Self::Organizations => ("organizations", "Organizations, their SSH keys and the caches they are subscribed to."),
            Self::Members => ("members", "Who belongs to an organization or a cache, and in which role."),
            Self::Roles => ("roles", "What members can be."),
            Self::Workers => ("workers", "Registrations of workers, with what the connected ones do."),
            Self::Projects => ("projects", "What is evaluated: a repository, a branch, and attributes of its flake."),
            Self::Evaluations => ("evaluations", "Evaluations of projects: their builds, logs and messages."),
            Self::Builds => ("builds", "Builds, their logs, what they are made from and what they made."),
            Self::Commits => ("commits", "Commits that were evaluated."),
            Self::Caches => ("caches", "Binary caches: settings, keys and statistics."),
            Self::BinaryCache => (
                "binary cache",
                "What Nix asks of a cache, outside `/api/v1`. These answers have no envelope, and errors are text.",
            ),
            Self::Server => ("server", "What the server says of itself."),
        }
    }
}
