//! What a verb and a path mean to the faces of plain HTTP: REST as the contracts' http rules say, Connect, and
//! the aliases.
//!
//! Built once. A path is compared segment by segment; a variable is one segment, decoded; what stands after
//! the last colon is a verb of our own (AIP-136). Nothing is cleaned: another spelling is another path.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

use errand_chassis::access::Caller;
use errand_proto::contract::{HttpRule, METHODS, Method};
use percent_encoding::percent_decode_str;

/// What may be called without being in a contract of ours, because every gRPC server offers it, and whether it answers
/// with a stream.
const STANDARD: [(&str, bool); 5] = [
    ("/grpc.health.v1.Health/Check", false),
    ("/grpc.health.v1.Health/Watch", true),
    ("/grpc.health.v1.Health/List", false),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", true),
    ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", true),
];

/// Whether what is called at a path answers with a stream; nothing where nothing may be called.
pub(crate) fn streams(path: &str) -> Option<bool> {
    let standard = || STANDARD.iter().find(|(standard, _)| *standard == path).map(|(_, streams)| *streams);
    Method::find(path).map(|method| method.server_streaming).or_else(standard)
}

/// Every http rule of the contracts.
pub(crate) struct Bindings {
    root: Node,
}

#[derive(Default)]
struct Node {
    /// Below a segment that is spelled out.
    literals: HashMap<&'static str, Node>,
    /// Below any segment.
    variable: Option<Box<Node>>,
    /// What ends here, by the word after the colon and the verb.
    ends: HashMap<&'static str, BTreeMap<&'static str, Binding>>,
}

/// A rule of a method.
#[derive(Debug, Clone)]
pub(crate) struct Binding {
    /// The method that it calls.
    pub(crate) method: &'static Method,
    /// The rule.
    pub(crate) rule: &'static HttpRule,
    /// The fields that the variables of the path fill, in order.
    variables: Vec<&'static str>,
}

/// The way in that a request of plain HTTP takes; an extension of the request.
#[derive(Debug, Clone)]
pub(crate) enum Way {
    /// By a rule of the contracts.
    Rest(Box<Bound>),
    /// As Connect has it, by the method's own path.
    Connect(&'static Method),
    /// By one of the three paths that are not in the contracts.
    Alias(Alias),
}

/// The paths that are not in the contracts: those of the first users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Alias {
    /// `POST /api/auth/signup`
    SignUp,
    /// `POST /api/auth/login`
    LogIn,
    /// `POST /api/{user_id}/chat`
    Chat {
        /// The id in the path, which must be the caller's own.
        user: String,
    },
}

/// Who calls, as far as the edge has verified it; an extension of the request.
#[derive(Debug, Clone)]
pub(crate) struct SignedIn(pub(crate) Caller);

/// A request that a rule fits.
#[derive(Debug, Clone)]
pub(crate) struct Bound {
    /// The rule and its method.
    pub(crate) binding: Binding,
    /// The fields that the path fills, with their text.
    pub(crate) variables: Vec<(&'static str, String)>,
}

/// What a verb and a path mean.
#[derive(Debug)]
pub(crate) enum Meaning {
    /// This call.
    Call(Way),
    /// The path takes other verbs: these.
    OtherVerbs(Vec<&'static str>),
    /// Nothing.
    Nothing,
}

// === impl Bindings ===

impl Bindings {
    /// Those of all methods.
    pub(crate) fn new() -> Self {
        let mut root = Node::default();
        for method in &METHODS {
            for rule in method.http {
                root.add(method, rule);
            }
        }
        Self { root }
    }

    /// What a verb means at a path. HEAD means what GET does.
    pub(crate) fn find(&self, verb: &str, path: &str) -> Meaning {
        if let Some(method) = Method::find(path) {
            return match verb {
                "POST" => Meaning::Call(Way::Connect(method)),
                "GET" if method.no_side_effects => Meaning::Call(Way::Connect(method)),
                _ if method.no_side_effects => Meaning::OtherVerbs(vec!["GET", "POST"]),
                _ => Meaning::OtherVerbs(vec!["POST"]),
            };
        }
        if let Some(alias) = Alias::at(path) {
            return if verb == "POST" { Meaning::Call(Way::Alias(alias)) } else { Meaning::OtherVerbs(vec!["POST"]) };
        }
        self.rule(verb, path)
    }

