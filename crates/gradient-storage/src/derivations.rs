//! Derivations as an organization's evaluations found them, with the graph that their inputs make.

use std::collections::{BTreeMap, HashMap};

use diesel::{
    dsl::{exists, not},
    prelude::*,
};
use diesel_async::RunQueryDsl;
use gradient_domain::{DerivationId, Moment, OrganizationId};
use gradient_nix::{InputDerivationHash, InputHashParts, StorePath};

use crate::{
    Conn, Digest, FeatureList, StorageError,
    conn::{KEYS_PER_QUERY, insert_rows, query},
    error::found,
    schema::{builds, derivation_inputs, derivation_outputs, derivations},
};

/// One derivation.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = derivations)]
pub struct Derivation {
    /// Its id.
    pub id: DerivationId,
    /// Whose it is.
    pub organization: OrganizationId,
    /// Its path.
    pub drv_path: StorePath,
    /// Its name, without `.drv`.
    pub name: String,
    /// What it is built on.
    pub system: String,
    /// The system features it needs, sorted.
    #[diesel(deserialize_as = FeatureList)]
    pub features: Vec<String>,
    /// Its bytes.
    pub aterm: Vec<u8>,
    /// Whether it is a fetch, whose result is known before.
    pub fixed: bool,
    /// When it was first seen, or [kept](keep).
    pub created_at: Moment,
}

/// A derivation with all that is kept of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDerivation {
    /// Its id.
    pub id: DerivationId,
    /// Whose it is.
    pub organization: OrganizationId,
    /// Its path.
    pub drv_path: StorePath,
    /// Its name, without `.drv`.
    pub name: String,
    /// What it is built on.
    pub system: String,
    /// The system features it needs, sorted.
    pub features: Vec<String>,
    /// Its bytes.
    pub aterm: Vec<u8>,
    /// What stands for it in the hashes of its dependents.
    pub input_hash: InputDerivationHash,
    /// Its outputs with their paths, where those are known.
    pub outputs: BTreeMap<String, Option<StorePath>>,
    /// The derivations it needs; they are stored already, or come with it.
    pub inputs: Vec<DerivationId>,
    /// When it was first seen.
    pub created_at: Moment,
}

/// What there is to know of a derivation to verify its dependents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownDerivation {
    /// Its id.
    pub id: DerivationId,
    /// What stands for it in the hashes of its dependents.
    pub input_hash: InputDerivationHash,
}

#[derive(Insertable)]
#[diesel(table_name = derivations, treat_none_as_default_value = false)]
struct Row {
    id: DerivationId,
    organization: OrganizationId,
    drv_path: StorePath,
    name: String,
    system: String,
    features: FeatureList,
    aterm: Vec<u8>,
    input_hash: Option<Digest>,
    fixed: bool,
    created_at: Moment,
    deferred_hash: Option<Digest>,
}

/// Those of the paths that are known derivations of the organization.
pub async fn known(
    conn: &mut Conn,
    organization: OrganizationId,
    drv_paths: &[StorePath],
) -> Result<HashMap<StorePath, KnownDerivation>, StorageError> {
    type Found = (StorePath, DerivationId, Option<Digest>, bool, Option<Digest>);
    let mut known = HashMap::new();
    for chunk in drv_paths.chunks(KEYS_PER_QUERY) {
        let rows: Vec<Found> = query!(&mut *conn, |c| {
            let all = derivations::table.filter(derivations::organization.eq(organization));
            let these = all.filter(derivations::drv_path.eq_any(chunk));
            let hash = (derivations::input_hash, derivations::fixed, derivations::deferred_hash);
            these.select((derivations::drv_path, derivations::id, hash.0, hash.1, hash.2)).load(c).await?
        });
        known.extend(rows.into_iter().map(|(path, id, digest, fixed_output, deferred)| {
            let (digest, deferred) = (digest.map(|digest| digest.0), deferred.map(|digest| digest.0));
            let input_hash = InputDerivationHash::from_parts(InputHashParts { digest, fixed_output, deferred });
            (path, KnownDerivation { id, input_hash })
        }));
    }
    Ok(known)
}

