//! Who may call what: one row per rpc, derived from the method options of the contracts.
//!
//! The edge and the services read the same table. A method without options does not build, so a
//! new rpc can not be left open by forgetting it.

include!(concat!(env!("OUT_DIR"), "/contract.rs"));

/// One rpc of the contracts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Method {
    /// The path of its requests, `/package.Service/Method`.
    pub path: &'static str,
    /// The full name of its service, `package.Service`.
    pub service: &'static str,
    /// Its name within the service.
    pub name: &'static str,
    /// Who may call it.
    pub access: Access,
    /// What the caller's token must allow.
    pub scope: Scope,
    /// The budget that a call counts against.
    pub rate: RateClass,
    /// Whether it answers with a stream.
    pub server_streaming: bool,
    /// Whether it changes nothing, so that repeating it is always safe.
    pub no_side_effects: bool,
    /// Whether its request carries a `request_id`, which makes repeating it safe.
    pub has_request_id: bool,
    /// The full name of the request message.
    pub input: &'static str,
    /// The full name of the answer message.
    pub output: &'static str,
    /// How it is called over REST (`google.api.http`); empty for what only peers call.
    pub http: &'static [HttpRule],
}

/// A way to call a method over REST.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpRule {
    /// GET, PUT, POST, DELETE or PATCH.
    pub verb: &'static str,
    /// The template of its path, `/v1/tasks/{task_id}:complete`. A variable is one segment.
    pub path: &'static str,
    /// What the body is: `*` for the whole request, the name of a field, or empty when there is none.
    pub body: &'static str,
}

/// Who may call a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anybody, without a token.
    Public,
    /// A signed-in user.
    User,
}

/// What an access token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Nothing is needed.
    None,
    /// Read tasks.
    TasksRead,
    /// Create, change and delete tasks.
    TasksWrite,
    /// Talk to the assistant.
    Chat,
    /// Read and change the account.
    Account,
    /// Take away everything of a user whose account is deleted; no session has it.
    Erase,
}

/// The budget that a call counts against at the edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RateClass {
    /// Reads.
    Read,
    /// Writes.
    Write,
    /// Calls that try a password or hand out a credential.
    Credential,
    /// Calls that make the assistant work.
    Assistant,
}

impl Method {
    /// The row of the rpc with this exact path; paths are compared byte by byte.
    #[must_use]
    pub fn find(path: &str) -> Option<&'static Method> {
        lookup(path)
    }
}

impl Scope {
    /// Every scope that a session's token may carry.
    pub const ALL: [Scope; 4] = [Scope::TasksRead, Scope::TasksWrite, Scope::Chat, Scope::Account];

    /// The scope as a token spells it (RFC 8693, section 4.2).
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Scope::None => "",
            Scope::TasksRead => "tasks:read",
            Scope::TasksWrite => "tasks:write",
            Scope::Chat => "chat",
            Scope::Account => "account",
            Scope::Erase => "erase",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rpc_of_the_descriptor_set_has_a_row() {
        let mut count = 0;
        for service in crate::POOL.services().filter(|service| service.package_name().starts_with("errand.")) {
            for method in service.methods() {
                let path = format!("/{}/{}", service.full_name(), method.name());
                let row = Method::find(&path).unwrap_or_else(|| panic!("{path} has no row"));
                assert_eq!((row.path, row.service, row.name), (path.as_str(), service.full_name(), method.name()));
                count += 1;
            }
        }
        assert_eq!(count, METHODS.len());
    }

    #[test]
    fn a_path_that_differs_in_anything_has_no_row() {
        for path in [
            "",
            "/",
            "errand.task.v1.TaskService/GetTask",
            "/errand.task.v1.TaskService/gettask",
            "//errand.task.v1.TaskService/GetTask",
        ] {
            assert_eq!(Method::find(path), None, "{path}");
        }
    }

    #[test]
    fn every_mutation_of_task_can_be_repeated_and_checked_without_effect() {
        // Erasing is not asked for by a client; repeating it is safe by what it does.
        let mutations = METHODS.iter().filter(|method| !method.no_side_effects && method.scope != Scope::Erase);
        for method in mutations.filter(|method| method.service == "errand.task.v1.TaskService") {
            assert!(method.has_request_id, "{}", method.path);
            let input = crate::POOL.get_message_by_name(method.input).unwrap();
            assert!(input.get_field_by_name("validate_only").is_some(), "{}", method.path);
        }
    }
}
