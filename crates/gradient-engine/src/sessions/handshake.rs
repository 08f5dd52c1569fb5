//! From a hello to a session.

use std::time::Duration;

use gradient_auth::{SecretHash, SessionToken};
use gradient_domain::{JobKind, Moment};
use gradient_protocol::{
    AcceptedPeer, Capabilities, Hello, MAX_SIGNING_KEYS, PeerSelector, PeerToken, RefusalCode, RefusedPeer, VERSIONS, Welcome,
};
use gradient_scheduler::WorkerOrganization;
use gradient_storage::{
    Conn, organizations,
    workers::{self, WorkerRegistration},
};

use super::{ConnectedWorker, Opened, Refused, WorkerSession, lanes::Lanes};
use crate::{Engine, measures, workers::enabled_kinds};

/// Tokens looked at in one hello; each costs a hash.
const MAX_TOKENS: usize = 256;

/// How long the database may take for a handshake.
const LOOKUP: Duration = Duration::from_secs(10);

impl Engine {
    /// Checks a hello and opens the session, replacing an older connection of the same worker.
    pub async fn open_worker_session(&self, hello: Hello) -> Result<Opened, Refused> {
        let version = VERSIONS.newest_shared(hello.versions).ok_or_else(|| Refused {
            code: RefusalCode::Version,
            message: format!(
                "this server speaks the worker protocol from {} to {}, the worker from {} to {}",
                VERSIONS.min, VERSIONS.max, hello.versions.min, hello.versions.max
            ),
        })?;
        let proven = self.proven_peers(&hello).await?;
        let (accepted, refused) = share_store(proven, &hello.capabilities);
        let capabilities = bounded(hello.capabilities);
        let organizations = accepted.iter().map(|peer| served(peer, &capabilities.kinds)).collect();

        let token = SessionToken::generate(&mut rand::rng());
        let known = ConnectedWorker {
            worker: hello.worker,
            organizations,
            capabilities,
            program: cut(&hello.program, 100),
            connected_at: Moment::now(),
            draining: hello.draining,
            load: None,
        };
        let registered = accepted.iter().map(|peer| peer.registered_at).min().unwrap_or(known.connected_at);
        let turn = self.sessions().turn().await;
        let (number, outbox) =
            self.sessions().open(known.clone(), hello.process, token.hash(), registered).map_err(|_| Refused {
                code: RefusalCode::Unavailable,
                message: format!("another worker is connected as {}; every worker needs an id of its own", hello.worker),
            })?;
        self.signing().forget_worker(known.worker);
        self.core().worker_connected(&known, hello.running).await;
        self.signing().look();
        drop(turn);
        measures::worker_session_began();
        tracing::info!(worker = %hello.worker, peers = accepted.len(), "worker connected");

        let welcome = Welcome {
            version,
            session_token: token.expose().to_owned(),
            peers: self.peer_names(&accepted).await,
            refused,
            lease_secs: self.settings().lease.as_secs(),
        };
        let lanes = Lanes::open(self, known.worker, number);
        let session = WorkerSession { engine: self.clone(), worker: known.worker, number, lanes };
        Ok(Opened { session, welcome, outbox })
    }

    async fn peer_names(&self, accepted: &[WorkerRegistration]) -> Vec<AcceptedPeer> {
        let mut peers = Vec::with_capacity(accepted.len());
        for id in accepted.iter().map(|peer| peer.organization) {
            // The name is for people; without it the session is as good.
            let found = self.storage().read(async move |conn: &mut Conn| organizations::lookup(conn, id).await).await;
            let name = found.ok().flatten().map_or_else(|| id.to_string(), |organization| organization.name.to_string());
            peers.push(AcceptedPeer { id, name });
        }
        peers
    }

    async fn proven_peers(&self, hello: &Hello) -> Result<Vec<WorkerRegistration>, Refused> {
        let worker = hello.worker;
        let lookup = self.storage().read(async move |conn: &mut Conn| workers::lookup_by_worker(conn, worker).await);
        let Ok(Ok(candidates)) = tokio::time::timeout(LOOKUP, lookup).await else {
            return Err(Refused { code: RefusalCode::Unavailable, message: "the server cannot check tokens now".into() });
        };
        let proven: Vec<_> = candidates.into_iter().filter(|candidate| is_proven(candidate, &hello.tokens)).collect();
        if proven.is_empty() {
            return Err(Refused {
                code: RefusalCode::Unauthorized,
                message: format!(
                    "no token fits a registration of worker {worker}; register it and put the token into its peers file"
                ),
            });
        }
        Ok(proven)
    }
}

