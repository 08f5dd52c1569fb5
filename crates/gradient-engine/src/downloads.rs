//! What builds offer for download: files and directories of their outputs, as `nix-support/hydra-build-products` declares them.
//!
//! That file is kept when an output is uploaded, and read when the build is published. From then on the database knows what there
//! is; the NARs are only opened to send it.

use std::collections::{BTreeMap, HashSet};

use gradient_domain::{BuildId, Moment, Secret};
use gradient_nix::{
    StorePath,
    build_products::{self, BuildProduct, MAX_PRODUCTS},
};
use gradient_storage::{
    Conn,
    builds::{self, BuildArtefact},
    paths::{self, StagedOutput},
};

use crate::{
    Artefact, ArtefactKind, Engine, EngineError,
    artefacts::{self, Owner},
};

impl Engine {
    /// What a build offers, in the order in which its outputs declare it.
    pub async fn downloads(&self, build: BuildId) -> Result<Vec<BuildArtefact>, EngineError> {
        Ok(self.storage().read(async move |conn: &mut Conn| builds::artefacts(conn, build).await).await?)
    }

    /// What a build offers by this name, ready to be opened.
    pub async fn download(&self, build: BuildId, name: String) -> Result<Option<Artefact>, EngineError> {
        // No name has one, and PostgreSQL takes it for an error.
        if name.contains('\0') {
            return Ok(None);
        }
        let find = async move |conn: &mut Conn| {
            let Some(offered) = builds::lookup_artefact(conn, build, &name).await? else { return Ok(None) };
            let organization = builds::find(conn, build).await?.organization;
            let output = paths::find_many(conn, organization, std::slice::from_ref(&offered.store_path)).await?.pop();
            Ok(output.map(|output| (organization, offered, output.nar_hash)))
        };
        match self.storage().read(find).await? {
            Some((organization, offered, nar_hash)) => {
                self.artefact(Owner::Organization(organization), offered.store_path, nar_hash, offered.subpath).await
            }
            None => Ok(None),
        }
    }

    /// A token that lets whoever has it download what this build offers, for an hour.
    pub fn download_token(&self, build: BuildId) -> Result<Secret<String>, EngineError> {
        Ok(self.jwt().issue_download(build, Moment::now())?)
    }

    /// The build whose downloads this token is good for.
    pub fn verify_download_token(&self, token: &str) -> Result<BuildId, EngineError> {
        Ok(self.jwt().verify_download(token, Moment::now())?)
    }
}

/// What these outputs of one build offer together. What is declared and is in none of them is left out.
pub(crate) async fn offered(engine: &Engine, outputs: &[StagedOutput]) -> Result<Vec<BuildArtefact>, EngineError> {
    let declared = declared(outputs);
    let mut kinds: BTreeMap<(&StorePath, &str), ArtefactKind> = BTreeMap::new();
    for output in outputs {
        let inside = declared.iter().filter(|product| product.store_path == output.path).map(|product| product.subpath.as_str());
        let inside: Vec<&str> = inside.collect();
        if inside.is_empty() {
            continue;
        }
        let paths = inside.iter().map(ToString::to_string).collect();
        let found = artefacts::kinds(engine, output.path.clone(), output.nar_hash, paths).await?;
        kinds.extend(inside.into_iter().zip(found).filter_map(|(path, kind)| Some(((&output.path, path), kind?))));
    }
    let mut taken = HashSet::new();
    let artefact = |product: &BuildProduct| {
        let size = match kinds.get(&(&product.store_path, product.subpath.as_str()))? {
            ArtefactKind::File(size) => Some(i64::try_from(*size).unwrap_or(i64::MAX)),
            ArtefactKind::Directory => None,
        };
        let name = product.subpath.rsplit('/').find(|name| !name.is_empty()).unwrap_or_else(|| product.store_path.name());
        Some(BuildArtefact {
            name: unique(&mut taken, name),
            file_type: product.kind.clone(),
            subtype: product.subtype.clone(),
            store_path: product.store_path.clone(),
            subpath: product.subpath.clone(),
            size,
        })
    };
    Ok(declared.iter().filter_map(artefact).collect())
}

/// All that the outputs declare, each product once.
fn declared(outputs: &[StagedOutput]) -> Vec<BuildProduct> {
    let mut products: Vec<BuildProduct> = Vec::new();
    for product in outputs.iter().flat_map(|output| build_products::parse_bytes(&output.build_products)) {
        if products.len() < MAX_PRODUCTS && !products.contains(&product) {
            products.push(product);
        }
    }
    products
}

/// The name, or, when another product has it, the name with the first number before it that is free.
fn unique(taken: &mut HashSet<String>, name: &str) -> String {
    let mut unique = name.to_owned();
    let mut number = 2_u32;
    while !taken.insert(unique.clone()) {
        unique = format!("{number}-{name}");
        number += 1;
    }
    unique
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let mut taken = HashSet::new();
        let names = ["a", "2-a", "a", "a", "2-a"].map(|name| unique(&mut taken, name));
        assert_eq!(names, ["a", "2-a", "3-a", "4-a", "2-2-a"]);
    }
}
