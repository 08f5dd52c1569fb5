use std::collections::{HashMap, HashSet};

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use gradient_domain::{BuildId, BuildStatus, BuildTimes, DerivationId, EntryPointId, EvaluationId, Moment};
use gradient_nix::StorePath;

use crate::{
    Conn, StorageError,
    conn::{KEYS_PER_QUERY, insert_rows, query},
    counters::{self, Delta},
    derivations,
    schema::{builds, derivations as derivation_rows, entry_points},
};

/// An attribute that the wildcard matched, not stored yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEntryPoint {
    /// Its id.
    pub id: EntryPointId,
    /// The attribute path.
    pub attribute: String,
    /// The build of its derivation.
    pub build: Option<BuildId>,
    /// Why there is no derivation.
    pub error: Option<String>,
    /// How long its builder may take, as it asks for.
    pub times: BuildTimes,
}

/// An entry point with what became of its build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryPointView {
    /// Its id.
    pub id: EntryPointId,
    /// The attribute path.
    pub attribute: String,
    /// Why there is no derivation.
    pub error: Option<String>,
    /// When it was found.
    pub created_at: Moment,
    /// Its build, when it has a derivation.
    pub build: Option<EntryPointBuild>,
}

/// The build of an entry point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryPointBuild {
    /// Its id.
    pub id: BuildId,
    /// Where it stands.
    pub status: BuildStatus,
    /// The derivation's path.
    pub drv_path: StorePath,
    /// What it is built on.
    pub system: String,
    /// How long the builder ran.
    pub duration_ms: Option<i64>,
    /// Whether it has something to download.
    pub has_artefacts: bool,
    /// The outputs by name.
    pub outputs: Vec<(String, Option<StorePath>)>,
}

#[derive(Insertable)]
#[diesel(table_name = entry_points, treat_none_as_default_value = false)]
struct Row {
    id: EntryPointId,
    evaluation: EvaluationId,
    attribute: String,
    build: Option<BuildId>,
    error: Option<String>,
    created_at: Moment,
    timeout_secs: Option<i64>,
    max_silent_secs: Option<i64>,
}

/// Adds entry points, and counts them; an attribute that is there already stays as it is. To be called in a transaction.
pub async fn insert_entry_points(
    conn: &mut Conn,
    evaluation: EvaluationId,
    new: Vec<NewEntryPoint>,
    now: Moment,
) -> Result<(), StorageError> {
    if new.is_empty() {
        return Ok(());
    }
    counters::lock(conn).await?;
    let mut known: HashSet<String> = HashSet::new();
    for chunk in new.chunks(KEYS_PER_QUERY) {
        let attributes: Vec<&str> = chunk.iter().map(|new| new.attribute.as_str()).collect();
        let there: Vec<String> = query!(&mut *conn, |c| {
            let all = entry_points::table.filter(entry_points::evaluation.eq(evaluation));
            all.filter(entry_points::attribute.eq_any(&attributes)).select(entry_points::attribute).load(c).await?
        });
        known.extend(there);
    }
    let rows: Vec<Row> = new
        .into_iter()
        .filter(|new| known.insert(new.attribute.clone()))
        .map(|new| Row {
            id: new.id,
            evaluation,
            attribute: new.attribute,
            build: new.build,
            error: new.error,
            created_at: now,
            timeout_secs: stored(new.times.timeout_secs),
            max_silent_secs: stored(new.times.max_silent_secs),
        })
        .collect();
    let mut delta = Delta { entry_points: i32::try_from(rows.len()).unwrap_or(i32::MAX), ..Delta::default() };
    let built: Vec<BuildId> = rows.iter().filter_map(|row| row.build).collect();
    let statuses = crate::builds::statuses(conn, &built).await?;
    for row in &rows {
        match row.build.and_then(|build| statuses.get(&build)) {
            Some(status) => delta.add_ended_entry_points(*status, 1),
            None => delta.entry_points_failed += 1,
        }
    }
    insert_rows!(&mut *conn, entry_points::table, 8, rows);
    counters::adjust(conn, evaluation, delta).await
}

