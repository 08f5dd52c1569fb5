//! What is left of things that were deleted and of evaluations that are not kept, found and removed piece by piece.
//!
//! A search reads; it goes on `after` what it found last, so that all of its calls together look at everything once. A removal
//! looks again, at few rows and with those locked that decide: what somebody needs by then stays. Removals are to be called in a
//! transaction each.

mod builds;
mod derivations;
mod evaluations;
mod nars;
mod owners;
mod realisations;

pub use builds::{delete_builds, discarded_logs, forget_discarded_log, unneeded_builds};
pub use derivations::{delete_commits, delete_derivations, unneeded_commits, unneeded_derivations};
pub use evaluations::{deletable_of_organization, deletable_of_project, delete_evaluation_part, superfluous, superfluous_direct};
pub use nars::{condemn_nars, discard_nars, discarded_nars, forget_discarded_nar, spare_nars, unneeded_nars};
pub use owners::{
    delete_cache, delete_cache_paths, delete_organization, delete_organization_paths, delete_project, delete_uploaded_logs,
    deleted_caches, deleted_organizations, deleted_projects, direct_builders, retentions,
};
pub use realisations::{OrphanedRealisation, delete_realisations, orphaned_realisations};