/// Adds derivations with their outputs and inputs. One that another evaluation stored in the meantime stays as it is; the answer
/// has the id that each path has now. To be called in a transaction.
pub async fn insert_many(conn: &mut Conn, new: Vec<NewDerivation>) -> Result<HashMap<StorePath, DerivationId>, StorageError> {
    let given: HashMap<StorePath, DerivationId> = new.iter().map(|new| (new.drv_path.clone(), new.id)).collect();
    let (mut rows, mut outputs, mut inputs) = (Vec::with_capacity(new.len()), Vec::new(), Vec::new());
    let organization = new.as_slice().first().map(|new| new.organization);
    for new in new {
        let hash = new.input_hash.to_parts();
        outputs.extend(new.outputs.into_iter().map(|(name, path)| (new.id, name, path)));
        inputs.extend(new.inputs.into_iter().map(|input| (new.id, input)));
        rows.push(Row {
            id: new.id,
            organization: new.organization,
            drv_path: new.drv_path,
            name: new.name,
            system: new.system,
            features: FeatureList(new.features),
            aterm: new.aterm,
            input_hash: hash.digest.map(Digest),
            fixed: hash.fixed_output,
            created_at: new.created_at,
            deferred_hash: hash.deferred.map(Digest),
        });
    }
    // Always in the same order, so that two transactions with the same paths wait for each other rather than lock each other out.
    rows.sort_unstable_by(|a, b| a.drv_path.cmp(&b.drv_path));
    let count = rows.len();
    let inserted = insert_rows!(&mut *conn, derivations::table, 11, rows, or ignore);
    // The ids that were given lose against those that are there.
    let mut replaced = HashMap::new();
    let mut ids = given;
    if let Some(organization) = organization
        && inserted < count
    {
        let paths: Vec<StorePath> = ids.keys().cloned().collect();
        for (path, there) in known(conn, organization, &paths).await? {
            if let Some(given) = ids.insert(path, there.id)
                && given != there.id
            {
                replaced.insert(given, there.id);
            }
        }
    }
    let is_new = |id: &DerivationId| !replaced.contains_key(id);
    let outputs = outputs.into_iter().filter(|(id, ..)| is_new(id)).map(|(id, name, path)| {
        (derivation_outputs::derivation.eq(id), derivation_outputs::name.eq(name), derivation_outputs::path.eq(path))
    });
    insert_rows!(&mut *conn, derivation_outputs::table, 3, outputs);
    let inputs = inputs.into_iter().filter(|(id, _)| is_new(id)).map(|(id, input)| {
        let input = replaced.get(&input).copied().unwrap_or(input);
        (derivation_inputs::derivation.eq(id), derivation_inputs::input.eq(input))
    });
    insert_rows!(&mut *conn, derivation_inputs::table, 2, inputs);
    Ok(ids)
}

/// Keeps derivations that nothing refers to yet from being removed: for as long as new ones are. To be called with derivations that
/// an evaluation has named and may come to need.
pub async fn keep(conn: &mut Conn, ids: &[DerivationId], now: Moment) -> Result<(), StorageError> {
    for chunk in ids.chunks(KEYS_PER_QUERY) {
        query!(&mut *conn, |c| {
            let named = derivations::table.filter(derivations::id.eq_any(chunk));
            let unbuilt = named.filter(not(exists(builds::table.filter(builds::derivation.eq(derivations::id)))));
            let needing = derivation_inputs::table.filter(derivation_inputs::input.eq(derivations::id));
            let loose = unbuilt.filter(not(exists(needing)));
            diesel::update(loose).set(derivations::created_at.eq(now)).execute(c).await?
        });
    }
    Ok(())
}

/// What was not known of a derivation whose outputs' paths are not known before it is built, as earlier versions built none: what
/// stands for it, and the system features it needs, sorted.
pub async fn set_deferred(conn: &mut Conn, id: DerivationId, hash: [u8; 32], features: Vec<String>) -> Result<(), StorageError> {
    query!(conn, |c| {
        let new = (derivations::deferred_hash.eq(Some(Digest(hash))), derivations::features.eq(FeatureList(features.clone())));
        diesel::update(derivations::table.find(id)).set(new).execute(c).await?
    });
    Ok(())
}

