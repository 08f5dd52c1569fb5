use std::collections::HashMap;

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use gradient_domain::{BuildId, BuildKind, BuildStatus, Epoch, EvaluationId, Moment};
use gradient_nix::StorePath;

use super::BuildCounts;
use crate::{
    Conn, StorageError,
    conn::query,
    ifd_builds,
    schema::{builds as build_rows, derivations, evaluation_builds, evaluation_counters},
};

/// A build as a line of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildSummary {
    /// Its id.
    pub id: BuildId,
    /// What it is for.
    pub kind: BuildKind,
    /// The derivation's name.
    pub name: String,
    /// The derivation's path.
    pub drv_path: StorePath,
    /// Where it stands.
    pub status: BuildStatus,
    /// When that last changed.
    pub updated_at: Moment,
    /// How long the builder ran.
    pub duration_ms: Option<i64>,
    /// Whether it has something to download.
    pub has_artefacts: bool,
}

/// A page of the builds of an evaluation, of one status or all, in a fixed order; and how many there are. Those that it imports
/// from come first, as they did, and then those that it needs.
pub async fn builds(
    conn: &mut Conn,
    evaluation: EvaluationId,
    limit: i64,
    offset: i64,
    status: Option<BuildStatus>,
) -> Result<(Vec<BuildSummary>, i64), StorageError> {
    let (mut lines, imports) = ifd_builds::page(conn, evaluation, limit, offset, status).await?;
    let limit = limit.saturating_sub(i64::try_from(lines.len()).unwrap_or(i64::MAX));
    let offset = offset.saturating_sub(imports).max(0);
    let counts: Option<BuildCounts> = query!(&mut *conn, |c| {
        evaluation_counters::table.find(evaluation).select(BuildCounts::as_select()).first(c).await.optional()?
    });
    let counts = counts.unwrap_or_default();
    let (page, total) = match status {
        None => (page(conn, evaluation, limit, offset).await?, counts.total()),
        Some(status) => {
            let total = counts.of(status);
            (page_of(conn, evaluation, status, Cut::new(total.into(), limit, offset)).await?, total)
        }
    };
    let mut found: HashMap<BuildId, BuildSummary> = summaries(conn, &page).await?;
    lines.extend(page.iter().filter_map(|id| found.remove(id)));
    Ok((lines, imports.saturating_add(i64::from(total))))
}

/// A page of all builds, by their places: none of those before is looked at.
async fn page(conn: &mut Conn, evaluation: EvaluationId, limit: i64, offset: i64) -> Result<Vec<BuildId>, StorageError> {
    let bound = |place: i64| i32::try_from(place).unwrap_or(i32::MAX);
    let (first, end) = (bound(offset), bound(offset.saturating_add(limit)));
    Ok(query!(conn, |c| {
        let links = evaluation_builds::table.filter(evaluation_builds::evaluation.eq(evaluation));
        let links = links.filter(evaluation_builds::position.ge(first)).filter(evaluation_builds::position.lt(end));
        links.order(evaluation_builds::position).select(evaluation_builds::build).load(c).await?
    }))
}

/// A page of the builds of one status, out of the index.
async fn page_of(conn: &mut Conn, evaluation: EvaluationId, status: BuildStatus, cut: Cut) -> Result<Vec<BuildId>, StorageError> {
    let mut page: Vec<BuildId> = query!(conn, |c| {
        let links = evaluation_builds::table.filter(evaluation_builds::evaluation.eq(evaluation)).into_boxed::<DB>();
        let links = links.filter(evaluation_builds::status.eq(status)).limit(cut.limit).offset(cut.offset);
        let links = match cut.from {
            Side::Beginning => links.order(evaluation_builds::position),
            Side::End => links.order(evaluation_builds::position.desc()),
        };
        links.select(evaluation_builds::build).load(c).await?
    });
    if cut.from == Side::End {
        page.reverse();
    }
    Ok(page)
}

