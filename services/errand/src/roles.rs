//! The roles of the suite. They are data, not build variants: a process serves all of them, or those
//! that it is told to and calls the others.

use std::{fmt, str::FromStr};

use errand_storage::Schema;

/// A part of the suite that can be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// Accounts, sessions and signing keys.
    Auth,
    /// Tasks.
    Task,
    /// Conversations with the assistant.
    Chat,
    /// The edge: one port for every client.
    Gateway,
}

/// A word that names no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no role `{0}`: choose from {choices}, or give none to serve all of them", choices = choices())]
pub(crate) struct UnknownRole(String);

// === impl Role ===

impl Role {
    /// Every role.
    pub(crate) const ALL: [Self; 4] = [Self::Auth, Self::Task, Self::Chat, Self::Gateway];

    /// Those that keep something, in the order in which they are brought up.
    pub(crate) const SERVICES: [Self; 3] = [Self::Auth, Self::Task, Self::Chat];

    /// Where it listens when it runs apart and nothing else was said.
    pub(crate) const fn port(self) -> u16 {
        match self {
            Self::Gateway => 8080,
            Self::Auth => 50051,
            Self::Task => 50052,
            Self::Chat => 50053,
        }
    }

    /// What it keeps; nothing for the gateway.
    pub(crate) const fn schema(self) -> Option<&'static Schema> {
        match self {
            Self::Auth => Some(&errand_auth::SCHEMA),
            Self::Task => Some(&errand_task::SCHEMA),
            Self::Chat => Some(&errand_chat::SCHEMA),
            Self::Gateway => None,
        }
    }

    /// Its word on the command line.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Task => "task",
            Self::Chat => "chat",
            Self::Gateway => "gateway",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|role| role.as_str() == word).ok_or_else(|| UnknownRole(word.to_owned()))
    }
}

/// The words of all roles, for messages.
pub(crate) fn choices() -> String {
    Role::ALL.map(Role::as_str).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_read_back_from_its_word() {
        for role in Role::ALL {
            assert_eq!(role.as_str().parse(), Ok(role));
        }
    }

    #[test]
    fn an_unknown_role_is_answered_with_the_choices() {
        let error = "tasks".parse::<Role>().unwrap_err().to_string();
        assert_eq!(
            error,
            "there is no role `tasks`: choose from auth, task, chat, gateway, or give none to serve all of them"
        );
    }
}
