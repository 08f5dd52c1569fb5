//! Evaluations, derivations and builds.

diesel::table! {
    use diesel::sql_types::*;
    use gradient_domain::sql::{Key, Moment};

    commits (id) {
        id -> Key,
        organization -> Key,
        repository -> Text,
        hash -> Text,
        message -> Text,
        author_name -> Nullable<Text>,
        created_at -> Moment,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use gradient_domain::sql::{Json, Key, Moment, Word};

    evaluations (id) {
        id -> Key,
        organization -> Key,
        project -> Nullable<Key>,
        repository -> Text,
        commit -> Key,
        wildcard -> Text,
        status -> Word,
        waiting -> Nullable<Json>,
        error -> Nullable<Text>,
        error_count -> Integer,
        warning_count -> Integer,
        triggered_by -> Nullable<Key>,
        priority -> Integer,
        publish -> Word,
        allow_ifd -> Bool,
        previous -> Nullable<Key>,
        source -> Nullable<Json>,
        epoch -> Integer,
        worker -> Nullable<Key>,
        sealed -> Bool,
        created_at -> Moment,
        updated_at -> Moment,
        finished_at -> Nullable<Moment>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use gradient_domain::sql::Key;

    evaluation_counters (evaluation) {
        evaluation -> Key,
        builds_queued -> Integer,
        builds_building -> Integer,
        builds_completed -> Integer,
        builds_substituted -> Integer,
        builds_failed -> Integer,
        builds_aborted -> Integer,
        builds_dependency_failed -> Integer,
        entry_points_total -> Integer,
        entry_points_completed -> Integer,
        entry_points_failed -> Integer,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use gradient_domain::sql::{Key, Moment, Word};

    evaluation_messages (id) {
        id -> Key,
        evaluation -> Key,
        level -> Word,
        source -> Text,
        attribute -> Nullable<Text>,
        message -> Text,
        created_at -> Moment,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use gradient_domain::sql::{Key, Moment};

    derivations (id) {
        id -> Key,
        organization -> Key,
        drv_path -> Text,
        name -> Text,
        system -> Text,
        features -> Text,
        aterm -> Binary,
        input_hash -> Nullable<Binary>,
        fixed -> Bool,
        created_at -> Moment,
        deferred_hash -> Nullable<Binary>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use gradient_domain::sql::Key;

    derivation_outputs (derivation, name) {
        derivation -> Key,
        name -> Text,
        path -> Nullable<Text>,
    }
}

diesel::table! {
    use gradient_domain::sql::Key;

    derivation_inputs (derivation, input) {
        derivation -> Key,
        input -> Key,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use gradient_domain::sql::{Key, Moment, Word};

    builds (id) {
        id -> Key,
        organization -> Key,
        derivation -> Key,
        generation -> Integer,
        status -> Word,
        epoch -> Integer,
        worker -> Nullable<Key>,
        failure_kind -> Nullable<Word>,
        failure_message -> Nullable<Text>,
        failed_dependency -> Nullable<Key>,
        queued_at -> Moment,
        started_at -> Nullable<Moment>,
        finished_at -> Nullable<Moment>,
        updated_at -> Moment,
        duration_ms -> Nullable<BigInt>,
        has_artefacts -> Bool,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use gradient_domain::sql::Key;

    build_artefacts (build, name) {
        build -> Key,
        name -> Text,
        position -> Integer,
        file_type -> Text,
        subtype -> Text,
        store_path -> Text,
        subpath -> Text,
        size -> Nullable<BigInt>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use gradient_domain::sql::{Key, Word};

    evaluation_builds (evaluation, build) {
        evaluation -> Key,
        build -> Key,
        status -> Word,
        position -> Integer,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use gradient_domain::sql::{Key, Moment};

    entry_points (id) {
        id -> Key,
        evaluation -> Key,
        attribute -> Text,
        build -> Nullable<Key>,
        error -> Nullable<Text>,
        created_at -> Moment,
        timeout_secs -> Nullable<BigInt>,
        max_silent_secs -> Nullable<BigInt>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use gradient_domain::sql::{Key, Moment, Word};

    ifd_builds (id) {
        id -> Key,
        evaluation -> Key,
        epoch -> Integer,
        drv_path -> Text,
        system -> Text,
        status -> Word,
        started_at -> Moment,
        finished_at -> Nullable<Moment>,
        updated_at -> Moment,
        duration_ms -> Nullable<BigInt>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use gradient_domain::sql::{Key, Moment, Word};

    attempts (build, epoch) {
        build -> Key,
        epoch -> Integer,
        worker -> Key,
        assigned_at -> Moment,
        started_at -> Nullable<Moment>,
        finished_at -> Nullable<Moment>,
        failure_kind -> Nullable<Word>,
        failure_message -> Nullable<Text>,
        log_bytes -> BigInt,
        log_frames -> Nullable<Binary>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use gradient_domain::sql::Key;

    log_chunks (build, epoch, offset) {
        build -> Key,
        epoch -> Integer,
        offset -> BigInt,
        bytes -> Binary,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use gradient_domain::sql::Moment;

    build_durations (name, system, fixed) {
        name -> Text,
        system -> Text,
        fixed -> Bool,
        log_mean -> Float,
        log_variance -> Float,
        observations -> Integer,
        updated_at -> Moment,
    }
}
