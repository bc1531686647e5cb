//! What `errand replay` is told.

use std::path::PathBuf;

use clap::Args;

use super::Target;

/// Which conversation, whose, and against which model.
#[derive(Debug, Args)]
pub(crate) struct Replay {
    #[command(flatten)]
    pub(crate) target: Target,
    /// The conversation's id
    pub(crate) conversation: String,
    /// A file with an access token of its user; - for stdin
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: PathBuf,
    /// The model: planner for the built-in one, or a name at the configured address [default: the configured one]
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: Option<String>,
    /// Read days and times in this time zone [default: the user's]
    #[arg(long, value_name = "ZONE")]
    pub(crate) time_zone: Option<String>,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}