/// Whether any of the tokens is the registration's. Every comparison takes the same time.
fn is_proven(candidate: &WorkerRegistration, tokens: &[PeerToken]) -> bool {
    tokens.iter().take(MAX_TOKENS).fold(false, |proven, offered| {
        let addressed = match offered.peer {
            PeerSelector::Any => true,
            PeerSelector::Organization(id) => id == candidate.organization,
        };
        proven | (SecretHash::of(offered.token.as_bytes()).matches(&token_hash(candidate)) & addressed)
    })
}

fn token_hash(registration: &WorkerRegistration) -> SecretHash {
    SecretHash::from(registration.token_hash.0)
}

/// A worker with one store serves one peer: the results of two would mix in it.
fn share_store(proven: Vec<WorkerRegistration>, capabilities: &Capabilities) -> (Vec<WorkerRegistration>, Vec<RefusedPeer>) {
    if capabilities.separates_peers {
        return (proven, Vec::new());
    }
    let mut peers = proven.into_iter();
    let accepted: Vec<_> = peers.by_ref().take(1).collect();
    let refused = peers.map(|peer| RefusedPeer { id: peer.organization, reason: one_store().into() }).collect();
    (accepted, refused)
}

const fn one_store() -> &'static str {
    "the worker keeps one store for all peers, so it can serve only one; run a worker per organization"
}

/// What a worker does for a peer.
fn served(peer: &WorkerRegistration, offered: &[JobKind]) -> WorkerOrganization {
    WorkerOrganization { organization: peer.organization, kinds: enabled_kinds(peer, offered) }
}

/// What the worker offers, less what no machine has.
pub(super) fn bounded(mut offered: Capabilities) -> Capabilities {
    offered.kinds.sort_unstable();
    offered.kinds.dedup();
    offered.build_slots = offered.build_slots.min(1024);
    for words in [&mut offered.systems, &mut offered.features] {
        words.truncate(256);
        words.retain(|word| word.len() <= 100);
        words.sort_unstable();
        words.dedup();
    }
    offered.nix_version = cut(&offered.nix_version, 100);
    offered.signing_keys.truncate(MAX_SIGNING_KEYS);
    offered.signing_keys.retain(|key| key.len() <= 600);
    offered
}

fn cut(text: &str, chars: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(chars).collect()
}

#[cfg(test)]
mod tests {
    use gradient_auth::WorkerToken;
    use gradient_domain::{OrganizationId, WorkerId};

    use super::*;

    fn registration(token: &WorkerToken) -> WorkerRegistration {
        WorkerRegistration {
            organization: OrganizationId::new(),
            worker: WorkerId::random(),
            display_name: "build-01".parse().unwrap(),
            token_hash: (*token.hash().as_bytes()).into(),
            enable_fetch: true,
            enable_eval: true,
            enable_build: false,
            registered_at: Moment::from_micros(0),
            created_by: None,
        }
    }

    #[test]
    fn a_token_proves_its_own_peer_only() {
        let token = WorkerToken::generate(&mut rand::rng());
        let peer = registration(&token);
        let offer = |selector| [PeerToken { peer: selector, token: token.expose().to_owned() }];

        assert!(is_proven(&peer, &offer(PeerSelector::Any)));
        assert!(is_proven(&peer, &offer(PeerSelector::Organization(peer.organization))));
        assert!(!is_proven(&peer, &offer(PeerSelector::Organization(OrganizationId::new()))));
        assert!(!is_proven(&registration(&WorkerToken::generate(&mut rand::rng())), &offer(PeerSelector::Any)));
    }

    #[test]
    fn a_registration_can_switch_a_kind_off() {
        let peer = registration(&WorkerToken::generate(&mut rand::rng()));
        assert_eq!(served(&peer, &[JobKind::Fetch, JobKind::Build]).kinds, [JobKind::Fetch]);
    }
}
