//! What a worker says is taken in lane by lane: what it says of evaluations, and of builds, each in the order in which it comes. What
//! an evaluation has found takes seconds to write down, and builds do not wait for that; nor does a slot that is free wait until the
//! outputs of other builds are durable.

use gradient_domain::{Job, WorkerId};
use gradient_protocol::{Report, ToServer};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use super::{NEWER_CONNECTION, SessionError, SessionNumber, inbox};
use crate::{Engine, derivations::Found};

/// Messages that may wait in a lane. Beyond that nothing more is taken from the worker.
const ROOM: usize = 16;

/// A message, and who waits until it is taken in.
type Waiting = (ToServer, Option<oneshot::Sender<()>>);

/// The ways in, as long as the session lasts.
#[derive(Debug)]
pub(super) struct Lanes {
    evaluations: mpsc::Sender<Waiting>,
    builds: mpsc::Sender<Waiting>,
    failed: mpsc::Receiver<SessionError>,
    tasks: [JoinHandle<()>; 2],
}

/// Where a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lane {
    Evaluations,
    Builds,
    /// To none: it waits for nothing.
    AtOnce,
}

impl Lanes {
    pub(super) fn open(engine: &Engine, worker: WorkerId, number: SessionNumber) -> Self {
        let (failing, failed) = mpsc::channel(1);
        let open = || {
            let (sender, messages) = mpsc::channel(ROOM);
            (sender, tokio::spawn(run(engine.clone(), worker, number, messages, failing.clone())))
        };
        let ((evaluations, of_evaluations), (builds, of_builds)) = (open(), open());
        Self { evaluations, builds, failed, tasks: [of_evaluations, of_builds] }
    }

    /// Puts the message into a lane; one that is for none is handed back. `done` hears when it is taken in.
    pub(super) async fn put(
        &mut self,
        message: ToServer,
        done: Option<oneshot::Sender<()>>,
    ) -> Result<Option<ToServer>, SessionError> {
        let lane = match lane(&message) {
            Lane::Evaluations => &self.evaluations,
            Lane::Builds => &self.builds,
            Lane::AtOnce => return Ok(Some(message)),
        };
        match lane.send((message, done)).await {
            Ok(()) => Ok(None),
            Err(_) => Err(self.failed().await),
        }
    }

    /// Why one of them has ended. Waits for ever while none has.
    pub(super) async fn failed(&mut self) -> SessionError {
        let error = self.failed.recv().await.unwrap_or(SessionError::Protocol("the session has ended"));
        self.failed.close();
        error
    }

    /// Ends when everything that was put into them is taken in.
    pub(super) async fn close(self) {
        let Self { evaluations, builds, failed, tasks } = self;
        drop((evaluations, builds, failed));
        for task in tasks {
            // One that has panicked has said so.
            let _ = task.await;
        }
    }
}

fn lane(message: &ToServer) -> Lane {
    match message {
        ToServer::Report { report: Report::Made { .. }, .. } => Lane::AtOnce,
        ToServer::Report { job: Job::Fetch(_) | Job::Evaluate(_), .. } => Lane::Evaluations,
        ToServer::Report { job: Job::Build(_), .. } | ToServer::Log { .. } => Lane::Builds,
        _ => Lane::AtOnce,
    }
}

async fn run(
    engine: Engine,
    worker: WorkerId,
    number: SessionNumber,
    mut messages: mpsc::Receiver<Waiting>,
    failing: mpsc::Sender<SessionError>,
) {
    // What the evaluation has found that the worker is at.
    let mut found = Found::default();
    while let Some((message, done)) = messages.recv().await {
        let taken = if engine.sessions().hear(worker, number) {
            inbox::take(&engine, worker, &mut found, message).await
        } else {
            Err(SessionError::Protocol(NEWER_CONNECTION))
        };
        if let Err(error) = taken {
            // The first one says why the session ends.
            let _ = failing.try_send(error);
            return;
        }
        // Most wait for nothing.
        let _ = done.map(|done| done.send(()));
    }
}
