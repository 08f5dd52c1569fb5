//! The worker's settings and wiring, so that `gradient-server --with-worker` can host one in its own process, and what both
//! programs do alike.

mod arguments;
mod command_line;
mod directories;
mod shutdown;
mod start;

pub use arguments::Arguments;
pub use command_line::{WrongSetting, main};
pub use shutdown::requested as stop_requested;
pub use start::{run, work};
