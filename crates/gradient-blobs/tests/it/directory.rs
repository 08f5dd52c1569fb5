//! What only a directory has.

use std::fs;

use bytes::Bytes;
use gradient_blobs::{BlobError, BlobKey, Blobs, Put};
use uuid::Uuid;

use crate::store::{names, nar};

#[tokio::test]
async fn the_last_log_of_a_build_takes_its_directory_along() {
    let directory = tempfile::tempdir().unwrap();
    let blobs = Blobs::open_directory(directory.path()).unwrap();
    for epoch in [1, 2] {
        blobs.put(&BlobKey::log(Uuid::nil(), epoch), Bytes::from_static(b"log")).await.unwrap();
    }
    blobs.delete(&BlobKey::log(Uuid::nil(), 1)).await.unwrap();
    assert_eq!(blobs.size(&BlobKey::log(Uuid::nil(), 2)).await.unwrap(), Some(3));
    blobs.delete(&BlobKey::log(Uuid::nil(), 2)).await.unwrap();
    assert!(!directory.path().join("log").join(Uuid::nil().to_string()).exists());
    assert_eq!(blobs.put(&BlobKey::log(Uuid::nil(), 3), Bytes::from_static(b"log")).await.unwrap(), Put::New);
}

#[tokio::test]
async fn a_store_that_went_away_does_not_answer_ping() {
    let directory = tempfile::tempdir().unwrap();
    let blobs = Blobs::open_directory(directory.path()).unwrap();
    fs::remove_dir_all(directory.path()).unwrap();
    assert!(matches!(blobs.ping().await, Err(BlobError::Io { .. })));
    let file = directory.path().join("file");
    fs::create_dir_all(directory.path()).unwrap();
    fs::write(&file, "no directory").unwrap();
    assert!(Blobs::open_directory(&file).is_err());
}
#[tokio::test]
async fn opening_removes_what_a_dead_process_left() {
    let directory = tempfile::tempdir().unwrap();
    let first = Blobs::open_directory(directory.path()).unwrap();
    first.put(&nar(1), Bytes::from_static(b"kept")).await.unwrap();
    let alive = first.staging().create().await.unwrap();
    fs::write(first.staging().path().join("upload-of-the-dead"), "x").unwrap();

    let second = Blobs::open_directory(directory.path()).unwrap();
    assert_eq!(names(second.staging().path()), [alive.path().file_name().unwrap().to_str().unwrap()]);
    assert_eq!(second.size(&nar(1)).await.unwrap(), Some(4));
    second.ping().await.unwrap();
}
