//! Uploads that are not what they claim to be: each is refused, and nothing is left of it.

use gradient_blobs::BlobKey;
use rand::Rng;
use reqwest::{Method, StatusCode};

use super::world::{Nar, World, nar_of, narinfo, path_of, sha256};

gradient_test_support::both_databases!(whatever_is_wrong_with_an_upload_it_is_refused);

/// How often each kind of damage is done.
const TIMES: usize = 100;

/// The same in the long run: 10,000 uploads in one go. `cargo xtask corrupt` runs it.
const MANY_TIMES: usize = 2_500;

#[test]
#[ignore = "takes minutes"]
fn ten_thousand_on_sqlite() {
    gradient_test_support::on_sqlite(async |url: &str| damaged(url, MANY_TIMES).await);
}

#[test]
#[ignore = "takes minutes"]
fn ten_thousand_on_postgres() {
    gradient_test_support::on_postgres(async |url: &str| damaged(url, MANY_TIMES).await);
}

/// What is done to an upload.
#[derive(Debug, Clone, Copy)]
enum Damage {
    Flip,
    Cut,
    Pad,
    Lie,
}

async fn whatever_is_wrong_with_an_upload_it_is_refused(database: &str) {
    damaged(database, TIMES).await;
}

async fn damaged(database: &str, times: usize) {
    let begun = std::time::Instant::now();
    let world = World::start(database).await;
    for damage in [Damage::Flip, Damage::Cut, Damage::Pad, Damage::Lie] {
        for number in 0..times {
            let mut contents = vec![0; random() % 2000];
            rand::rng().fill_bytes(&mut contents);
            let nar = nar_of(&[contents.as_slice(), format!("{damage:?}-{number}").as_bytes()].concat());
            attempt(&world, damage, &nar, random()).await;
        }
    }
    let staged = std::fs::read_dir(world.server.blobs.staging().path()).unwrap().count();
    assert_eq!(staged, 0, "nothing is left");
    println!("{} damaged uploads refused in {:.1} s", 4 * times, begun.elapsed().as_secs_f64());
}

fn random() -> usize {
    let mut bytes = [0; 4];
    rand::rng().fill_bytes(&mut bytes);
    u32::from_le_bytes(bytes) as usize % 1_000_000
}

async fn attempt(world: &World, damage: Damage, nar: &Nar, place: usize) {
    let path = path_of("victim");
    let at = place % nar.sent.len();
    let mut damaged = nar.sent.clone();
    match damage {
        Damage::Flip => damaged[at] ^= 1 << (place % 8),
        Damage::Cut => damaged.truncate(at),
        Damage::Pad => damaged.extend_from_slice(&nar.sent[at..]),
        Damage::Lie => return lie(world, nar, place).await,
    }
    // Under the name of what it was, and under that of what it has become.
    for url in [nar.url.clone(), format!("nar/{}.nar.zst", sha256(&damaged).to_nix32())] {
        let sent = world.send(Method::PUT, &url, &world.key, damaged.clone()).await;
        if sent.status == StatusCode::OK && url != nar.url {
            // A flipped bit may make another NAR of it, or another file of the same NAR: good under its own name.
            return;
        }
        assert_eq!(sent.status, StatusCode::BAD_REQUEST, "{damage:?} at {at}: {}", sent.text);
        assert_eq!(world.send(Method::HEAD, &url, &world.key, Vec::new()).await.status, StatusCode::NOT_FOUND);
    }
    assert_eq!(world.server.blobs.size(&BlobKey::nar(&nar.hash)).await.unwrap(), None, "{damage:?} at {at}");
    let sent = world.put_narinfo(&path, nar, &[]).await;
    assert_eq!(sent.status, StatusCode::BAD_REQUEST, "{}", sent.text);
    assert_eq!(world.get(&format!("{}.narinfo", path.hash())).await.status, StatusCode::NOT_FOUND);
}

/// A good NAR, and a narinfo that says something else of it.
async fn lie(world: &World, nar: &Nar, place: usize) {
    // Another one each time: when a lie turns out to be true, the cache has it.
    let path = path_of(&format!("victim-{}", nar.hash.to_nix32()));
    assert_eq!(world.put_nar(nar).await.status, StatusCode::OK);
    let text = narinfo(&path, nar, &[]);
    let line = |name: &str, value: &str| {
        let lines = text.lines().map(|line| if line.starts_with(name) { value.to_owned() } else { line.to_owned() });
        lines.collect::<Vec<_>>().join("\n") + "\n"
    };
    let other = sha256(&place.to_le_bytes());
    let lies = [
        line("NarHash:", &format!("NarHash: {other}")),
        line("NarSize:", &format!("NarSize: {}", nar.bytes.len() + 1 + place)),
        line("FileHash:", &format!("FileHash: {other}")),
        line("FileSize:", &format!("FileSize: {}", nar.sent.len() + 1 + place)),
        line("References:", &format!("References: {}", path_of(&format!("unmentioned-{place}")))),
        line("References:", &format!("References: {path}")),
        line("StorePath:", &format!("StorePath: {}", path_of("other").to_absolute())),
        line("URL:", &format!("URL: nar/{}.nar.zst", other.to_nix32())),
        text.clone() + &format!("CA: fixed:r:sha256:{}\n", other.to_nix32()),
        text.clone() + &format!("CA: text:sha256:{}\n", other.to_nix32()),
        text[..place % text.len()].to_owned(),
    ];
    let number = place % lies.len();
    let sent = world.send(Method::PUT, &format!("{}.narinfo", path.hash()), &world.key, lies[number].clone().into_bytes()).await;
    // A narinfo that lost only what it need not say is still true.
    let harmless = number == lies.len() - 1 && sent.status == StatusCode::OK;
    assert!(sent.status == StatusCode::BAD_REQUEST || harmless, "{}: {} {}", lies[number], sent.status, sent.text);
    if !harmless {
        assert_eq!(world.get(&format!("{}.narinfo", path.hash())).await.status, StatusCode::NOT_FOUND, "{}", lies[number]);
    }
}