/// The entry points of an evaluation with their builds, by attribute.
pub async fn entry_points(conn: &mut Conn, evaluation: EvaluationId) -> Result<Vec<EntryPointView>, StorageError> {
    type Found = (EntryPointId, String, Option<String>, Moment, Option<BuildId>);
    let found: Vec<Found> = query!(&mut *conn, |c| {
        let all = entry_points::table.filter(entry_points::evaluation.eq(evaluation)).order(entry_points::attribute);
        let columns =
            (entry_points::id, entry_points::attribute, entry_points::error, entry_points::created_at, entry_points::build);
        all.select(columns).load(c).await?
    });
    let ids: Vec<BuildId> = found.iter().filter_map(|(_, _, _, _, build)| *build).collect();
    let builds = builds_of(conn, &ids).await?;
    let view = |(id, attribute, error, created_at, build): Found| {
        // Two attributes may have the same build.
        let build = build.and_then(|build| builds.get(&build).cloned());
        EntryPointView { id, attribute, error, created_at, build }
    };
    Ok(found.into_iter().map(view).collect())
}

/// Asked for by their ids and not joined: both databases would read all builds there are to find a few hundred.
async fn builds_of(conn: &mut Conn, ids: &[BuildId]) -> Result<HashMap<BuildId, EntryPointBuild>, StorageError> {
    type Found = (BuildId, BuildStatus, Option<i64>, bool, DerivationId, StorePath, String);
    let mut found: Vec<Found> = Vec::with_capacity(ids.len());
    for chunk in ids.chunks(KEYS_PER_QUERY) {
        let rows: Vec<Found> = query!(&mut *conn, |c| {
            let all = builds::table.inner_join(derivation_rows::table).filter(builds::id.eq_any(chunk));
            let columns = (
                builds::id,
                builds::status,
                builds::duration_ms,
                builds::has_artefacts,
                derivation_rows::id,
                derivation_rows::drv_path,
                derivation_rows::system,
            );
            all.select(columns).load(c).await?
        });
        found.extend(rows);
    }
    let derivations: Vec<DerivationId> = found.iter().map(|(_, _, _, _, derivation, _, _)| *derivation).collect();
    let outputs: HashMap<DerivationId, Vec<(String, Option<StorePath>)>> = derivations::outputs(conn, &derivations).await?;
    let build = |(id, status, duration_ms, has_artefacts, derivation, drv_path, system): Found| {
        let outputs = outputs.get(&derivation).cloned().unwrap_or_default();
        (id, EntryPointBuild { id, status, drv_path, system, duration_ms, has_artefacts, outputs })
    };
    Ok(found.into_iter().map(build).collect())
}

/// The entry points of an evaluation as another one of the same finds them.
pub async fn attributes(conn: &mut Conn, evaluation: EvaluationId) -> Result<Vec<NewEntryPoint>, StorageError> {
    type Found = (String, Option<BuildId>, Option<String>, Option<i64>, Option<i64>);
    let found: Vec<Found> = query!(conn, |c| {
        let all = entry_points::table.filter(entry_points::evaluation.eq(evaluation)).order(entry_points::attribute);
        let times = (entry_points::timeout_secs, entry_points::max_silent_secs);
        all.select((entry_points::attribute, entry_points::build, entry_points::error, times.0, times.1)).load(c).await?
    });
    let copy = |(attribute, build, error, timeout, silent): Found| NewEntryPoint {
        id: EntryPointId::new(),
        attribute,
        build,
        error,
        times: times(timeout, silent),
    };
    Ok(found.into_iter().map(copy).collect())
}

/// How long a build's builder may take, as each of its entry points asks for; none when it is only what others need.
pub async fn asked_times(conn: &mut Conn, build: BuildId) -> Result<Vec<BuildTimes>, StorageError> {
    let found: Vec<(Option<i64>, Option<i64>)> = query!(conn, |c| {
        let all = entry_points::table.filter(entry_points::build.eq(Some(build)));
        all.select((entry_points::timeout_secs, entry_points::max_silent_secs)).distinct().load(c).await?
    });
    Ok(found.into_iter().map(|(timeout, silent)| times(timeout, silent)).collect())
}

fn stored(secs: Option<u64>) -> Option<i64> {
    secs.and_then(|secs| i64::try_from(secs).ok())
}

fn times(timeout: Option<i64>, silent: Option<i64>) -> BuildTimes {
    let read = |secs: Option<i64>| secs.and_then(|secs| u64::try_from(secs).ok());
    BuildTimes { timeout_secs: read(timeout), max_silent_secs: read(silent) }
}

/// The builds of an evaluation's entry points, each once.
pub async fn entry_point_builds(conn: &mut Conn, evaluation: EvaluationId) -> Result<Vec<BuildId>, StorageError> {
    Ok(query!(conn, |c| {
        let all = entry_points::table.filter(entry_points::evaluation.eq(evaluation));
        let built = all.filter(entry_points::build.is_not_null()).order(entry_points::build);
        built.select(entry_points::build.assume_not_null()).distinct().load(c).await?
    }))
}
