//! What only a bucket has.

use std::{fs, io::Write, time::Duration};

use bytes::Bytes;
use gradient_blobs::{BlobError, BlobKey, Blobs, BucketProblem, Put, S3Settings};
use gradient_test_support::deployment::{DeploymentError, Process, S3Server, S3ServerSettings, wait};
use uuid::Uuid;

use crate::{
    process,
    store::{Store, install_cryptography, names, nar, settings},
};

const LIMIT: Duration = Duration::from_mins(1);

/// More than one part, and not a multiple.
const LARGE: usize = (17 << 20) + 3;

async fn put_large(blobs: &Blobs, key: &BlobKey, byte: u8) -> Result<Put, BlobError> {
    let mut staged = blobs.staging().create().await?;
    staged.write_all(&vec![byte; LARGE]).unwrap();
    blobs.put_staged(key, staged).await
}

fn problem<T>(result: Result<T, BlobError>) -> BucketProblem {
    match result {
        Err(BlobError::Bucket { problem, .. }) => problem,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it worked"),
    }
}

#[tokio::test]
async fn a_large_blob_goes_in_parts_and_has_the_names_of_a_directory() {
    let Some(store) = Store::bucket(S3ServerSettings::default()).await else { return };
    assert_eq!(put_large(&store.blobs, &nar(1), 7).await.unwrap(), Put::New);
    assert_eq!(put_large(&store.blobs, &nar(1), 8).await.unwrap(), Put::Existed);
    assert_eq!(store.blobs.size(&nar(1)).await.unwrap(), Some(LARGE as u64));
    let written = fs::read(store.server().object(&format!("a/prefix/{}", nar(1)))).unwrap();
    assert!(written.len() == LARGE && written.iter().all(|byte| *byte == 7));
    let end = store.blobs.read_range(&nar(1), (LARGE - 9) as u64..LARGE as u64).await.unwrap();
    assert_eq!(end, [7; 9][..]);
    assert!(store.server().incomplete_uploads().unwrap().is_empty());
}

/// Two processes at once: none replaces what the other one has told somebody the hash of.
#[tokio::test]
async fn of_two_writers_one_is_first() {
    let Some(store) = Store::bucket(S3ServerSettings::default()).await else { return };
    let other = store.once_more().await;
    assert!(other.refuses_to_replace());
    for number in 1..=4 {
        let key = nar(number);
        let put = async |blobs: &Blobs, byte: u8| {
            let small = Bytes::from(vec![byte; 100_000]);
            if number % 2 == 0 { blobs.put(&key, small).await.unwrap() } else { put_large(blobs, &key, byte).await.unwrap() }
        };
        let puts = tokio::join!(put(&store.blobs, 1), put(&other, 2));
        let first = match puts {
            (Put::New, Put::Existed) => 1,
            (Put::Existed, Put::New) => 2,
            both => panic!("{both:?}"),
        };
        assert_eq!(store.blobs.read_range(&key, 99_998..100_000).await.unwrap(), [first; 2][..]);
    }
    assert!(store.server().incomplete_uploads().unwrap().is_empty());
}

#[tokio::test]
async fn without_conditions_the_writers_of_one_process_agree() {
    let settings = S3ServerSettings { conditions: false, ..S3ServerSettings::default() };
    let Some(store) = Store::bucket(settings).await else { return };
    assert!(!store.blobs.refuses_to_replace());
    for number in 1..=2 {
        let key = nar(number);
        let put = async |byte: u8| match number {
            1 => store.blobs.put(&key, Bytes::from(vec![byte; 100_000])).await.unwrap(),
            _ => put_large(&store.blobs, &key, byte).await.unwrap(),
        };
        let puts = tokio::join!(put(1), put(2));
        assert!(matches!(puts, (Put::New, Put::Existed) | (Put::Existed, Put::New)), "{puts:?}");
    }
    let log = BlobKey::log(Uuid::nil(), 1);
    for text in ["half", "all"] {
        assert_eq!(store.blobs.put(&log, Bytes::from(text)).await.unwrap(), Put::New);
    }
    assert_eq!(store.blobs.read_all(&log, 9).await.unwrap().unwrap(), "all");
}

#[tokio::test]
async fn an_upload_that_fails_leaves_nothing() {
    let settings = S3ServerSettings { refused_part: Some(3), ..S3ServerSettings::default() };
    let Some(store) = Store::bucket(settings).await else { return };
    let error = put_large(&store.blobs, &nar(1), 1).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains(nar(1).as_str()) && text.contains(S3Server::BUCKET) && text.contains("may not do this"), "{text}");
    assert_eq!(problem(Err::<(), _>(error)), BucketProblem::Forbidden);
    assert_eq!(store.blobs.size(&nar(1)).await.unwrap(), None);
    assert!(store.server().incomplete_uploads().unwrap().is_empty());
    // It is only the third part.
    assert_eq!(store.blobs.put(&nar(1), Bytes::from_static(b"small")).await.unwrap(), Put::New);
}

