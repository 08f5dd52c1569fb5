//! The worker's settings and wiring, so that `gradient-server --with-worker` can host one in its own process.

mod arguments;
mod directories;
mod shutdown;
mod start;

pub use arguments::{Arguments, Invocation, parse};
pub use shutdown::requested as stop_requested;
pub use start::{WrongSetting, run, work};
