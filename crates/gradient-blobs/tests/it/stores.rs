//! What a directory and a bucket have in common.

use std::{fs, io::Write};

use bytes::Bytes;
use futures_util::TryStreamExt;
use gradient_blobs::{BlobError, BlobKey, Put};
use tokio::io::AsyncWriteExt;
use uuid::Uuid;

use crate::{
    both_stores,
    store::{Store, bytes, names, nar},
};

both_stores!(
    the_first_nar_stays_and_the_last_log_counts,
    what_is_missing_is_none_and_deleting_it_is_no_error,
    a_part_is_read_without_the_rest,
    an_upload_is_put_or_leaves_nothing,
    a_file_from_elsewhere_is_moved_in,
    concurrent_writers_of_one_key_agree,
    what_is_stored_is_listed_and_can_be_put_aside,
);

async fn the_first_nar_stays_and_the_last_log_counts(store: &Store) {
    let blobs = &store.blobs;
    assert_eq!(blobs.put(&nar(1), Bytes::from_static(b"first")).await.unwrap(), Put::New);
    assert_eq!(blobs.put(&nar(1), Bytes::from_static(b"second")).await.unwrap(), Put::Existed);
    assert_eq!(blobs.read_all(&nar(1), 5).await.unwrap().unwrap(), "first");

    let log = BlobKey::log(Uuid::nil(), 1);
    assert_eq!(blobs.put(&log, Bytes::from_static(b"half a log")).await.unwrap(), Put::New);
    assert_eq!(blobs.put(&log, Bytes::from_static(b"a log")).await.unwrap(), Put::New);
    assert_eq!(blobs.read_all(&log, 5).await.unwrap().unwrap(), "a log");
    assert!(names(blobs.staging().path()).is_empty());
}

async fn what_is_missing_is_none_and_deleting_it_is_no_error(store: &Store) {
    let blobs = &store.blobs;
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

async fn a_part_is_read_without_the_rest(store: &Store) {
    let blobs = &store.blobs;
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

async fn an_upload_is_put_or_leaves_nothing(store: &Store) {
    let blobs = &store.blobs;
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

async fn a_file_from_elsewhere_is_moved_in(store: &Store) {
    let blobs = &store.blobs;
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

async fn concurrent_writers_of_one_key_agree(store: &Store) {
    let blobs = &store.blobs;
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

async fn what_is_stored_is_listed_and_can_be_put_aside(store: &Store) {
    let blobs = &store.blobs;
    for number in 1..=3 {
        blobs.put(&nar(number), Bytes::from(vec![number; 10])).await.unwrap();
    }
    blobs.put(&BlobKey::log(Uuid::nil(), 1), Bytes::from_static(b"log")).await.unwrap();
    let listed = async |folder: &str| {
        let listed = blobs.list(folder).try_collect::<Vec<_>>().await.unwrap();
        let mut listed: Vec<_> = listed.into_iter().map(|blob| (blob.name, blob.size)).collect();
        listed.sort();
        listed
    };
    let mut expected: Vec<_> = (1..=3).map(|number| (nar(number).to_string(), 10)).collect();
    expected.sort();
    assert_eq!(listed("nar").await, expected);
    assert_eq!(listed("log").await, [(BlobKey::log(Uuid::nil(), 1).to_string(), 3)]);
    assert_eq!(listed("ls").await, []);

    let name = nar(2).to_string();
    assert!(blobs.put_aside(&name).await.unwrap());
    assert!(!blobs.put_aside(&name).await.unwrap());
    assert_eq!(blobs.size(&nar(2)).await.unwrap(), None);
    assert_eq!(listed("nar").await.len(), 2);
    assert!(blobs.put_back(&name).await.unwrap());
    assert_eq!(blobs.read_all(&nar(2), 10).await.unwrap().unwrap(), [2; 10][..]);
    assert!(blobs.put_aside(&name).await.unwrap());
    assert!(blobs.discard_aside(&name).await.unwrap());
    assert!(!blobs.put_back(&name).await.unwrap());
    assert_eq!(blobs.size(&nar(2)).await.unwrap(), None);
}
