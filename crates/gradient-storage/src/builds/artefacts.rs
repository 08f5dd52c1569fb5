use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use gradient_domain::BuildId;
use gradient_nix::StorePath;

use crate::{
    Conn, StorageError,
    conn::{insert_rows, query},
    schema::{build_artefacts, builds},
};

/// Something that a build offers for download: a file or a directory in one of its outputs.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct BuildArtefact {
    /// What it is asked for by; no other one of the build has it.
    pub name: String,
    /// What it is: `file`, `doc`, `report` …
    pub file_type: String,
    /// What it is more closely; may be empty.
    pub subtype: String,
    /// The output that it is in.
    pub store_path: StorePath,
    /// Where in the output; empty for the output itself.
    pub subpath: String,
    /// How large it is in bytes, when it is a file.
    pub size: Option<i64>,
}

macro_rules! columns {
    () => {
        (
            build_artefacts::name,
            build_artefacts::file_type,
            build_artefacts::subtype,
            build_artefacts::store_path,
            build_artefacts::subpath,
            build_artefacts::size,
        )
    };
}

/// Notes what a build offers, in the order given. To be called once for a build, in the transaction that completes it.
pub async fn insert_artefacts(conn: &mut Conn, build: BuildId, artefacts: Vec<BuildArtefact>) -> Result<(), StorageError> {
    if artefacts.is_empty() {
        return Ok(());
    }
    query!(&mut *conn, |c| { diesel::update(builds::table.find(build)).set(builds::has_artefacts.eq(true)).execute(c).await? });
    let rows = (0_i32..).zip(artefacts).map(|(position, artefact)| {
        (
            build_artefacts::build.eq(build),
            build_artefacts::position.eq(position),
            build_artefacts::name.eq(artefact.name),
            build_artefacts::file_type.eq(artefact.file_type),
            build_artefacts::subtype.eq(artefact.subtype),
            build_artefacts::store_path.eq(artefact.store_path),
            build_artefacts::subpath.eq(artefact.subpath),
            build_artefacts::size.eq(artefact.size),
        )
    });
    insert_rows!(conn, build_artefacts::table, 8, rows);
    Ok(())
}

/// What a build offers.
pub async fn artefacts(conn: &mut Conn, build: BuildId) -> Result<Vec<BuildArtefact>, StorageError> {
    Ok(query!(conn, |c| {
        let all = build_artefacts::table.filter(build_artefacts::build.eq(build));
        all.order(build_artefacts::position).select(columns!()).load(c).await?
    }))
}

/// What a build offers by this name.
pub async fn lookup_artefact(conn: &mut Conn, build: BuildId, name: &str) -> Result<Option<BuildArtefact>, StorageError> {
    Ok(query!(conn, |c| build_artefacts::table.find((build, name)).select(columns!()).first(c).await.optional()?))
}
