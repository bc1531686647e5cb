//! Who may import whom. What is not listed is forbidden.
//!
//! `lib.rs` and `main.rs` wire their crate and may see all of it. Test files are free.

/// A crate of the workspace and the crates of ours below it.
#[derive(Debug)]
pub(crate) struct Crate {
    /// Its name.
    pub(crate) name: &'static str,
    /// Where it stands.
    pub(crate) folder: &'static str,
    /// Our own crates that it may depend on.
    pub(crate) may: &'static [&'static str],
}

/// A room: modules of a crate that have one job.
#[derive(Debug)]
pub(crate) struct Room {
    /// The crates that have this room.
    pub(crate) crates: &'static [&'static str],
    /// Its path below `src`.
    pub(crate) path: &'static str,
    /// Other rooms of the crate (or one item of a room), and paths in our other crates, that it may see.
    pub(crate) may: &'static [&'static str],
    /// Other people's crates.
    pub(crate) outside: Outside,
}

/// Which crates of other people a room may use.
#[derive(Debug)]
pub(crate) enum Outside {
    /// These and no others.
    Only(&'static [&'static str]),
    /// All but these.
    AllBut(&'static [&'static str]),
}

/// Words in capitals with an underscore that are something else than a reason: variables of the environment, and
/// the names of the codes.
pub(crate) const NO_REASON: &[&str] = &[
    "CARGO_PKG_VERSION",
    "NO_COLOR",
    "OUT_DIR",
    "XDG_DATA_HOME",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "OUT_OF_RANGE",
    "DATA_LOSS",
];

/// The floors: ground (proto, changelog, storage), chassis, services and gateway, binary.
pub(crate) const CRATES: &[Crate] = &[
    Crate { name: "errand-proto", folder: "proto", may: &[] },
    Crate { name: "errand-changelog", folder: "services/changelog", may: &[] },
    Crate { name: "errand-storage", folder: "services/storage", may: &[] },
    // The chassis knows of the change log only who acts: UserId and Actor.
    Crate { name: "errand-chassis", folder: "services/chassis", may: &["errand-proto", "errand-changelog"] },
    // Services never depend on each other: they meet through generated clients.
    Crate { name: "errand-auth", folder: "services/auth", may: SERVICE },
    Crate { name: "errand-task", folder: "services/task", may: SERVICE },
    Crate { name: "errand-chat", folder: "services/chat", may: SERVICE },
    // The edge sees no storage and no service.
    Crate { name: "errand-gateway", folder: "gateway", may: &["errand-proto", "errand-chassis"] },
    Crate { name: "errand", folder: "services/errand", may: EVERYTHING },
];

const SERVICE: &[&str] = &["errand-proto", "errand-changelog", "errand-storage", "errand-chassis"];
const EVERYTHING: &[&str] = &[
    "errand-proto",
    "errand-changelog",
    "errand-storage",
    "errand-chassis",
    "errand-auth",
    "errand-task",
    "errand-chat",
    "errand-gateway",
];

const SERVICES: &[&str] = &["errand-auth", "errand-task", "errand-chat"];
const AUTH: &[&str] = &["errand-auth"];
const CHAT: &[&str] = &["errand-chat"];
const GATEWAY: &[&str] = &["errand-gateway"];

/// Plain data and arithmetic. No runtime, no wire, no database, no clock.
const PLAIN: Outside =
    Outside::Only(&["uuid", "jiff", "thiserror", "serde", "serde_json", "sha2", "unicode_normalization"]);
const NO_WIRE_NO_SQL: Outside =
    Outside::AllBut(&["rusqlite", "sqlx", "tonic", "prost", "prost_types", "prost_reflect", "http", "hyper", "tower"]);
const NO_SQL: Outside = Outside::AllBut(&["rusqlite", "sqlx"]);
const SQLITE: Outside = Outside::AllBut(&["sqlx", "tonic", "prost_reflect", "http", "hyper", "tower"]);
const POSTGRES: Outside = Outside::AllBut(&["rusqlite", "tonic", "prost_reflect", "http", "hyper", "tower"]);

