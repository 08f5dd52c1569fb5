//! The tables, as both databases have them. What is not one of diesel's own types is one of `gradient_domain::sql`.

#![allow(clippy::wildcard_imports, reason = "a schema is written with all SQL types in scope")]

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
    cache_keys,
    cache_members,
    cache_upstreams,
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
diesel::allow_tables_to_appear_in_same_query!(attempts, log_chunks);
diesel::allow_tables_to_appear_in_same_query!(builds, log_chunks);
diesel::allow_tables_to_appear_in_same_query!(ifd_builds, evaluations);
diesel::allow_tables_to_appear_in_same_query!(ifd_builds, attempts);
diesel::allow_tables_to_appear_in_same_query!(ifd_builds, log_chunks);
diesel::allow_tables_to_appear_in_same_query!(organizations, evaluations);
diesel::allow_tables_to_appear_in_same_query!(organizations, builds);
diesel::allow_tables_to_appear_in_same_query!(organizations, derivations);
diesel::allow_tables_to_appear_in_same_query!(organizations, commits);
diesel::allow_tables_to_appear_in_same_query!(organizations, organization_paths);
diesel::allow_tables_to_appear_in_same_query!(projects, evaluations);
diesel::allow_tables_to_appear_in_same_query!(caches, cache_paths);
diesel::allow_tables_to_appear_in_same_query!(cache_pins, cache_paths);
diesel::allow_tables_to_appear_in_same_query!(cache_keys, cache_signatures);
diesel::allow_tables_to_appear_in_same_query!(caches, cache_signatures);
diesel::allow_tables_to_appear_in_same_query!(caches, uploaded_logs);
diesel::allow_tables_to_appear_in_same_query!(
    nars,
    organization_paths,
    staged_outputs,
    cache_paths,
    cache_signatures,
    uploaded_nars,
    pending_paths,
    pending_references,
    nar_debuginfo,
);

diesel::allow_tables_to_appear_in_same_query!(derivations, realisations);
diesel::allow_tables_to_appear_in_same_query!(derivation_outputs, realisations);

diesel::allow_tables_to_appear_in_same_query!(oidc_identities, users);

diesel::joinable!(oidc_identities -> users (user));
diesel::joinable!(organization_members -> users (user));
diesel::joinable!(organization_members -> roles (role));
diesel::joinable!(organization_members -> organizations (organization));
diesel::joinable!(cache_keys -> caches (cache));
diesel::joinable!(cache_members -> users (user));
diesel::joinable!(cache_members -> roles (role));
diesel::joinable!(cache_members -> caches (cache));
// The cache that an upstream is; whose upstream it is, is never joined.
diesel::joinable!(cache_upstreams -> caches (upstream));
diesel::joinable!(subscriptions -> organizations (organization));
diesel::joinable!(subscriptions -> caches (cache));
diesel::joinable!(worker_registrations -> organizations (organization));
diesel::joinable!(projects -> organizations (organization));
diesel::joinable!(evaluation_counters -> evaluations (evaluation));
diesel::joinable!(evaluation_builds -> builds (build));
diesel::joinable!(evaluation_builds -> evaluations (evaluation));
diesel::joinable!(builds -> derivations (derivation));
diesel::joinable!(ifd_builds -> evaluations (evaluation));
diesel::joinable!(entry_points -> builds (build));
diesel::joinable!(organization_paths -> nars (nar_hash));
diesel::joinable!(staged_outputs -> nars (nar_hash));
diesel::joinable!(cache_paths -> nars (nar_hash));
diesel::joinable!(derivation_outputs -> derivations (derivation));