/// Where a page is cut from a list: counted from the side that is nearer, as those between are counted one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cut {
    from: Side,
    limit: i64,
    offset: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Beginning,
    End,
}

impl Cut {
    fn new(total: i64, limit: i64, offset: i64) -> Self {
        if offset <= total / 2 {
            return Self { from: Side::Beginning, limit, offset };
        }
        let behind = total.saturating_sub(offset).saturating_sub(limit);
        Self { from: Side::End, limit: limit.saturating_add(behind.min(0)).max(0), offset: behind.max(0) }
    }
}

type Row = (BuildId, String, StorePath, BuildStatus, Moment, Option<i64>, bool);

/// These builds, as lines.
async fn summaries(conn: &mut Conn, ids: &[BuildId]) -> Result<HashMap<BuildId, BuildSummary>, StorageError> {
    let rows: Vec<Row> = query!(conn, |c| {
        build_rows::table
            .inner_join(derivations::table)
            .filter(build_rows::id.eq_any(ids))
            .select((
                build_rows::id,
                derivations::name,
                derivations::drv_path,
                build_rows::status,
                build_rows::updated_at,
                build_rows::duration_ms,
                build_rows::has_artefacts,
            ))
            .load(c)
            .await?
    });
    let line = |(id, name, drv_path, status, updated_at, duration_ms, has_artefacts)| {
        let kind = BuildKind::Build;
        (id, BuildSummary { id, kind, name, drv_path, status, updated_at, duration_ms, has_artefacts })
    };
    Ok(rows.into_iter().map(line).collect())
}

/// Whether a build is one of an evaluation's: one that it needs, or imports from.
pub async fn needs(conn: &mut Conn, evaluation: EvaluationId, build: BuildId) -> Result<bool, StorageError> {
    let is_linked: bool = query!(&mut *conn, |c| {
        let link = evaluation_builds::table.find((evaluation, build)).select(evaluation_builds::build);
        diesel::select(diesel::dsl::exists(link)).get_result(c).await?
    });
    if is_linked { Ok(true) } else { ifd_builds::is_of(conn, evaluation, build).await }
}

/// The builds of an evaluation that ever ran, by id, from the first behind `after` on.
pub async fn begun_builds(
    conn: &mut Conn,
    evaluation: EvaluationId,
    after: BuildId,
    limit: i64,
) -> Result<Vec<BuildId>, StorageError> {
    let mut begun = ifd_builds::begun(conn, evaluation, after, limit).await?;
    let needed: Vec<BuildId> = query!(conn, |c| {
        evaluation_builds::table
            .inner_join(build_rows::table)
            .filter(evaluation_builds::evaluation.eq(evaluation))
            .filter(evaluation_builds::build.gt(after))
            .filter(build_rows::epoch.gt(Epoch::NONE))
            .order(evaluation_builds::build)
            .limit(limit)
            .select(evaluation_builds::build)
            .load(c)
            .await?
    });
    begun.extend(needed);
    begun.sort_unstable();
    begun.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(begun)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_the_same_from_either_side() {
        for (total, limit, offset) in
            [(10, 3, 0), (10, 3, 5), (10, 3, 6), (10, 3, 8), (10, 30, 6), (10, 3, 10), (10, 3, 99), (0, 3, 0)]
        {
            let list: Vec<i64> = (0..total).collect();
            let place = |number: i64| usize::try_from(number).unwrap();
            let expected: Vec<i64> = list.iter().copied().skip(place(offset)).take(place(limit)).collect();
            let cut = Cut::new(total, limit, offset);
            let taken = |list: &mut dyn Iterator<Item = i64>| -> Vec<i64> {
                list.skip(place(cut.offset)).take(place(cut.limit)).collect()
            };
            let mut page = match cut.from {
                Side::Beginning => taken(&mut list.iter().copied()),
                Side::End => taken(&mut list.iter().rev().copied()),
            };
            if cut.from == Side::End {
                page.reverse();
            }
            assert_eq!(page, expected, "{total} {limit} {offset}");
        }
    }
}
