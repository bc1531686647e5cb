//! Nobody asks for more than the share that the edge gives to a user and to a network address.
//!
//! Twice the same step: for the address before the token is looked at, so that a flood of bad tokens costs little,
//! and for the user after it. A call counts when it arrives, whatever becomes of it; a stream when it is opened.
//! What is of no rate class, health among it, is not counted.

use std::{net::IpAddr, sync::Arc, time::Duration};

use errand_chassis::{
    Error,
    address::{self, ClientAddress},
    clock::Clock,
    protocol,
};
use errand_proto::contract::RateClass;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use tonic::{Code, body::Body};

use super::Step;
use crate::{
    bindings::SignedIn,
    rates::{
        self, Quota, Quotas,
        buckets::{Buckets, Standing},
    },
    refusal,
};

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// Whom a limit is for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Whom {
    /// The network address that calls come from.
    Address,
    /// The user who calls.
    User,
}

/// Refuses calls that are too many.
pub(crate) struct Rate {
    whom: Whom,
    classes: Vec<(RateClass, Quota, Buckets)>,
    clock: Arc<dyn Clock>,
}

impl Rate {
    pub(crate) fn new(whom: Whom, quotas: Quotas, replicas: u32, clock: Arc<dyn Clock>) -> Self {
        let classes = quotas.iter().map(|(class, quota)| (class, quota, Buckets::new(quota, replicas))).collect();
        Self { whom, classes, clock }
    }

    /// Counts a call; nothing for one that has no limit here.
    fn count(&self, request: &Request<Body>) -> Option<(Standing, Option<Error>)> {
        if self.classes.is_empty() {
            return None;
        }
        let class = super::method(request)?.rate;
        let (_, quota, buckets) = self.classes.iter().find(|(of, ..)| *of == class)?;
        let now = self.clock.passed();
        match self.whom {
            Whom::User => {
                let SignedIn(caller) = request.extensions().get()?;
                let standing = buckets.take(caller.user, now);
                let refuse = |wait| self.refused(class, *quota, wait, format!("user:{}", caller.user));
                Some((standing, standing.refused.map(refuse)))
            }
            Whom::Address => {
                let ClientAddress(client) = request.extensions().get()?;
                let standing = buckets.take(network(*client)?, now);
                let refuse = |wait| self.refused(class, *quota, wait, format!("clientip:{client}"));
                Some((standing, standing.refused.map(refuse)))
            }
        }
    }

    fn refused(&self, class: RateClass, quota: Quota, wait: Duration, subject: String) -> Error {
        let (class, whom) = match self.whom {
            Whom::Address => (rates::word(class), "address"),
            Whom::User => (rates::word(class), "user"),
        };
        let message = format!("too many calls of the class {class} from this {whom}; the limit is {quota}");
        let description = format!("calls of the class {class} of one {whom}: {quota}");
        Error::new(Code::ResourceExhausted, "RATE_LIMITED", message)
            .with("class", class)
            .with("limit", quota)
            .with("per", whom)
            .retry_after(wait)
            .quota(subject, description)
    }
}

impl Step for Rate {
    type Note = Option<Standing>;

    async fn enter(&self, request: &mut Request<Body>) -> Result<Self::Note, Box<Response<Body>>> {
        match self.count(request) {
            None => Ok(None),
            Some((standing, None)) => Ok(Some(standing)),
            Some((standing, Some(error))) => {
                let mut response = refusal::refuse(request, error);
                tell(&standing, response.headers_mut());
                Err(response)
            }
        }
    }

    fn leave(&self, standing: Self::Note, response: &mut Response<Body>) {
        if let Some(standing) = standing {
            tell(&standing, response.headers_mut());
        }
    }
}

/// Says how much is left. Of two limits the one is told that is nearer.
fn tell(standing: &Standing, headers: &mut HeaderMap) {
    let told = headers.get(REMAINING).and_then(|value| value.to_str().ok()?.parse::<u32>().ok());
    if told.is_some_and(|told| told <= standing.remaining) {
        return;
    }
    headers.insert(LIMIT, HeaderValue::from(standing.limit));
    headers.insert(REMAINING, protocol::once(HeaderValue::from(standing.remaining)));
    headers.insert(RESET, protocol::once(HeaderValue::from(refusal::whole_seconds(standing.whole_in))));
}

/// What a limit is for. This machine has none; who stands in front of us and speaks for others is named as a
/// trusted proxy.
fn network(client: IpAddr) -> Option<IpAddr> {
    (!client.to_canonical().is_loopback()).then(|| address::network(client))
}
