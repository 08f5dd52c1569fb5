//! The store of blobs on a real directory.

#![allow(clippy::unwrap_used, reason = "the helpers of tests fail the test")]

use std::{fs, io::Write, path::Path};

use bytes::Bytes;
use futures_util::TryStreamExt;
use gradient_blobs::{Blob, BlobError, BlobKey, Blobs, Put};
use gradient_nix::NarHash;
use tokio::io::AsyncWriteExt;
use uuid::Uuid;

fn nar(number: u8) -> BlobKey {
    BlobKey::nar(&NarHash([number; 32]))
}

fn names(directory: &Path) -> Vec<String> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

async fn bytes(blob: Blob) -> Vec<u8> {
    blob.stream.try_collect::<Vec<Bytes>>().await.unwrap().concat()
}

#[tokio::test]
async fn the_first_nar_stays_and_the_last_log_counts() {
    let directory = tempfile::tempdir().unwrap();
    let blobs = Blobs::open_directory(directory.path()).unwrap();
    assert_eq!(blobs.put(&nar(1), Bytes::from_static(b"first")).await.unwrap(), Put::New);
    assert_eq!(blobs.put(&nar(1), Bytes::from_static(b"second")).await.unwrap(), Put::Existed);
    assert_eq!(blobs.read_all(&nar(1), 5).await.unwrap().unwrap(), "first");

    let log = BlobKey::log(Uuid::nil(), 1);
    assert_eq!(blobs.put(&log, Bytes::from_static(b"half a log")).await.unwrap(), Put::New);
    assert_eq!(blobs.put(&log, Bytes::from_static(b"a log")).await.unwrap(), Put::New);
    assert_eq!(blobs.read_all(&log, 5).await.unwrap().unwrap(), "a log");
    assert!(names(blobs.staging().path()).is_empty());
    assert_eq!(names(&directory.path().join("nar")).len(), 1);
}

#[tokio::test]
async fn what_is_missing_is_none_and_deleting_it_is_no_error() {
    let directory = tempfile::tempdir().unwrap();
    let blobs = Blobs::open_directory(directory.path().join("made/on/demand")).unwrap();
    assert!(blobs.get(&nar(1)).await.unwrap().is_none());
    assert!(blobs.get_range(&nar(1), 0..1).await.unwrap().is_none());
    assert_eq!(blobs.read_all(&nar(1), 1).await.unwrap(), None);
    assert_eq!(blobs.size(&nar(1)).await.unwrap(), None);
    blobs.delete(&nar(1)).await.unwrap();
    blobs.put(&nar(1), Bytes::from_static(b"nar")).await.unwrap();
    assert_eq!(blobs.size(&nar(1)).await.unwrap(), Some(3));
    blobs.delete(&nar(1)).await.unwrap();
    assert_eq!(blobs.size(&nar(1)).await.unwrap(), None);
}

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
async fn a_part_is_read_without_the_rest() {
    let directory = tempfile::tempdir().unwrap();
    let blobs = Blobs::open_directory(directory.path()).unwrap();
    let content: Vec<u8> = (0..1_000_003_u32).map(|n| (n % 251) as u8).collect();
    blobs.put(&nar(1), content.clone().into()).await.unwrap();

    let whole = blobs.get(&nar(1)).await.unwrap().unwrap();
    assert_eq!((whole.size, whole.range.clone()), (1_000_003, 0..1_000_003));
    assert_eq!(bytes(whole).await, content);
    let part = blobs.get_range(&nar(1), 500_000..500_010).await.unwrap().unwrap();
    assert_eq!((part.size, part.range.clone()), (1_000_003, 500_000..500_010));
    assert_eq!(bytes(part).await, content[500_000..500_010]);
    let end = blobs.get_range(&nar(1), 1_000_000..u64::MAX).await.unwrap().unwrap();
    assert_eq!(end.range, 1_000_000..1_000_003);
    assert_eq!(bytes(end).await, content[1_000_000..]);

    #[expect(clippy::reversed_empty_ranges, reason = "what a hostile client may ask for")]
    for range in [1_000_003..1_000_004, 5..5, 6..5, u64::MAX..u64::MAX] {
        let error = blobs.get_range(&nar(1), range).await.unwrap_err();
        assert!(matches!(error, BlobError::Range { size: 1_000_003, .. }), "{error}");
    }
    assert_eq!(blobs.read_range(&nar(1), 999_999..1_000_003).await.unwrap(), content[999_999..]);
    assert!(matches!(blobs.read_range(&nar(1), 999_999..1_000_004).await, Err(BlobError::Range { .. })));
    assert!(matches!(blobs.read_range(&nar(2), 0..1).await, Err(BlobError::Missing { .. })));
    let error = blobs.read_all(&nar(1), 1_000_002).await.unwrap_err();
    assert!(matches!(error, BlobError::TooLarge { size: 1_000_003, max_bytes: 1_000_002, .. }), "{error}");
}

#[tokio::test]
async fn an_upload_is_put_or_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let blobs = Blobs::open_directory(directory.path()).unwrap();
    let mut given_up = blobs.staging().create().await.unwrap();
    given_up.write_all(b"half").unwrap();
    drop(given_up);
    assert!(names(blobs.staging().path()).is_empty());

    let upload = blobs.staging().create().await.unwrap();
    let mut writer = upload.to_async().unwrap();
    writer.write_all(b"whole").await.unwrap();
    writer.flush().await.unwrap();
    assert_eq!(blobs.put_staged(&nar(1), upload).await.unwrap(), Put::New);
    let again = blobs.staging().create().await.unwrap();
    assert_eq!(blobs.put_staged(&nar(1), again).await.unwrap(), Put::Existed);
    assert_eq!(blobs.read_all(&nar(1), 9).await.unwrap().unwrap(), "whole");
    assert!(names(blobs.staging().path()).is_empty());
}

#[tokio::test]
async fn a_file_from_elsewhere_is_moved_in() {
    let directory = tempfile::tempdir().unwrap();
    let blobs = Blobs::open_directory(directory.path()).unwrap();
    // On most machines `/dev/shm` is another file system than the temporary directory.
    let elsewhere = [std::env::temp_dir(), "/dev/shm".into()].into_iter().filter(|path| path.is_dir());
    for (number, parent) in (1..).zip(elsewhere) {
        let source = tempfile::tempdir_in(parent).unwrap();
        let file = source.path().join("file");
        fs::write(&file, "moved").unwrap();
        assert_eq!(blobs.put_file(&nar(number), &file).await.unwrap(), Put::New);
        assert_eq!(blobs.read_all(&nar(number), 9).await.unwrap().unwrap(), "moved");
        assert!(!file.exists());
        assert!(matches!(blobs.put_file(&nar(9), &file).await, Err(BlobError::Io { .. })));
    }
    assert_eq!(blobs.size(&nar(9)).await.unwrap(), None);
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

#[tokio::test]
async fn concurrent_writers_of_one_key_agree() {
    let directory = tempfile::tempdir().unwrap();
    let blobs = Blobs::open_directory(directory.path()).unwrap();
    let puts = (0..16_u8).map(|n| {
        let blobs = blobs.clone();
        tokio::spawn(async move { blobs.put(&nar(1), vec![n; 100_000].into()).await.unwrap() })
    });
    let mut new = 0;
    for put in puts.collect::<Vec<_>>() {
        new += u8::from(put.await.unwrap() == Put::New);
    }
    assert_eq!(new, 1);
    let content = blobs.read_all(&nar(1), 100_000).await.unwrap().unwrap();
    assert!(content.len() == 100_000 && content.iter().all(|byte| *byte == content[0]));
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
