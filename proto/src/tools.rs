//! The tools that an assistant may use: a name, the rpc behind it and what it can do to the user's
//! tasks.
//!
//! A tool's arguments are the request of its rpc in JSON, its result is the answer. Which calls may
//! run without asking is decided elsewhere, by [`Class`]; nothing here runs anything.

use crate::contract::Method;

/// One tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tool {
    /// What the assistant calls it.
    pub name: &'static str,
    /// The path of the rpc behind it.
    pub path: &'static str,
    /// What it can do.
    pub class: Class,
    /// What it is for, as a model is told.
    pub description: &'static str,
}

/// What a tool can do to the user's tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Changes nothing.
    Read,
    /// Makes or changes tasks; can be undone.
    Write,
    /// Takes something away.
    Destructive,
    /// Takes back what a turn did; can itself be taken back.
    Undo,
}

/// Every tool. What is done to one task is done to a list of one, where there is a list; conversations of
/// old name tools for one that are not offered any more.
pub const TOOLS: [Tool; 9] = [
    Tool {
        name: "get_task",
        path: "/errand.task.v1.TaskService/GetTask",
        class: Class::Read,
        description: "Shows one task by its id.",
    },
    Tool {
        name: "list_tasks",
        path: "/errand.task.v1.TaskService/ListTasks",
        class: Class::Read,
        description: "Lists tasks page by page: open or completed ones, by due time, by label, or by the words in them.",
    },
    Tool {
        name: "reopen_task",
        path: "/errand.task.v1.TaskService/ReopenTask",
        class: Class::Write,
        description: "Marks one completed task as open again by its id.",
    },
    Tool {
        name: "undelete_task",
        path: "/errand.task.v1.TaskService/UndeleteTask",
        class: Class::Write,
        description: "Brings one deleted task back by its id.",
    },
    Tool {
        name: "add_tasks",
        path: "/errand.task.v1.TaskService/BatchCreateTasks",
        class: Class::Write,
        description: "Adds one task or several, all or none: each a title, and if known a description, a priority, a due time and labels. More than five wait for the user's approval.",
    },
    Tool {
        name: "update_tasks",
        path: "/errand.task.v1.TaskService/BatchUpdateTasks",
        class: Class::Write,
        description: "Changes the title, description, priority, due time or labels of one task or several by their ids, all or none. More than five wait for the user's approval.",
    },
    Tool {
        name: "complete_tasks",
        path: "/errand.task.v1.TaskService/BatchCompleteTasks",
        class: Class::Write,
        description: "Marks one task or several as completed by their ids, all or none. More than five wait for the user's approval.",
    },
    Tool {
        name: "delete_tasks",
        path: "/errand.task.v1.TaskService/BatchDeleteTasks",
        class: Class::Destructive,
        description: "Deletes one task or several by their ids, all or none; they can be brought back for 30 days. More than one waits for the user's approval.",
    },
    Tool {
        name: "undo_turn",
        path: "/errand.task.v1.TaskService/UndoChanges",
        class: Class::Undo,
        description: "Takes back everything that an earlier turn of the assistant changed, by the turn's id.",
    },
];

impl Tool {
    /// The tool of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Tool> {
        TOOLS.iter().find(|tool| tool.name == name)
    }

    /// The contract of the rpc behind it.
    #[must_use]
    pub fn method(&self) -> Option<&'static Method> {
        Method::find(self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{POOL, contract::Scope};

    #[test]
    fn every_tool_is_an_rpc_of_the_task_service() {
        for tool in TOOLS {
            let method = tool.method().unwrap_or_else(|| panic!("{} has no rpc", tool.name));
            assert_eq!(method.service, "errand.task.v1.TaskService");
            assert!(!method.server_streaming);
            assert!(
                POOL.get_message_by_name(method.input).is_some() && POOL.get_message_by_name(method.output).is_some()
            );
            assert_eq!(Tool::find(tool.name), Some(&tool).copied().as_ref(), "{} is not unique", tool.name);
        }
    }

    #[test]
    fn settings_may_name_every_tool_and_nothing_else() {
        let names: Vec<_> = TOOLS.iter().map(|tool| tool.name).collect();
        let tool = crate::schema::field("errand.chat.v1.ToolSetting", "tool", "#").unwrap();
        assert_eq!(tool["pattern"], format!("^({})$", names.join("|")));
    }

    #[test]
    fn only_what_changes_nothing_is_called_a_read() {
        for tool in TOOLS {
            let method = tool.method().unwrap();
            assert_eq!(tool.class == Class::Read, method.no_side_effects, "{}", tool.name);
            assert_eq!(tool.class == Class::Read, method.scope == Scope::TasksRead, "{}", tool.name);
            assert_eq!(tool.class != Class::Read, method.has_request_id, "{}", tool.name);
        }
    }

    #[test]
    fn a_name_that_differs_in_anything_is_no_tool() {
        for name in ["", "Add_Tasks", "add_tasks ", "purge_tasks"] {
            assert_eq!(Tool::find(name), None, "{name}");
        }
    }
}