#[tokio::test]
async fn who_is_killed_in_the_middle_leaves_no_blob() {
    let stalling = S3ServerSettings { unanswered_part: Some(2), ..S3ServerSettings::default() };
    let Some(store) = Store::bucket(stalling).await else { return };
    let uploads = store.folder.path().join("other");
    let mut command = process::command(&store.server().endpoint(), 32, &uploads);
    let mut other = Process::spawn("an upload", &mut command, &store.folder.path().join("log")).unwrap();
    wait::until("the first part", LIMIT, || {
        other.expect_running()?;
        let found = store.server().incomplete_uploads()?;
        Ok::<_, DeploymentError>(found.iter().any(|path| path.to_string_lossy().contains("part-1")).then_some(()))
    })
    .unwrap();
    other.kill();
    assert_eq!(store.blobs.size(&nar(1)).await.unwrap(), None);
    assert!(!store.server().object(&format!("a/prefix/{}", nar(1))).exists());
    assert_eq!(store.blobs.put(&nar(1), Bytes::from_static(b"whole")).await.unwrap(), Put::New);
    // Nor does it leave what it staged, once the next one starts.
    let next = Blobs::open_s3(settings(&store.server().endpoint()), &uploads).await.unwrap();
    assert!(names(next.staging().path()).is_empty());
}

#[tokio::test]
async fn two_hundred_mebibytes_need_no_more_memory_than_some_parts() {
    let Some(store) = Store::bucket(S3ServerSettings::default()).await else { return };
    let mut command = process::command(&store.server().endpoint(), 200, &store.folder.path().join("other"));
    let mut other = Process::spawn("an upload", &mut command, &store.folder.path().join("log")).unwrap();
    let status = other.wait(LIMIT).unwrap();
    let log = other.log_tail();
    assert!(status.success(), "{log}");
    let peak: u64 = log.lines().find_map(|line| line.split_once("peak KiB: ")).unwrap().1.trim().parse().unwrap();
    assert!(peak < 96 << 10, "{peak} KiB");
    assert_eq!(store.blobs.size(&nar(1)).await.unwrap(), Some(200 << 20));
}

#[tokio::test]
async fn what_is_wrong_is_said_when_the_store_is_opened() {
    let Some(store) = Store::bucket(S3ServerSettings::default()).await else { return };
    let right = settings(&store.server().endpoint());
    let staging = store.folder.path().join("other");
    let open = async |settings: S3Settings| problem(Blobs::open_s3(settings, &staging).await);
    let wrong_secret = S3Settings { secret_access_key: "another".into(), ..right.clone() };
    assert_eq!(open(wrong_secret).await, BucketProblem::WrongCredentials);
    let wrong_key = S3Settings { access_key_id: "another".into(), ..right.clone() };
    assert_eq!(open(wrong_key).await, BucketProblem::WrongCredentials);
    let wrong_bucket = S3Settings { bucket: "another".into(), ..right.clone() };
    assert_eq!(open(wrong_bucket).await, BucketProblem::NoSuchBucket);
    let nobody = S3Settings { endpoint: Some("http://localhost:1".parse().unwrap()), ..right };
    assert_eq!(open(nobody).await, BucketProblem::NoAnswer);
}

#[tokio::test]
async fn a_bucket_that_went_away_does_not_answer_ping() {
    let Some(store) = Store::bucket(S3ServerSettings::default()).await else { return };
    store.blobs.ping().await.unwrap();
    store.server().remove_bucket().unwrap();
    assert_eq!(problem(store.blobs.ping().await), BucketProblem::NoSuchBucket);
    assert_eq!(problem(store.blobs.get(&nar(1)).await), BucketProblem::NoSuchBucket);
}

#[tokio::test]
async fn a_presigned_url_is_for_one_blob_and_secret() {
    let Some(store) = Store::bucket(S3ServerSettings::default()).await else { return };
    assert!(store.blobs.presigned(&nar(1)).await.unwrap().is_none());
    install_cryptography();
    let settings = S3Settings { presign: true, ..settings(&store.server().endpoint()) };
    let blobs = Blobs::open_s3(settings, store.folder.path().join("other")).await.unwrap();
    blobs.put(&nar(1), Bytes::from_static(b"0123456789")).await.unwrap();
    blobs.put(&nar(2), Bytes::from_static(b"another")).await.unwrap();
    let url = blobs.presigned(&nar(1)).await.unwrap().unwrap();
    assert_eq!(format!("{url:?}"), "PresignedUrl(…)");

    let client = reqwest::Client::new();
    let answer = client.get(url.expose()).header("range", "bytes=2-4").send().await.unwrap();
    assert_eq!((answer.status().as_u16(), &*answer.bytes().await.unwrap()), (206, &b"234"[..]));
    let other = url.expose().replace(nar(1).as_str(), nar(2).as_str());
    assert_eq!(client.get(other).send().await.unwrap().status().as_u16(), 403);
    assert_eq!(client.delete(url.expose()).send().await.unwrap().status().as_u16(), 403);
}
