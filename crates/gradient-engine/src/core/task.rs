//! The task that owns the scheduler.

use gradient_domain::Moment;
use gradient_scheduler::{Event, Scheduler};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{Clock, Dormant, Message, journal::Batch};

/// How many events are decided about together: what they lead to is written down in one transaction.
const EVENTS_AT_ONCE: usize = 256;

/// Runs until the engine is gone.
pub(super) async fn run(
    Dormant { mut inbox, undelivered }: Dormant,
    mut scheduler: Scheduler,
    clock: Clock,
    journal: mpsc::Sender<Batch>,
    restored: Vec<Event>,
) {
    // All at once: decided on the way, an evaluation would seem to go back to its beginning.
    let decisions = scheduler.apply_all(restored, clock.now());
    undelivered.note(&decisions);
    if !decisions.is_empty() && journal.send(decisions.into()).await.is_err() {
        return;
    }
    let mut next = None;
    loop {
        let deadline = scheduler.next_deadline().map(|tick| clock.at(tick));
        let message = if let Some(message) = next.take() {
            Some(message)
        } else {
            tokio::select! {
                message = inbox.recv() => message,
                () = wait_until(deadline) => Some(Message::Event(Event::Tick)),
            }
        };
        match message {
            None => return,
            Some(Message::Event(first)) => {
                let mut events = vec![first];
                next = gather(&mut inbox, &mut events);
                undelivered.complete(&mut events);
                let decisions = scheduler.apply_all(events, clock.now());
                undelivered.note(&decisions);
                // Without the journal nothing can be made durable any more.
                if !decisions.is_empty() && journal.send(decisions.into()).await.is_err() {
                    return;
                }
            }
            Some(Message::Settle(events, settled)) => {
                let decisions = scheduler.apply_all(events, clock.now());
                undelivered.note(&decisions);
                // Without a decision of its own it still waits for those before it.
                if journal.send(Batch { decisions, settled: Some(settled) }).await.is_err() {
                    return;
                }
            }
            Some(question) => answer(&mut scheduler, clock, question),
        }
    }
}

/// Takes the events that wait already: they are decided about together. What comes after them and is no event is next.
fn gather(inbox: &mut mpsc::Receiver<Message>, events: &mut Vec<Event>) -> Option<Message> {
    while events.len() < EVENTS_AT_ONCE
        && let Ok(message) = inbox.try_recv()
    {
        match message {
            Message::Event(event) => events.push(event),
            other => return Some(other),
        }
    }
    None
}

async fn wait_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Whoever asked may have gone; that is no error.
fn answer(scheduler: &mut Scheduler, clock: Clock, question: Message) {
    match question {
        Message::Event(_) | Message::Settle(..) => {}
        Message::ExplainBuild(build, answer) => {
            let _ = answer.send(scheduler.explain_build(build, Moment::now(), clock.now()));
        }
        Message::EstimateEvaluation(evaluation, answer) => {
            let _ = answer.send(scheduler.estimate_evaluation(evaluation, clock.now()));
        }
        Message::Census(answer) => {
            let _ = answer.send(scheduler.census());
        }
        Message::AssignedJobs(answer) => {
            let _ = answer.send(scheduler.workers().map(|worker| (worker.worker, worker.jobs.len())).collect());
        }
    }
}
