//! `errand version`.

use crate::{cli::Failure, console};

/// Prints the version, as words or as JSON.
pub(crate) fn run(json: bool) -> Result<(), Failure> {
    let version = env!("CARGO_PKG_VERSION");
    if json {
        console::say(serde_json::json!({ "name": "errand", "version": version }));
    } else {
        console::say(format_args!("errand {version}"));
    }
    Ok(())
}
