//! What can go wrong with which call: the page of errors says what a reason means, the comment of an rpc which reasons
//! are its own. Neither is said again here.

use std::{collections::BTreeSet, sync::LazyLock};

use errand_chassis::Error;
use errand_proto::{
    POOL,
    contract::{METHODS, Method},
    schema,
};
use serde_json::{Value, json};
use tonic::{Code, Status};

use crate::refusal;

/// docs/errors.md, whose rows a test holds to the code.
static PAGE: &str = include_str!("../../../../docs/errors.md");

/// Where the reasons of errors end on the page, and those of fields begin.
const DETAILS: &str = "## Reasons of field violations";

const CODES: [(&str, Code); 12] = [
    ("CANCELLED", Code::Cancelled),
    ("INVALID_ARGUMENT", Code::InvalidArgument),
    ("DEADLINE_EXCEEDED", Code::DeadlineExceeded),
    ("NOT_FOUND", Code::NotFound),
    ("ALREADY_EXISTS", Code::AlreadyExists),
    ("PERMISSION_DENIED", Code::PermissionDenied),
    ("RESOURCE_EXHAUSTED", Code::ResourceExhausted),
    ("FAILED_PRECONDITION", Code::FailedPrecondition),
    ("ABORTED", Code::Aborted),
    ("UNIMPLEMENTED", Code::Unimplemented),
    ("UNAVAILABLE", Code::Unavailable),
    ("UNAUTHENTICATED", Code::Unauthenticated),
];

/// A row of the page.
#[derive(Debug)]
pub(super) struct Reason {
    /// The word.
    pub(super) name: &'static str,
    code: Code,
    status: u16,
    happened: &'static str,
}

static REASONS: LazyLock<Vec<Reason>> = LazyLock::new(|| {
    let rows = PAGE.split(DETAILS).next().unwrap_or_default().lines();
    rows.filter_map(Reason::read).collect()
});

/// The reasons that are some rpc's own.
static OWNED: LazyLock<BTreeSet<&'static str>> =
    LazyLock::new(|| METHODS.iter().flat_map(of).map(|reason| reason.name).collect());

/// The reasons that a method's comment names.
pub(super) fn of(method: &Method) -> impl Iterator<Item = &'static Reason> {
    let service = POOL.get_service_by_name(method.service);
    let descriptor = service.and_then(|service| service.methods().find(|one| one.name() == method.name));
    let comment = descriptor.map(|descriptor| schema::comment_of(&descriptor).1).unwrap_or_default();
    let words: BTreeSet<String> =
        comment.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).map(str::to_owned).collect();
    REASONS.iter().filter(move |reason| words.contains(reason.name))
}

/// The reasons that any method may have: those that no comment names, and those that some name although all have them.
pub(super) fn of_all() -> impl Iterator<Item = &'static Reason> {
    const OF_ALL: [&str; 2] = ["INVALID_FIELDS", "SCOPE_MISSING"];
    REASONS.iter().filter(|reason| !OWNED.contains(reason.name) || OF_ALL.contains(&reason.name))
}

/// Some reasons as a list for people.
pub(super) fn list<'r>(reasons: impl IntoIterator<Item = &'r Reason>) -> String {
    reasons.into_iter().map(|reason| format!("\n- `{}`: {}", reason.name, reason.happened)).collect()
}

impl Reason {
    fn read(row: &'static str) -> Option<Self> {
        let mut cells = row.strip_prefix("| ")?.split(" | ");
        let name = cells.next()?.trim_matches('`');
        let said = cells.next()?.split(' ').next()?;
        let code = CODES.into_iter().find(|(word, _)| *word == said)?.1;
        let status = refusal::http_status(&Status::from(Error::new(code, name, ""))).as_u16();
        Some(Self { name, code, status, happened: cells.next()? })
    }

    /// Whether an answer with this status may have this reason.
    pub(super) fn is_told_as(&self, status: &str) -> bool {
        // What another version is told as depends on how the version was said.
        status == self.status.to_string() || (status == "412" && self.name == "ETAG_MISMATCH")
    }

    /// How it is told.
    pub(super) fn example(&self) -> Value {
        let info = json!({
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": self.name,
            "domain": "errand",
        });
        json!({ "summary": self.happened, "value": { "code": self.code as i32, "details": [info] } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_page_is_read() {
        let rows = PAGE.split(DETAILS).next().unwrap().lines().filter(|line| line.starts_with("| `"));
        // A fault of ours is no answer that a caller can prepare for.
        let names: Vec<_> = rows.map(|row| row.split('`').nth(1).unwrap()).filter(|name| *name != "INTERNAL").collect();
        assert_eq!(REASONS.iter().map(|reason| reason.name).collect::<Vec<_>>(), names);
    }

    #[test]
    fn a_reason_is_of_the_methods_that_name_it_or_of_all() {
        let create = METHODS.iter().find(|method| method.name == "CompleteTask").unwrap();
        let names: Vec<_> = of(create).map(|reason| reason.name).collect();
        assert!(names.contains(&"TASK_NOT_FOUND") && !names.contains(&"EMAIL_TAKEN"), "{names:?}");
        let general: Vec<_> = of_all().map(|reason| reason.name).collect();
        assert!(general.contains(&"RATE_LIMITED") && !general.contains(&"TASK_NOT_FOUND"), "{general:?}");
    }
}