/// What outputs turned out to be, by name, whose paths were not known before.
pub async fn set_output_paths(conn: &mut Conn, id: DerivationId, outputs: &[(String, StorePath)]) -> Result<(), StorageError> {
    for (name, path) in outputs {
        query!(&mut *conn, |c| {
            let output = derivation_outputs::table.find((id, name));
            diesel::update(output).set(derivation_outputs::path.eq(Some(path))).execute(c).await?
        });
    }
    Ok(())
}

/// Those of the paths that are derivations of the organization.
pub async fn find_many(
    conn: &mut Conn,
    organization: OrganizationId,
    drv_paths: &[StorePath],
) -> Result<Vec<Derivation>, StorageError> {
    let mut found = Vec::with_capacity(drv_paths.len());
    for chunk in drv_paths.chunks(KEYS_PER_QUERY) {
        let rows: Vec<Derivation> = query!(&mut *conn, |c| {
            let all = derivations::table.filter(derivations::organization.eq(organization));
            all.filter(derivations::drv_path.eq_any(chunk)).select(Derivation::as_select()).load(c).await?
        });
        found.extend(rows);
    }
    Ok(found)
}

/// The derivation with this id.
pub async fn lookup(conn: &mut Conn, id: DerivationId) -> Result<Option<Derivation>, StorageError> {
    Ok(query!(conn, |c| derivations::table.find(id).select(Derivation::as_select()).first(c).await.optional()?))
}

/// The derivation with this id, which has to be there.
pub async fn find(conn: &mut Conn, id: DerivationId) -> Result<Derivation, StorageError> {
    found(lookup(conn, id).await?, "derivation", id)
}

/// The outputs of these derivations, by name.
pub async fn outputs(
    conn: &mut Conn,
    ids: &[DerivationId],
) -> Result<HashMap<DerivationId, Vec<(String, Option<StorePath>)>>, StorageError> {
    let mut outputs: HashMap<DerivationId, Vec<_>> = HashMap::new();
    for chunk in ids.chunks(KEYS_PER_QUERY) {
        let rows: Vec<(DerivationId, String, Option<StorePath>)> = query!(&mut *conn, |c| {
            let all = derivation_outputs::table.filter(derivation_outputs::derivation.eq_any(chunk));
            all.order((derivation_outputs::derivation, derivation_outputs::name)).load(c).await?
        });
        for (id, name, path) in rows {
            outputs.entry(id).or_default().push((name, path));
        }
    }
    Ok(outputs)
}

/// A derivation that others need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownOutputs {
    /// What stands for it in their hashes.
    pub input_hash: InputDerivationHash,
    /// Its outputs, by name, whose paths are known.
    pub paths: HashMap<String, StorePath>,
}

/// Those of the paths that are derivations of the organization, with their output paths. An output whose path is not known is left
/// out.
pub async fn output_paths(
    conn: &mut Conn,
    organization: OrganizationId,
    drv_paths: &[StorePath],
) -> Result<HashMap<StorePath, KnownOutputs>, StorageError> {
    let known = known(conn, organization, drv_paths).await?;
    let ids: Vec<DerivationId> = known.values().map(|known| known.id).collect();
    let mut outputs = outputs(conn, &ids).await?;
    let paths_of = |id| {
        let named: Vec<(String, Option<StorePath>)> = outputs.remove(&id).unwrap_or_default();
        named.into_iter().filter_map(|(name, path)| Some((name, path?))).collect()
    };
    let mut paths_of = paths_of;
    let mut outputs_of = |known: KnownDerivation| KnownOutputs { input_hash: known.input_hash, paths: paths_of(known.id) };
    Ok(known.into_iter().map(|(drv_path, known)| (drv_path, outputs_of(known))).collect())
}

/// The organization's derivation that has an output with this path, when there is one.
pub async fn lookup_by_output(
    conn: &mut Conn,
    organization: OrganizationId,
    path: &StorePath,
) -> Result<Option<DerivationId>, StorageError> {
    Ok(query!(conn, |c| {
        let outputs = derivation_outputs::table.inner_join(derivations::table);
        let this = outputs.filter(derivation_outputs::path.eq(Some(path))).filter(derivations::organization.eq(organization));
        this.select(derivations::id).order(derivations::id).first(c).await.optional()?
    }))
}
