//! The task that owns the scheduler.

use gradient_domain::Moment;
use gradient_scheduler::{Event, Scheduler};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{Clock, Message, journal::Batch};

/// Runs until the engine is gone.
pub(super) async fn run(
    mut inbox: mpsc::Receiver<Message>,
    mut scheduler: Scheduler,
    clock: Clock,
    journal: mpsc::Sender<Batch>,
    restored: Vec<Event>,
) {
    // All at once: decided on the way, an evaluation would seem to go back to its beginning.
    let decisions = scheduler.apply_all(restored, clock.now());
    if !decisions.is_empty() && journal.send(decisions.into()).await.is_err() {
        return;
    }
    loop {
        let deadline = scheduler.next_deadline().map(|tick| clock.at(tick));
        let message = tokio::select! {
            message = inbox.recv() => message,
            () = wait_until(deadline) => Some(Message::Event(Event::Tick)),
        };
        match message {
            None => return,
            Some(Message::Event(event)) => {
                if !step(&mut scheduler, event, clock, &journal).await {
                    return;
                }
            }
            Some(Message::Settle(events, settled)) => {
                let decisions = scheduler.apply_all(events, clock.now());
                // Without a decision of its own it still waits for those before it.
                if journal.send(Batch { decisions, settled: Some(settled) }).await.is_err() {
                    return;
                }
            }
            Some(question) => answer(&scheduler, clock, question),
        }
    }
}

/// Applies one event; false when the journal is gone and nothing can be made durable any more.
async fn step(scheduler: &mut Scheduler, event: Event, clock: Clock, journal: &mpsc::Sender<Batch>) -> bool {
    let decisions = scheduler.apply(event, clock.now());
    decisions.is_empty() || journal.send(decisions.into()).await.is_ok()
}

async fn wait_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Whoever asked may have gone; that is no error.
fn answer(scheduler: &Scheduler, clock: Clock, question: Message) {
    match question {
        Message::Event(_) | Message::Settle(..) => {}
        Message::ExplainBuild(build, answer) => {
            let _ = answer.send(scheduler.explain_build(build, Moment::now(), clock.now()));
        }
        Message::Census(answer) => {
            let _ = answer.send(scheduler.census());
        }
        Message::AssignedJobs(answer) => {
            let _ = answer.send(scheduler.workers().map(|worker| (worker.worker, worker.jobs.len())).collect());
        }
    }
}
