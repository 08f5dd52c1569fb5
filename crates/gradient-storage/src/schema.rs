//! The tables, as both databases have them. What is not one of diesel's own types is one of `gradient_domain::sql`.

mod accounts;
mod graph;
mod store;

pub(crate) use accounts::*;
pub(crate) use graph::*;
pub(crate) use store::*;

diesel::allow_tables_to_appear_in_same_query!(
    users,
    organizations,
    caches,
    roles,
    organization_members,
    cache_members,
    subscriptions,
    worker_registrations,
    projects,
);
diesel::allow_tables_to_appear_in_same_query!(
    commits,
    evaluations,
    evaluation_counters,
    derivations,
    derivation_outputs,
    derivation_inputs,
    builds,
    evaluation_builds,
    entry_points,
);
diesel::allow_tables_to_appear_in_same_query!(nars, organization_paths, staged_outputs, cache_paths);
