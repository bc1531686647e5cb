//! The binary `errand`: every role of the suite and the commands to look after it.
//!
//! Code here wires and talks to the person at the terminal; what the suite can do is in the
//! services' crates.

mod cli;
mod commands;
mod compose;
mod config;
mod console;
mod data;
mod descriptors;
mod ground;
mod logs;
mod roles;
mod telemetry;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run(std::env::args_os(), &config::source::Process)
}
