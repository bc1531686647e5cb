//! The services that are in this process, each opened with what it needs.

use std::sync::Arc;

use errand_chassis::upstream::Upstream;
use errand_chat::model::{Model, fallback::Fallback as Either, openai::OpenAi, planner::Planner};
use errand_storage::Ready;

use super::{Peer, Wiring, failed};
use crate::{
    cli::{Failure, Kind},
    config::llm::Fallback,
    ground::{self, Ground},
    roles::Role,
};

/// Those that are here.
#[derive(Default)]
pub(super) struct Services {
    pub(super) auth: Option<errand_auth::Role>,
    pub(super) task: Option<errand_task::Role>,
    pub(super) chat: Option<errand_chat::Role>,
}

impl Services {
    /// What follows whether their databases take writes.
    pub(super) fn ready(&self) -> Vec<(Role, Ready)> {
        let auth = self.auth.as_ref().map(|auth| (Role::Auth, auth.ready()));
        let task = self.task.as_ref().map(|task| (Role::Task, task.ready()));
        let chat = self.chat.as_ref().map(|chat| (Role::Chat, chat.ready()));
        [auth, task, chat].into_iter().flatten().collect()
    }

    /// Ends them, callers before those they call.
    pub(super) async fn close(&self) {
        if let Some(auth) = &self.auth {
            auth.close().await;
        }
        if let Some(chat) = &self.chat {
            chat.close().await;
        }
        if let Some(task) = &self.task {
            task.close().await;
        }
    }
}

impl Wiring<'_> {
    pub(super) async fn task(&self, ground: &Ground) -> Result<errand_task::Role, Failure> {
        let (place, secret) = ground.of(Role::Task)?;
        let (clock, drain) = (self.clock.clone(), self.drain.clone());
        let dependencies = errand_task::Dependencies { clock, secret, drain };
        let task = errand_task::open(place, dependencies, errand_task::Config::default()).await;
        let task = task.map_err(|error| {
            let kind = if let errand_task::Error::Store(error) = &error { ground::kind(error) } else { Kind::Failed };
            failed(Role::Task, kind, &error)
        })?;
        tokio::spawn(task.clone().keep_house());
        Ok(task)
    }

    pub(super) async fn chat(&self, ground: &Ground, task: Upstream) -> Result<errand_chat::Role, Failure> {
        let (place, secret) = ground.of(Role::Chat)?;
        let (clock, drain) = (self.clock.clone(), self.drain.clone());
        let model = self.model()?;
        let dependencies = errand_chat::Dependencies { clock, secret, task, model, drain };
        let chat = errand_chat::open(place, dependencies, self.config.chat()).await;
        let chat = chat.map_err(|error| {
            let kind = if let errand_chat::Error::Store(error) = &error { ground::kind(error) } else { Kind::Failed };
            failed(Role::Chat, kind, &error)
        })?;
        tokio::spawn(chat.clone().keep_house());
        Ok(chat)
    }

    /// What the assistant thinks with.
    fn model(&self) -> Result<Arc<dyn Model>, Failure> {
        let llm = &self.config.llm;
        let Some(settings) = &llm.model else { return Ok(Arc::new(Planner)) };
        let model = OpenAi::new(settings.clone()).map_err(|error| failed(Role::Chat, Kind::Configuration, &error))?;
        Ok(match llm.fallback {
            Fallback::None => Arc::new(model),
            Fallback::Planner => Arc::new(Either::new(model, Planner)),
        })
    }

    /// `holders` erase what they hold of an account that is closed.
    pub(super) async fn auth(&self, ground: &Ground, holders: &[Peer]) -> Result<errand_auth::Role, Failure> {
        let (place, secret) = ground.of(Role::Auth)?;
        let erase = holders.iter().map(|peer| (peer.name, peer.call.clone())).collect();
        let (clock, keys) = (self.clock.clone(), self.keys.clone());
        let dependencies = errand_auth::Dependencies { clock, secret, keys, erase };
        let auth = errand_auth::open(place, dependencies, self.config.auth.service()).await;
        auth.map_err(|error| {
            let kind = if let errand_auth::Error::Storage(error) = &error { ground::kind(error) } else { Kind::Failed };
            failed(Role::Auth, kind, &error)
        })
    }
}