    fn rule(&self, verb: &str, path: &str) -> Meaning {
        let Some(path) = path.strip_prefix('/') else { return Meaning::Nothing };
        let segments: Vec<_> = path.split('/').collect();
        let mut values = Vec::new();
        let Some(verbs) = self.root.end(&segments, &mut values) else { return Meaning::Nothing };
        let wanted = if verb == "HEAD" { "GET" } else { verb };
        let Some(binding) = verbs.get(wanted) else {
            let mut allowed: Vec<_> = verbs.keys().copied().collect();
            if allowed.contains(&"GET") {
                allowed.push("HEAD");
            }
            return Meaning::OtherVerbs(allowed);
        };
        let values: Option<Vec<_>> =
            values.into_iter().map(|value| Some(percent_decode_str(value).decode_utf8().ok()?.into_owned())).collect();
        let Some(values) = values else { return Meaning::Nothing };
        let variables = binding.variables.iter().copied().zip(values).collect();
        Meaning::Call(Way::Rest(Box::new(Bound { binding: binding.clone(), variables })))
    }
}

impl Way {
    /// The method that is called.
    pub(crate) fn method(&self) -> Option<&'static Method> {
        match self {
            Self::Rest(bound) => Some(bound.binding.method),
            Self::Connect(method) => Some(method),
            Self::Alias(alias) => Method::find(alias.path()),
        }
    }
}

impl Alias {
    fn at(path: &str) -> Option<Self> {
        match path.strip_prefix("/api/")? {
            "auth/signup" => Some(Self::SignUp),
            "auth/login" => Some(Self::LogIn),
            rest => {
                let user = rest.strip_suffix("/chat").filter(|user| !user.is_empty() && !user.contains('/'))?;
                Some(Self::Chat { user: user.to_owned() })
            }
        }
    }

    /// The path of the method that it calls.
    const fn path(&self) -> &'static str {
        match self {
            Self::SignUp => "/errand.auth.v1.AuthService/SignUp",
            Self::LogIn => "/errand.auth.v1.AuthService/LogIn",
            Self::Chat { .. } => "/errand.chat.v1.ChatService/SendMessage",
        }
    }
}

impl Node {
    fn add(&mut self, method: &'static Method, rule: &'static HttpRule) {
        let (path, word) = match rule.path.rsplit_once(':') {
            Some((path, word)) if !word.contains(['/', '}']) => (path, word),
            _ => (rule.path, ""),
        };
        let mut node = self;
        let mut variables = Vec::new();
        for segment in path.trim_start_matches('/').split('/') {
            node = match segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
                Some(variable) => {
                    variables.push(variable);
                    node.variable.get_or_insert_default()
                }
                None => node.literals.entry(segment).or_default(),
            };
        }
        node.ends.entry(word).or_default().insert(rule.verb, Binding { method, rule, variables });
    }

    /// The verbs of a path, and the text of its variables. What is spelled out goes before a variable.
    fn end<'n, 'p>(
        &'n self,
        segments: &[&'p str],
        values: &mut Vec<&'p str>,
    ) -> Option<&'n BTreeMap<&'static str, Binding>> {
        let (segment, rest) = segments.split_first()?;
        if !rest.is_empty() {
            if let Some(verbs) = self.literals.get(*segment).and_then(|node| node.end(rest, values)) {
                return Some(verbs);
            }
            let before = values.len();
            values.push(segment);
            let verbs = self.variable.as_ref().filter(|_| !segment.is_empty()).and_then(|node| node.end(rest, values));
            if verbs.is_none() {
                values.truncate(before);
            }
            return verbs;
        }
        let spellings = [Some((*segment, "")), segment.rsplit_once(':').filter(|(_, word)| !word.is_empty())];
        for (text, word) in spellings.into_iter().flatten() {
            if let Some(verbs) = self.literals.get(text).and_then(|node| node.ends.get(word)) {
                return Some(verbs);
            }
        }
        for (text, word) in spellings.into_iter().rev().flatten().filter(|(text, _)| !text.is_empty()) {
            if let Some(verbs) = self.variable.as_ref().and_then(|node| node.ends.get(word)) {
                values.push(text);
                return Some(verbs);
            }
        }
        None
    }
}

