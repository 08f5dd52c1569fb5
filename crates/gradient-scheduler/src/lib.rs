//! The build graph and who builds what next, as a pure state machine: events in, decisions out.
//!
//! A [`Scheduler`] reads no clock and does no I/O. It is told what has happened, and at which [`Tick`]; it answers with
//! [`Decision`]s, which the caller makes durable and then carries out. It lives in memory and is rebuilt from the database by
//! the same events, so the database is the truth and this is its index.
//!
//! A job (fetch, evaluate, build) has one owner at a time. Each assignment has an [`Epoch`](gradient_domain::Epoch) one higher
//! than the last; a report that names another epoch or comes from another worker changes nothing. A worker that loses its
//! connection keeps its jobs until their leases end. A build is ready when nothing that it depends on is left to do; among the
//! ready ones the order is: priority, then the organization that had the smallest share of the workers in the last minutes, then
//! the build with which the longest chain of builds begins, in expected time, then age. A build that needs features counts as at
//! least as long as all such builds together keep the workers busy that have them. It goes to a worker that can do the least else,
//! of several to one that has its large inputs; what lands on one that is needed for rarer things is something short. A worker that
//! is done in moments is given short builds before it has a free slot.
//!
//! ```
//! use gradient_domain::{Epoch, EvaluationStatus, Job, JobKind, EvaluationId, OrganizationId, Priority, WorkerId};
//! use gradient_scheduler::{
//!     Decision, Event, NewEvaluation, Scheduler, SchedulerSettings, Stage, Tick, WorkerCapabilities, WorkerOrganization,
//! };
//!
//! let mut scheduler = Scheduler::new(SchedulerSettings::default());
//! let (evaluation, organization, worker) = (EvaluationId::new(), OrganizationId::new(), WorkerId::random());
//!
//! let waits = scheduler.apply(
//!     Event::EvaluationAdded(NewEvaluation {
//!         evaluation,
//!         organization,
//!         priority: Priority::default(),
//!         status: EvaluationStatus::Queued,
//!         stage: Stage::Fetch,
//!         job_epoch: Epoch::NONE,
//!         lease: None,
//!     }),
//!     Tick::ZERO,
//! );
//! assert!(matches!(waits[..], [Decision::EvaluationMoved { status: EvaluationStatus::Waiting, .. }]));
//!
//! let begins = scheduler.apply(
//!     Event::WorkerConnected {
//!         worker,
//!         organizations: vec![WorkerOrganization { organization, kinds: vec![JobKind::Fetch] }],
//!         capabilities: WorkerCapabilities::default(),
//!         running: vec![],
//!     },
//!     Tick::ZERO,
//! );
//! assert_eq!(begins[0], Decision::Assign { job: Job::Fetch(evaluation), epoch: Epoch(1), worker });
//! assert!(matches!(begins[1], Decision::EvaluationMoved { status: EvaluationStatus::Fetching, .. }));
//! ```

mod class;
mod copies;
mod decision;
mod durations;
mod evaluation;
mod event;
mod holdings;
mod node;
mod profile;
mod scheduler;
mod settings;
mod share;
mod slab;
mod tick;
mod view;
mod worker;
mod workers;

pub use decision::Decision;
pub use durations::{DurationHistory, DurationSummary, Package, UNKNOWN_DURATION};
pub use event::{BuildState, Event, NewBuild, NewEvaluation, Stage, WorkerCapabilities, WorkerOrganization};
pub use scheduler::Scheduler;
pub use settings::SchedulerSettings;
pub use tick::Tick;
pub use view::{Census, Estimate, OwnedJob, WorkerView};
