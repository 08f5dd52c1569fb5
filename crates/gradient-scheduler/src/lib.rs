//! The build graph and who builds what next, as a pure state machine: events in, decisions out.

mod decision;
mod event;
mod scheduler;
mod settings;
mod tick;
mod view;

pub use decision::Decision;
pub use event::{BuildState, Event, NewBuild, NewEvaluation, Stage, WorkerCapabilities, WorkerOrganization};
pub use scheduler::Scheduler;
pub use settings::SchedulerSettings;
pub use tick::Tick;
pub use view::WorkerView;
