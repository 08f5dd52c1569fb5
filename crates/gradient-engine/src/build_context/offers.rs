//! Inputs that the organization does not have: other caches do, with all that they refer to.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use gradient_domain::OrganizationId;
use gradient_nix::StorePath;
use gradient_storage::{Conn, paths};
use tokio::time::Instant;

use crate::{Engine, EngineError, substituter::InputOffer};

/// How long upstreams are asked for the inputs of one build. After that the attempt has failed, and is made again.
const MAX_ASKING: Duration = Duration::from_secs(30);

/// How many paths one build may need of others.
const MAX_PATHS: usize = 100_000;

/// What others have of the paths and of all that these refer to, as far as the organization does not have it. What nobody has is
/// left out.
pub(super) async fn of(
    engine: &Engine,
    organization: OrganizationId,
    missing: Vec<StorePath>,
) -> Result<HashMap<StorePath, InputOffer>, EngineError> {
    let mut offers = HashMap::new();
    let places = engine.substitutes(organization).await?;
    if places.is_empty() {
        return Ok(offers);
    }
    let until = Instant::now() + MAX_ASKING;
    let mut seen: HashSet<StorePath> = missing.iter().cloned().collect();
    let mut wave = missing;
    while !wave.is_empty() && seen.len() <= MAX_PATHS {
        let found = engine.offers(&places, &wave, until).await?;
        let references = found.values().flat_map(|offer| &offer.path.references);
        let next: Vec<StorePath> = references.filter(|reference| seen.insert((*reference).clone())).cloned().collect();
        offers.extend(found);
        // What the organization has itself is given from there.
        wave = engine.storage().read(async move |conn: &mut Conn| paths::missing(conn, organization, &next).await).await?;
    }
    Ok(offers)
}