impl fmt::Debug for Bindings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bindings").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(verb: &str, path: &str) -> String {
        match Bindings::new().find(verb, path) {
            Meaning::Call(Way::Connect(method)) => format!("Connect {}", method.name),
            Meaning::Call(Way::Alias(alias)) => format!("{alias:?}"),
            Meaning::Call(Way::Rest(bound)) => {
                let variables: Vec<_> = bound.variables.iter().map(|(name, text)| format!(" {name}={text}")).collect();
                format!("{}{}", bound.binding.method.name, variables.concat())
            }
            Meaning::OtherVerbs(verbs) => verbs.join(" "),
            Meaning::Nothing => "nothing".to_owned(),
        }
    }

    #[test]
    fn every_rule_is_found_by_its_own_path() {
        let bindings = Bindings::new();
        for method in &METHODS {
            for rule in method.http {
                let path = rule.path.replace(['{', '}'], "");
                let Meaning::Call(Way::Rest(bound)) = bindings.find(rule.verb, &path) else {
                    panic!("{path} is not found")
                };
                assert_eq!(bound.binding.method.path, method.path, "{path}");
            }
        }
    }

    #[test]
    fn a_path_means_one_method_and_fills_its_variables() {
        assert_eq!(called("POST", "/v1/tasks"), "CreateTask");
        assert_eq!(called("GET", "/v1/tasks/a%20b"), "GetTask task_id=a b");
        assert_eq!(called("HEAD", "/v1/tasks/a"), "GetTask task_id=a");
        assert_eq!(called("PATCH", "/v1/tasks/a"), "UpdateTask task.id=a");
        assert_eq!(called("POST", "/v1/tasks/a:complete"), "CompleteTask task_id=a");
        assert_eq!(called("POST", "/v1/tasks:batchCreate"), "BatchCreateTasks");
        assert_eq!(called("GET", "/v1/conversations/a/messages"), "ListMessages conversation_id=a");
    }

    #[test]
    fn r_058_another_spelling_is_another_path() {
        for path in [
            "",
            "/",
            "v1/tasks",
            "/V1/tasks",
            "/v1/tasks/",
            "//v1/tasks",
            "/v1//tasks",
            "/v1/tasks/a/b",
            "/v1/tasks/%FF",
        ] {
            assert_eq!(called("GET", path), "nothing", "{path}");
        }
    }

    #[test]
    fn the_paths_of_connect_and_the_aliases_mean_methods_of_the_contracts() {
        assert_eq!(called("GET", "/errand.task.v1.TaskService/GetTask"), "Connect GetTask");
        assert_eq!(called("POST", "/errand.task.v1.TaskService/CreateTask"), "Connect CreateTask");
        assert_eq!(called("GET", "/errand.task.v1.TaskService/CreateTask"), "POST");
        assert_eq!(called("POST", "/api/auth/signup"), "SignUp");
        assert_eq!(called("GET", "/api/auth/login"), "POST");
        assert_eq!(called("POST", "/api/7/chat"), "Chat { user: \"7\" }");
        assert_eq!(called("POST", "/api/7/8/chat"), "nothing");
        for alias in [Alias::SignUp, Alias::LogIn, Alias::Chat { user: String::new() }] {
            assert!(Way::Alias(alias).method().is_some());
        }
    }

    #[test]
    fn another_verb_is_told_which_ones_there_are() {
        assert_eq!(called("PUT", "/v1/tasks"), "GET POST HEAD");
        assert_eq!(called("GET", "/v1/tasks:batchCreate"), "POST");
        assert_eq!(called("GET", "/v1/tasks/a:complete"), "POST");
        assert_eq!(called("POST", "/v1/tasks/a:unknown"), "DELETE GET PATCH HEAD", "an id may hold a colon");
    }
}
