//! A server with a public cache that somebody may upload to.

use gradient_domain::{BuiltInRole, CacheId, Moment, RoleScope, UserId};
use gradient_engine::NewPin;
use gradient_nix::{HashAlgorithm, NarHash, NixHasher, StorePath, nar::Encoder};
use gradient_storage::{caches, roles};
use reqwest::{Method, StatusCode};

use super::super::{cache, private::key, user};
use crate::server::Server;

pub(in super::super) struct World {
    pub(in super::super) server: Server,
    pub(in super::super) owner: UserId,
    pub(in super::super) stranger: UserId,
    pub(in super::super) id: CacheId,
    /// Another cache of the owner.
    pub(in super::super) other: CacheId,
    /// May read and write, everywhere where the owner may.
    pub(in super::super) key: String,
}

/// A NAR as it is uploaded.
#[derive(Debug, Clone)]
pub(in super::super) struct Nar {
    pub(in super::super) bytes: Vec<u8>,
    pub(in super::super) hash: NarHash,
    /// Compressed.
    pub(in super::super) sent: Vec<u8>,
    pub(in super::super) sent_hash: NarHash,
    pub(in super::super) url: String,
}

#[derive(Debug)]
pub(in super::super) struct Answer {
    pub(in super::super) status: StatusCode,
    pub(in super::super) text: String,
}

pub(in super::super) fn sha256(bytes: &[u8]) -> NarHash {
    let mut hasher = NixHasher::new(HashAlgorithm::Sha256);
    hasher.update(bytes);
    NarHash(hasher.finalize().digest_as_bytes().try_into().unwrap())
}

impl Nar {
    pub(in super::super) fn new(bytes: Vec<u8>) -> Self {
        let sent = zstd::encode_all(bytes.as_slice(), 1).unwrap();
        let (hash, sent_hash) = (sha256(&bytes), sha256(&sent));
        Self { bytes, hash, sent, sent_hash, url: format!("nar/{}.nar.zst", sent_hash.to_nix32()) }
    }
}

/// A file with these contents.
pub(in super::super) fn nar_of(contents: &[u8]) -> Nar {
    let mut nar = Encoder::new(Vec::new()).unwrap();
    nar.regular(None, false, contents).unwrap();
    Nar::new(nar.finish().unwrap())
}

/// A path of this name, always the same.
pub(in super::super) fn path_of(name: &str) -> StorePath {
    let NarHash(digest) = sha256(name.as_bytes());
    let hash = gradient_nix::nixbase32::encode(&digest[..20]);
    format!("{hash}-{name}").parse().unwrap()
}

/// What Nix says of a path.
pub(in super::super) fn narinfo(path: &StorePath, nar: &Nar, references: &[&StorePath]) -> String {
    let references: Vec<_> = references.iter().map(ToString::to_string).collect();
    format!(
        "StorePath: {}\nURL: {}\nCompression: zstd\nFileHash: {}\nFileSize: {}\nNarHash: {}\nNarSize: {}\nReferences: {}\n",
        path.to_absolute(),
        nar.url,
        nar.sent_hash,
        nar.sent.len(),
        nar.hash,
        nar.bytes.len(),
        references.join(" ")
    )
}

impl World {
    pub(in super::super) async fn start(database: &str) -> Self {
        let server = Server::start(database).await;
        let (owner, stranger) = (user(&server, "alice").await, user(&server, "bob").await);
        let id = cache(&server, owner, "store", true).await;
        let other = cache(&server, owner, "other", true).await;
        let key = key(&server, owner, &["readStore", "writeStore"], NewPin::Everywhere).await;
        Self { server, owner, stranger, id, other, key }
    }

    pub(in super::super) fn url(&self) -> String {
        format!("{}/cache/store", self.server.url)
    }

    /// Makes the stranger a member of the cache; a key of theirs.
    pub(in super::super) async fn member(&self, role: BuiltInRole) -> String {
        let (id, user, role) = (self.id, self.stranger, roles::built_in(RoleScope::Cache, role));
        let insert =
            async move |conn: &mut gradient_storage::Conn| caches::insert_member(conn, id, user, role, Moment::now()).await;
        self.server.storage.write(insert).await.unwrap();
        key(&self.server, user, &["readStore", "writeStore"], NewPin::Everywhere).await
    }

    pub(in super::super) async fn send(&self, method: Method, file: &str, password: &str, body: Vec<u8>) -> Answer {
        self.send_to("store", method, file, password, body).await
    }

    pub(in super::super) async fn send_to(
        &self,
        cache: &str,
        method: Method,
        file: &str,
        password: &str,
        body: Vec<u8>,
    ) -> Answer {
        let mut request = self.server.http.request(method, format!("{}/cache/{cache}/{file}", self.server.url)).body(body);
        if !password.is_empty() {
            request = request.basic_auth("anybody", Some(password));
        }
        let response = request.send().await.unwrap();
        Answer { status: response.status(), text: response.text().await.unwrap() }
    }

    /// As somebody who has no key.
    pub(in super::super) async fn get(&self, file: &str) -> Answer {
        self.send(Method::GET, file, "", Vec::new()).await
    }

    pub(in super::super) async fn put_nar(&self, nar: &Nar) -> Answer {
        self.send(Method::PUT, &nar.url, &self.key, nar.sent.clone()).await
    }

    pub(in super::super) async fn put_narinfo(&self, path: &StorePath, nar: &Nar, references: &[&StorePath]) -> Answer {
        let text = narinfo(path, nar, references).into_bytes();
        self.send(Method::PUT, &format!("{}.narinfo", path.hash()), &self.key, text).await
    }

    /// Takes a path from the cache, as a collection does.
    pub(in super::super) async fn lose(&self, path: &StorePath) {
        let (id, hash) = (self.id, path.hash());
        let delete = async move |conn: &mut gradient_storage::Conn| {
            gradient_storage::cache_retention::delete_claims(conn, id, &[hash]).await
        };
        self.server.storage.write(delete).await.unwrap();
    }

    /// All that it takes.
    pub(in super::super) async fn push(&self, path: &StorePath, nar: &Nar, references: &[&StorePath]) {
        assert_eq!(self.put_nar(nar).await.status, StatusCode::OK);
        let sent = self.put_narinfo(path, nar, references).await;
        assert_eq!((sent.status, sent.text.as_str()), (StatusCode::OK, "published\n"));
    }
}
