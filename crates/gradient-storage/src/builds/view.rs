use std::ops::Deref;

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use gradient_domain::BuildId;
use gradient_nix::StorePath;

use super::Build;
use crate::{
    Conn, FeatureList, StorageError,
    conn::query,
    derivations,
    error::found,
    schema::{builds, derivations as derivation_rows},
};

/// A build with what there is to say of its derivation. It stands for the [`Build`] itself too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildView {
    /// The build.
    pub build: Build,
    /// The derivation's name.
    pub name: String,
    /// The derivation's path.
    pub drv_path: StorePath,
    /// What it is built on.
    pub system: String,
    /// The system features it needs, sorted.
    pub features: Vec<String>,
    /// The outputs by name, with their paths where those are known.
    pub outputs: Vec<(String, Option<StorePath>)>,
}

impl Deref for BuildView {
    type Target = Build;

    fn deref(&self) -> &Build {
        &self.build
    }
}

/// The build with this id, which has to be there, with its derivation.
pub async fn view(conn: &mut Conn, id: BuildId) -> Result<BuildView, StorageError> {
    let row: Option<(Build, (String, StorePath, String, FeatureList))> = query!(&mut *conn, |c| {
        let columns = (derivation_rows::name, derivation_rows::drv_path, derivation_rows::system, derivation_rows::features);
        let joined = builds::table.inner_join(derivation_rows::table).filter(builds::id.eq(id));
        joined.select((Build::as_select(), columns)).first(c).await.optional()?
    });
    let (build, (name, drv_path, system, features)) = found(row, "build", id)?;
    let outputs = derivations::outputs(conn, &[build.derivation]).await?.remove(&build.derivation).unwrap_or_default();
    Ok(BuildView { build, name, drv_path, system, features: features.0, outputs })
}
