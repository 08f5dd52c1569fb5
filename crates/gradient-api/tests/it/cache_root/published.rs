//! Paths that caches have.

use gradient_blobs::BlobKey;
use gradient_cache_protocol::ingest::{Candidates, Expectation, VerifiedUpload, verify};
use gradient_domain::{CacheId, Moment};
use gradient_nix::{StorePath, nar::Encoder};
use gradient_storage::{
    cache_paths::{self, NewCachePath},
    nars::{self, NewNar},
};

use crate::server::Server;

/// A file that refers to nothing.
pub(crate) const HELLO: &str = "7h7qgvs4kgzsn8a6rb273saxyqh4jxlz-hello";
/// A directory that refers to `HELLO`.
pub(crate) const APP: &str = "2vmnnlg2n5iiwmvhg8957fprn2bw0159-app";
/// What made `APP`.
pub(crate) const APP_DRV: &str = "0ccnxa25whszw7mgbgyzdm4nqc0zwnm8-app.drv";

/// A published path and its compressed NAR.
pub(crate) struct Published {
    pub(crate) upload: VerifiedUpload,
    pub(crate) compressed: Vec<u8>,
}

pub(crate) async fn publish_hello(server: &Server, cache: CacheId) -> Published {
    let mut nar = Encoder::new(Vec::new()).unwrap();
    nar.regular(None, false, b"hello\n").unwrap();
    publish(server, cache, HELLO, &nar.finish().unwrap(), &[]).await
}

pub(crate) async fn publish_app(server: &Server, cache: CacheId) -> Published {
    let mut nar = Encoder::new(Vec::new()).unwrap();
    nar.start_directory(None).unwrap();
    nar.regular(Some(b"app"), true, format!("#!/bin/sh\ncat /nix/store/{HELLO}\n").as_bytes()).unwrap();
    nar.symlink(Some(b"hello"), format!("/nix/store/{HELLO}").as_bytes()).unwrap();
    nar.end_directory().unwrap();
    publish(server, cache, APP, &nar.finish().unwrap(), &[HELLO]).await
}

pub(crate) async fn publish(server: &Server, cache: CacheId, path: &str, nar: &[u8], references: &[&str]) -> Published {
    let path: StorePath = path.parse().unwrap();
    let references: Vec<StorePath> = references.iter().map(|path| path.parse().unwrap()).collect();
    let compressed = zstd::encode_all(nar, 3).unwrap();
    let expectation = Expectation::new(path.clone(), Candidates::new(references.clone()), 64 << 20);
    let upload = verify(compressed.as_slice(), &expectation).unwrap();
    let listing = zstd::encode_all(upload.nar.listing.to_json().unwrap().as_slice(), 3).unwrap();
    server.blobs.put(&BlobKey::listing(&upload.nar.nar_hash), listing.into()).await.unwrap();
    server.blobs.put(&BlobKey::nar(&upload.nar.nar_hash), compressed.clone().into()).await.unwrap();
    let now = Moment::now();
    let nar = NewNar {
        nar_hash: upload.nar.nar_hash,
        nar_size: upload.nar.nar_size,
        file_hash: upload.file_hash,
        file_size: upload.file_size,
        created_at: now,
    };
    let row = NewCachePath {
        deriver: (path.name() == "app").then(|| APP_DRV.parse().unwrap()),
        path,
        nar_hash: upload.nar.nar_hash,
        references,
        content_address: None,
        foreign_signatures: Vec::new(),
    };
    let insert = async move |conn: &mut gradient_storage::Conn| {
        nars::claim(conn, nar).await?;
        cache_paths::publish(conn, cache, vec![row], now).await
    };
    server.storage.transaction(insert).await.unwrap();
    Published { upload, compressed }
}
