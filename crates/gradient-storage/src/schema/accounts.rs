//! People, organizations, caches and projects.

diesel::table! {
    use diesel::sql_types::*;
    use gradient_domain::sql::{Key, Moment, Word};

    users (id) {
        id -> Key,
        username -> Word,
        name -> Word,
        email -> Word,
        password_hash -> Nullable<Text>,
        superuser -> Bool,
        created_at -> Moment,
        email_verified -> Bool,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use gradient_domain::sql::{Key, Moment, Word};

    email_verifications (token_hash) {
        user -> Key,
        email -> Word,
        token_hash -> Binary,
        created_at -> Moment,
        expires_at -> Moment,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use gradient_domain::sql::{Key, Moment};

    oidc_identities (issuer, subject) {
        issuer -> Text,
        subject -> Text,
        user -> Key,
        created_at -> Moment,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use gradient_domain::sql::{Key, Moment};

    sessions (id) {
        id -> Key,
        user -> Key,
        created_at -> Moment,
        expires_at -> Moment,
        remember -> Bool,
        revoked_at -> Nullable<Moment>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use gradient_domain::sql::{Key, Moment, Word};

    organizations (id) {
        id -> Key,
        name -> Word,
        display_name -> Word,
        description -> Text,
        public -> Bool,
        share -> Integer,
        ssh_public -> Text,
        ssh_private_sealed -> Binary,
        ssh_known_hosts -> Text,
        created_by -> Nullable<Key>,
        created_at -> Moment,
        deleted_at -> Nullable<Moment>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use gradient_domain::sql::{Key, Moment, Word};

    caches (id) {
        id -> Key,
        name -> Word,
        display_name -> Word,
        description -> Text,
        priority -> Integer,
        active -> Bool,
        public -> Bool,
        created_by -> Nullable<Key>,
        created_at -> Moment,
        deleted_at -> Nullable<Moment>,
        retention_days -> Nullable<Integer>,
        max_bytes -> Nullable<BigInt>,
        pull_through -> Bool,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use gradient_domain::sql::{Key, Moment};

    cache_keys (id) {
        id -> Key,
        cache -> Key,
        name -> Text,
        public_key -> Binary,
        secret_key_sealed -> Nullable<Binary>,
        created_at -> Moment,
        primary_since -> Moment,
        retired_at -> Nullable<Moment>,
        organization -> Nullable<Key>,
        wanted_after -> Nullable<Text>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use gradient_domain::sql::{Key, Word};

    roles (id) {
        id -> Key,
        scope -> Word,
        organization -> Nullable<Key>,
        cache -> Nullable<Key>,
        name -> Word,
        permissions -> BigInt,
    }
}

diesel::table! {
    use gradient_domain::sql::{Key, Moment};

    organization_members (organization, user) {
        organization -> Key,
        user -> Key,
        role -> Key,
        created_at -> Moment,
    }
}

diesel::table! {
    use gradient_domain::sql::{Key, Moment};

    cache_members (cache, user) {
        cache -> Key,
        user -> Key,
        role -> Key,
        created_at -> Moment,
    }
}

diesel::table! {
    use gradient_domain::sql::{Key, Moment, Word};

    subscriptions (organization, cache) {
        organization -> Key,
        cache -> Key,
        mode -> Word,
        created_at -> Moment,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use gradient_domain::sql::{Key, Moment, Word};

    cache_upstreams (id) {
        id -> Key,
        cache -> Key,
        display_name -> Word,
        url -> Nullable<Text>,
        public_key -> Nullable<Text>,
        upstream -> Nullable<Key>,
        created_at -> Moment,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use gradient_domain::sql::{Key, Moment, Word};

    api_keys (id) {
        id -> Key,
        user -> Key,
        name -> Word,
        secret_hash -> Binary,
        permissions -> BigInt,
        cache_permissions -> BigInt,
        organization -> Nullable<Key>,
        cache -> Nullable<Key>,
        created_at -> Moment,
        last_used_at -> Nullable<Moment>,
        expires_at -> Nullable<Moment>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use gradient_domain::sql::{Key, Moment, Word};

    worker_registrations (organization, worker) {
        organization -> Key,
        worker -> Key,
        display_name -> Word,
        token_hash -> Binary,
        enable_fetch -> Bool,
        enable_eval -> Bool,
        enable_build -> Bool,
        registered_at -> Moment,
        created_by -> Nullable<Key>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use gradient_domain::sql::{Key, Moment, Word};

    projects (id) {
        id -> Key,
        organization -> Key,
        name -> Word,
        display_name -> Word,
        description -> Text,
        repository -> Word,
        branch -> Nullable<Text>,
        wildcard -> Word,
        active -> Bool,
        keep_evaluations -> Integer,
        concurrency -> Word,
        poll_interval_secs -> Integer,
        publish -> Word,
        allow_ifd -> Bool,
        priority -> Integer,
        last_check_at -> Nullable<Moment>,
        created_by -> Nullable<Key>,
        created_at -> Moment,
        deleted_at -> Nullable<Moment>,
    }
}

diesel::table! {
    use diesel::sql_types::*;

    server_settings (key) {
        key -> Text,
        value -> Text,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use gradient_domain::sql::Moment;

    leadership (id) {
        id -> SmallInt,
        term -> BigInt,
        holder -> Text,
        since -> Moment,
    }
}
