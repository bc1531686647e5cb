//! What can be asked of Errand.
//!
//! The `.proto` files are the only description of it. From one descriptor set come the messages,
//! clients and servers in this crate, the [`contract`] table (who may call what) and the rules of
//! [`validation`]. Nothing here knows a database, a socket or a decision.

pub mod codec;
pub mod contract;
pub mod json;
pub mod query;
pub mod schema;
pub mod status;
pub mod tools;
pub mod validation;

use std::sync::LazyLock;

use prost_reflect::DescriptorPool;

pub use errand::{auth::v1 as auth, chat::v1 as chat, task::v1 as task};

/// The generated modules, nested as the packages are, because generated code refers to itself so.
#[expect(missing_docs, reason = "generated; the contracts carry the comments")]
#[expect(
    clippy::allow_attributes,
    clippy::derive_partial_eq_without_eq,
    clippy::doc_markdown,
    clippy::large_enum_variant,
    reason = "generated"
)]
pub mod errand {
    pub mod auth {
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/errand.auth.v1.rs"));
        }
    }
    pub mod chat {
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/errand.chat.v1.rs"));
        }
    }
    pub mod options {
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/errand.options.v1.rs"));
        }
    }
    pub mod task {
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/errand.task.v1.rs"));
        }
    }
}

/// Google's error model, which every error of ours is sent in.
pub mod google {
    /// `google.rpc`.
    #[expect(missing_docs, reason = "generated; Google's contracts carry the comments")]
    pub mod rpc {
        include!(concat!(env!("OUT_DIR"), "/google.rpc.rs"));
    }
}

/// The descriptor set of every contract, with options and comments, as reflection serves it.
pub static DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The same, decoded once, with extension options kept.
pub static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| DescriptorPool::decode(DESCRIPTORS).unwrap_or_default());