/// The rooms. The longest path that fits a module is its room.
pub(crate) const ROOMS: &[Room] = &[
    // Rules, pure and synchronous: time and ids arrive as arguments.
    Room { crates: SERVICES, path: "domain", may: &["errand_changelog"], outside: PLAIN },
    // The trait: what a service asks of its storage, in words of the domain.
    Room {
        crates: SERVICES,
        path: "store",
        may: &["domain", "errand_changelog", "errand_storage::Error"],
        outside: NO_WIRE_NO_SQL,
    },
    // An engine: the only place with SQL. Engines never see each other.
    Room {
        crates: SERVICES,
        path: "store/sqlite",
        may: &["store", "domain", "errand_changelog", "errand_storage"],
        outside: SQLITE,
    },
    Room {
        crates: SERVICES,
        path: "store/postgres",
        may: &["store", "domain", "errand_changelog", "errand_storage"],
        outside: POSTGRES,
    },
    // Decisions. No wire, no SQL, no engine.
    Room {
        crates: SERVICES,
        path: "app",
        may: &[
            "domain",
            "store",
            "error",
            // auth, which also says what is in a token
            "passwords",
            "keys",
            "peers",
            "errand_chassis::token",
            "errand_chassis::secret",
            // chat
            "runner",
            "task_tools",
            "errand_changelog",
            "errand_chassis::clock",
            "errand_chassis::drain",
            "errand_chassis::page_token",
            "errand_chassis::trace",
        ],
        outside: NO_WIRE_NO_SQL,
    },
    // The one total match from what can go wrong to code, reason and metadata.
    Room {
        crates: SERVICES,
        path: "error",
        may: &[
            "domain",
            "store",
            "passwords",
            "keys",
            "peers",
            "errand_changelog",
            "errand_chassis",
            "errand_proto::validation",
        ],
        outside: NO_SQL,
    },
    // Decodes, calls app, encodes. Only lib.rs sees it.
    Room {
        crates: SERVICES,
        path: "grpc",
        may: &["app", "convert", "error", "domain", "errand_proto", "errand_chassis", "errand_changelog"],
        outside: NO_SQL,
    },
    Room {
        crates: SERVICES,
        path: "convert",
        may: &["app", "error", "domain", "errand_proto", "errand_chassis", "errand_changelog"],
        outside: NO_SQL,
    },
    // auth: passwords are hashed on threads of their own; only keys touches signing keys.
    Room { crates: AUTH, path: "passwords", may: &["domain"], outside: NO_WIRE_NO_SQL },
    Room {
        crates: AUTH,
        path: "keys",
        may: &["store", "domain", "error", "errand_changelog", "errand_chassis"],
        outside: NO_WIRE_NO_SQL,
    },
    // auth: the services that hold data of its users, as the end of an account calls them.
    Room { crates: AUTH, path: "peers", may: &["errand_proto::status", "errand_chassis::upstream"], outside: NO_SQL },
    // chat: a model turns a transcript into text or tool calls and sees nothing else.
    Room { crates: CHAT, path: "model", may: &["domain"], outside: NO_WIRE_NO_SQL },
    // A model behind an endpoint: the only room that calls what is not ours.
    Room {
        crates: CHAT,
        path: "model/openai",
        may: &["model", "domain", "errand_proto::tools", "errand_proto::schema"],
        outside: Outside::AllBut(&["rusqlite", "sqlx", "tonic", "prost", "prost_types", "prost_reflect", "tower"]),
    },
    // A conversation once more with another model. Has no tool to call and no store to write.
    Room { crates: CHAT, path: "replay", may: &["model", "domain"], outside: NO_WIRE_NO_SQL },
    // The built-in model is pure: no runtime, no tools, no store.
    Room {
        crates: CHAT,
        path: "model/planner",
        may: &["model", "domain"],
        outside: Outside::Only(&["jiff", "serde_json", "async_trait", "uuid"]),
    },
    // A tool call, carried out as a call of TaskService with the user's own token.
    Room {
        crates: CHAT,
        path: "task_tools",
        may: &["domain", "error", "errand_proto", "errand_chassis", "errand_changelog"],
        outside: NO_SQL,
    },
    // The only loop: persists an event, then acts on it.
    Room {
        crates: CHAT,
        path: "runner",
        may: &["domain", "model", "task_tools", "store", "error", "errand_changelog", "errand_chassis"],
        outside: NO_WIRE_NO_SQL,
    },
    // The edge. A face never sees a face, a layer never sees a face. The router is the innermost of
    // what the layers wrap, and knows of them only what such a thing looks like.
    Room {
        crates: GATEWAY,
        path: "router",
        may: &["faces", "bindings", "refusal", "layers/Answer", "errand_chassis", "errand_proto"],
        outside: NO_SQL,
    },
    Room {
        crates: GATEWAY,
        path: "faces",
        may: &["bindings", "call", "forward", "refusal", "text", "errand_chassis", "errand_proto"],
        outside: NO_SQL,
    },
    // A body of JSON, read in one way.
    Room { crates: GATEWAY, path: "text", may: &["errand_chassis", "errand_proto"], outside: NO_SQL },
    // What a path means, for the faces and for the layers that must know it before them.
    Room {
        crates: GATEWAY,
        path: "bindings",
        may: &["errand_chassis::access", "errand_proto::contract"],
        outside: NO_SQL,
    },
    // One call by a face that speaks JSON.
    Room {
        crates: GATEWAY,
        path: "call",
        may: &["forward", "errand_chassis", "errand_proto::contract"],
        outside: NO_SQL,
    },
    Room {
        crates: GATEWAY,
        path: "forward",
        may: &["refusal", "errand_chassis", "errand_proto::status", "errand_proto::contract"],
        outside: NO_SQL,
    },
    Room {
        crates: GATEWAY,
        path: "layers",
        may: &["bindings", "rates", "refusal", "errand_chassis", "errand_proto"],
        outside: NO_SQL,
    },
    // How often somebody may call. Knows no request.
    Room { crates: GATEWAY, path: "rates", may: &["errand_proto::contract"], outside: NO_SQL },
    Room { crates: GATEWAY, path: "refusal", may: &["errand_chassis", "errand_proto"], outside: NO_SQL },
];
