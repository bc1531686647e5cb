//! `errand config`: the settings as they hold.
//!
//! A configuration that is wrong never comes here: loading it has failed with exit code 78.

use std::fmt::Write;

use crate::{cli::Failure, config::Config, console};

/// Prints a file that would set everything as it is, and who set it so.
pub(crate) fn print(config: &Config) -> Result<(), Failure> {
    let mut text = String::new();
    let mut section = "";
    for setting in &config.effective {
        if setting.key.0 != section {
            let gap = if section.is_empty() { "" } else { "\n" };
            section = setting.key.0;
            _ = writeln!(text, "{gap}[{section}]");
        }
        _ = match &setting.value {
            Some(value) => writeln!(text, "{} = {value}  # {}", setting.key.1, setting.origin),
            None => writeln!(text, "# {} is not set", setting.key.1),
        };
    }
    console::say(text.trim_end());
    Ok(())
}

/// Says that the configuration is good.
pub(crate) fn check() -> Result<(), Failure> {
    console::say("the configuration is good");
    Ok(())
}
