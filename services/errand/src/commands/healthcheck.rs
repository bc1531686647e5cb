//! `errand healthcheck`: asks a running server over a real connection, for probes and scripts.

use std::time::Duration;

use errand_chassis::upstream::Upstream;
use tonic::Request;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use super::remote;
use crate::{
    cli::{Failure, Kind, Target},
    config::Config,
    console,
};

/// Exit code 0 when the whole suite serves, 75 when it does not or nobody answers.
pub(crate) fn run(config: &Config, target: &Target) -> Result<(), Failure> {
    let url = remote::url(config, target)?;
    remote::block_on(async {
        let channel = remote::connect(config, &url).await?;
        check(channel, &url).await
    })
}

async fn check(channel: Upstream, url: &str) -> Result<(), Failure> {
    let mut request = Request::new(HealthCheckRequest::default());
    request.set_timeout(Duration::from_secs(5));
    let answer = HealthClient::new(channel).check(request).await;
    let not_ready = |why: &str| Failure::new(Kind::NotReady, format!("{url} does not serve: {why}"));
    match answer.map_err(|status| not_ready(status.message()))?.into_inner().status() {
        ServingStatus::Serving => {
            console::say(format_args!("{url} serves"));
            Ok(())
        }
        other => Err(not_ready(other.as_str_name())),
    }
}
