//! What is asked for: each endpoint with many paths, of which one is drawn for each request.

use anyhow::Result;
use gradient_test_support::deployment::{Api, Evaluation, Installation, answer};
use rand::{RngExt, SeedableRng, rngs::StdRng};

/// Paths of each endpoint.
const PATHS: usize = 500;

/// The page size of a list.
const PAGE: usize = 100;

pub(super) fn all(api: &Api, project: &str, evaluation: &Evaluation, builds: usize) -> Result<Vec<(&'static str, Vec<String>)>> {
    let mut random = StdRng::seed_from_u64(2);
    let list = format!("/evals/{}/builds?limit={PAGE}", evaluation.id());
    let offsets: Vec<usize> = (0..PATHS).map(|_| random.random_range(0..builds)).collect();
    let pages = offsets.iter().map(|offset| format!("{list}&offset={offset}"));
    let status = |offset: &usize| if offset.is_multiple_of(2) { ("Queued", *offset) } else { ("Completed", offset % 1000) };
    let filtered = offsets.iter().map(status).map(|(status, offset)| format!("{list}&status={status}&offset={offset}"));

    let mut ids = Vec::new();
    for offset in offsets.iter().take(PATHS / 10) {
        let page = api.get(&format!("{list}&offset={offset}"))?;
        for build in answer::list(&page["builds"])? {
            ids.push(answer::field(build, "id")?.to_owned());
        }
    }
    let drawn = (0..PATHS).filter_map(|_| ids.get(random.random_range(0..ids.len())));
    let entry_points =
        format!("/projects/{}/{project}/entry-points?evaluation_id={}", Installation::ORGANIZATION, evaluation.id());
    let roots = api.get(&entry_points)?;
    let roots = answer::list(&roots)?.iter().map(|root| answer::field(root, "build_id"));

    let with_prefix = |paths: Vec<String>| paths.into_iter().map(|path| format!("/api/v1{path}")).collect::<Vec<_>>();
    Ok(vec![
        ("page", with_prefix(pages.collect())),
        ("page_by_status", with_prefix(filtered.collect())),
        ("build", with_prefix(drawn.map(|id| format!("/builds/{id}")).collect())),
        ("graph", with_prefix(roots.map(|id| Ok(format!("/builds/{}/graph", id?))).collect::<Result<_>>()?)),
        ("entry_points", with_prefix(vec![entry_points])),
    ])
}
