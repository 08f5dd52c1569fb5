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
        signature -> Nullable<Text>,
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
