//! What an evaluation imports from, as far as it is there already.

use std::collections::{HashMap, HashSet};

use gradient_domain::{Epoch, Job, OrganizationId};
use gradient_nix::StorePath;
use gradient_protocol::InputPath;
use gradient_storage::{Conn, paths::OrganizationPath};

use super::{input_path, offers};
use crate::{
    Engine, EngineError, UploadError,
    closure::{self, Closure},
    substituter::InputOffer,
};

impl Engine {
    /// How a worker gets those of the paths that the organization or one of its upstreams has with all that they refer to, and that;
    /// references first. `NotOwner` when the session with this token does not evaluate that.
    pub async fn imported_paths(
        &self,
        token: &str,
        job: Job,
        epoch: Epoch,
        asked: Vec<StorePath>,
    ) -> Result<Vec<InputPath>, UploadError> {
        let lease = self.lease_of(token, job, epoch)?;
        if !matches!(job, Job::Evaluate(_)) {
            return Err(UploadError::NotOwner { job, epoch });
        }
        // One of the few that its session has, before one of those that everybody shares.
        let _turn = self.upload_permit(lease).await?;
        let _permit = self.preparing().acquire().await.map_err(|_| EngineError::Stopping)?;
        let organization = lease.organization;
        let mut offers = HashMap::new();
        let mut closure = self.closure_of(organization, asked.clone(), &offers).await?;
        if !closure.missing.is_empty() {
            offers = offers::of(self, organization, closure.missing).await?;
            closure = self.closure_of(organization, asked.clone(), &offers).await?;
        }
        let whole = whole(closure, asked);
        Ok(whole.into_iter().map(|path| input_path(path, &offers)).collect())
    }

    async fn closure_of(
        &self,
        organization: OrganizationId,
        roots: Vec<StorePath>,
        offers: &HashMap<StorePath, InputOffer>,
    ) -> Result<Closure, EngineError> {
        let (known, offers) = (self.build_contexts().known.clone(), offers.clone());
        let find = async move |conn: &mut Conn| closure::of(conn, organization, roots, &known, &|_| None, &offers).await;
        Ok(self.storage().read(find).await?)
    }
}

/// What belongs to roots of which nothing is missing; references first.
fn whole(closure: Closure, roots: Vec<StorePath>) -> Vec<OrganizationPath> {
    let mut lacking: HashSet<&StorePath> = closure.missing.iter().collect();
    for path in &closure.paths {
        if path.references.iter().any(|reference| lacking.contains(reference)) {
            lacking.insert(&path.path);
        }
    }
    let mut wanted: HashSet<StorePath> = roots.into_iter().filter(|root| !lacking.contains(root)).collect();
    for path in closure.paths.iter().rev() {
        if wanted.contains(&path.path) {
            wanted.extend(path.references.iter().cloned());
        }
    }
    closure.paths.into_iter().filter(|path| wanted.contains(&path.path)).collect()
}

#[cfg(test)]
mod tests {
    use gradient_nix::NarHash;

    use super::*;

    fn path(name: &str) -> StorePath {
        format!("{}-{name}", "a".repeat(32)).parse().unwrap()
    }

    fn there(name: &str, references: &[&str]) -> OrganizationPath {
        OrganizationPath {
            path: path(name),
            nar_hash: NarHash([0; 32]),
            nar_size: 1,
            references: references.iter().map(|name| path(name)).collect(),
            deriver: None,
            content_address: None,
        }
    }

    #[test]
    fn what_lacks_something_is_left_out_with_what_only_it_needs() {
        let paths = vec![
            there("shared", &[]),
            there("only", &["shared"]),
            there("whole", &["shared", "whole"]),
            there("torn", &["only", "lost"]),
        ];
        let closure = Closure { paths, made: vec![], missing: vec![path("lost")] };
        let whole = whole(closure, vec![path("torn"), path("whole"), path("lost")]);
        let names: Vec<_> = whole.iter().map(|path| path.path.name()).collect();
        assert_eq!(names, ["shared", "whole"]);
    }
}
