//! What is stored, and who may fetch it.

diesel::table! {
    use diesel::sql_types::*;
    use gradient_domain::sql::Moment;

    nars (nar_hash) {
        nar_hash -> Binary,
        nar_size -> BigInt,
        file_hash -> Binary,
        file_size -> BigInt,
        created_at -> Moment,
        condemned_at -> Nullable<Moment>,
        quarantined_at -> Nullable<Moment>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use gradient_domain::sql::{Key, Moment};

    organization_paths (organization, path) {
        organization -> Key,
        path -> Text,
        nar_hash -> Binary,
        reference_list -> Text,
        deriver -> Nullable<Text>,
        content_address -> Nullable<Text>,
        created_at -> Moment,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use gradient_domain::sql::{Key, Moment};

    staged_outputs (build, epoch, path) {
        build -> Key,
        epoch -> Integer,
        path -> Text,
        nar_hash -> Binary,
        reference_list -> Text,
        content_address -> Nullable<Text>,
        created_at -> Moment,
        build_products -> Binary,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use gradient_domain::sql::{Key, Moment};

    cache_paths (cache, hash) {
        cache -> Key,
        hash -> Text,
        path -> Text,
        nar_hash -> Binary,
        reference_list -> Text,
        deriver -> Nullable<Text>,
        content_address -> Nullable<Text>,
        created_at -> Moment,
        foreign_signatures -> Text,
        claimed_at -> Moment,
        last_fetched_at -> Nullable<Moment>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use gradient_domain::sql::Key;

    cache_signatures (cache, hash, key) {
        cache -> Key,
        hash -> Text,
        key -> Key,
        position -> BigInt,
        withheld -> Bool,
        signature -> Nullable<Text>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use gradient_domain::sql::{Key, Moment};

    cache_pins (cache, hash) {
        cache -> Key,
        hash -> Text,
        created_by -> Nullable<Key>,
        created_at -> Moment,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use gradient_domain::sql::Key;

    cache_counters (cache) {
        cache -> Key,
        hits -> BigInt,
        misses -> BigInt,
        bytes_served -> BigInt,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use gradient_domain::sql::{Key, Moment};

    uploaded_nars (cache, uploader, name) {
        cache -> Key,
        uploader -> Key,
        name -> Text,
        nar_hash -> Binary,
        sent_hash -> Binary,
        sent_size -> BigInt,
        mentions -> Binary,
        created_at -> Moment,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use gradient_domain::sql::{Key, Moment};

    pending_paths (cache, hash) {
        cache -> Key,
        hash -> Text,
        path -> Text,
        nar_hash -> Binary,
        reference_list -> Text,
        deriver -> Nullable<Text>,
        content_address -> Nullable<Text>,
        foreign_signatures -> Text,
        created_at -> Moment,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use gradient_domain::sql::Key;

    pending_references (cache, reference, hash) {
        cache -> Key,
        reference -> Text,
        hash -> Text,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use gradient_domain::sql::{Key, Moment};

    realisations (organization, name) {
        organization -> Key,
        name -> Text,
        path -> Text,
        created_at -> Moment,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use gradient_domain::sql::{Key, Moment};

    cache_realisations (cache, name) {
        cache -> Key,
        name -> Text,
        path -> Text,
        dependents -> Text,
        signatures -> Text,
        created_at -> Moment,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use gradient_domain::sql::{Key, Moment};

    uploaded_logs (cache, derivation) {
        cache -> Key,
        derivation -> Text,
        id -> Key,
        size -> BigInt,
        created_at -> Moment,
    }
}

diesel::table! {
    use diesel::sql_types::*;

    nar_debuginfo (build_id, nar_hash) {
        build_id -> Text,
        nar_hash -> Binary,
        member -> Text,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use gradient_domain::sql::{Key, Moment};

    chunked_uploads (id) {
        id -> Key,
        cache -> Key,
        uploader -> Key,
        name -> Text,
        created_at -> Moment,
    }
}

diesel::table! {
    use diesel::sql_types::*;

    discarded_nars (nar_hash) {
        nar_hash -> Binary,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use gradient_domain::sql::Key;

    discarded_logs (build, epoch) {
        build -> Key,
        epoch -> Integer,
    }
}
