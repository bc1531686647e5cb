//! `errand doctor`: looks whether what the services stand on is as it should be.
//!
//! Everything is looked at as a service would see it, with its own role: rights, row level security and
//! its exemptions, migrations, clocks, signing keys, and peers whose targets were set. Nothing is changed.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use errand_auth::keys::State;
use errand_chassis::{
    clock::{Clock, SystemClock},
    target::Targets,
    upstream,
};
use errand_storage::{
    Place,
    inspect::{Finding, Verdict, inspect, inspect_file},
};
use tonic::Request;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use super::remote::block_on;
use crate::{
    cli::{Failure, Kind},
    compose,
    config::{Config, source::Origin},
    console,
    data::Folder,
    ground,
    roles::Role,
};

/// How long a peer may take to say whether it serves.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs `errand doctor`: exit code 0, 75 when something is not ready, 78 when somebody has to change something.
pub(crate) fn run(config: &Config) -> Result<(), Failure> {
    let findings = block_on(async {
        let mut findings = databases(config).await;
        findings.push(keys(config).await);
        findings.extend(peers(config).await?);
        Ok(findings)
    })?;
    for line in table(&findings) {
        console::say(line);
    }
    judge(&findings)
}

async fn databases(config: &Config) -> Vec<Finding> {
    let schemas: Vec<_> = Role::SERVICES.iter().filter_map(|service| Some((*service, service.schema()?))).collect();
    let names: Vec<&str> = schemas.iter().map(|(_, schema)| schema.name).collect();
    let mut findings = Vec::new();
    for (service, schema) in schemas {
        findings.extend(match ground::place(config, service) {
            Place::Server(settings) => inspect(&settings, schema, &names, || SystemClock.now()).await,
            Place::File(path) => inspect_file(&path, schema),
        });
    }
    findings
}

/// Whether there is a key that signs, and the secret opens it.
async fn keys(config: &Config) -> Finding {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let verdict = match Folder::new(&config.data).secret() {
        Err(failure) => by_kind(failure.kind, failure.message),
        Ok(secret) => match errand_auth::list_keys(ground::place(config, Role::Auth), &secret, clock).await {
            Ok(keys) if keys.is_empty() => Verdict::Good("none yet: auth makes the first when it starts".to_owned()),
            Ok(keys) => match keys.iter().find(|key| key.state == State::Signing) {
                Some(key) => Verdict::Good(format!("{} signs, of {}", key.kid, keys.len())),
                None => Verdict::NotReady("none signs at the moment".to_owned()),
            },
            Err(errand_auth::Error::Storage(error)) => by_kind(ground::kind(&error), error.to_string()),
            Err(error) => Verdict::Wrong(error.to_string()),
        },
    };
    Finding { subject: "auth".to_owned(), check: "signing keys", verdict }
}

fn by_kind(kind: Kind, message: String) -> Verdict {
    if kind == Kind::NotReady { Verdict::NotReady(message) } else { Verdict::Wrong(message) }
}

/// Asks the peers whose targets somebody set, each target by itself.
async fn peers(config: &Config) -> Result<Vec<Finding>, Failure> {
    let tls = config.peers.client().map_err(|error| compose::misconfigured(&error))?;
    let mut findings = Vec::new();
    for service in Role::SERVICES {
        let key = format!("{service}_target");
        let set = |key: &str| {
            let mut effective = config.effective.iter();
            effective.any(|setting| setting.key == ("peers", key) && !matches!(setting.origin, Origin::Default))
        };
        let Some(targets) = config.peers.target(service).filter(|_| set(&key)) else { continue };
        for target in targets.iter() {
            let subject = format!("{service} at {target}");
            let verdict = match target.to_string().parse::<Targets>() {
                Ok(one) => answers(upstream::remote(one, tls.clone(), upstream::Settings::default())).await,
                Err(fault) => Verdict::Wrong(fault),
            };
            findings.push(Finding { subject, check: "peer", verdict });
        }
    }
    Ok(findings)
}

async fn answers(peer: upstream::Upstream) -> Verdict {
    let mut request = Request::new(HealthCheckRequest::default());
    request.set_timeout(PATIENCE);
    match HealthClient::new(peer).check(request).await.map(|answer| answer.into_inner().status()) {
        Ok(ServingStatus::Serving) => Verdict::Good("serves".to_owned()),
        Ok(other) => Verdict::NotReady(format!("says {}", other.as_str_name())),
        Err(status) => Verdict::NotReady(status.message().to_owned()),
    }
}

fn table(findings: &[Finding]) -> Vec<String> {
    let width = |text: fn(&Finding) -> &str| findings.iter().map(|finding| text(finding).chars().count()).max();
    let subjects = width(|finding| &finding.subject).unwrap_or(0);
    let checks = width(|finding| finding.check).unwrap_or(0);
    let line = |finding: &Finding| {
        let (mark, words) = match &finding.verdict {
            Verdict::Good(words) => ("ok       ", words),
            Verdict::NotReady(words) => ("not ready", words),
            Verdict::Wrong(words) => ("WRONG    ", words),
        };
        format!("{mark}  {:subjects$}  {:checks$}  {words}", finding.subject, finding.check)
    };
    findings.iter().map(line).collect()
}

fn judge(findings: &[Finding]) -> Result<(), Failure> {
    let subjects = |bad: fn(&Verdict) -> bool| {
        let subjects = findings.iter().filter(|finding| bad(&finding.verdict)).map(|finding| finding.subject.as_str());
        subjects.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(", ")
    };
    let wrong = subjects(|verdict| matches!(verdict, Verdict::Wrong(_)));
    let waiting = subjects(|verdict| matches!(verdict, Verdict::NotReady(_)));
    match (wrong.is_empty(), waiting.is_empty()) {
        (false, _) => Err(Failure::new(Kind::Configuration, format!("something is wrong with {wrong}"))),
        (true, false) => Err(Failure::new(Kind::NotReady, format!("not ready: {waiting}"))),
        (true, true) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(subject: &str, verdict: Verdict) -> Finding {
        Finding { subject: subject.to_owned(), check: "row level security", verdict }
    }

    #[test]
    fn what_is_wrong_outweighs_what_is_not_ready_and_is_named() {
        let good = finding("task.labels", Verdict::Good("forced".to_owned()));
        let waiting = finding("chat", Verdict::NotReady("away".to_owned()));
        let wrong = finding("task.tasks", Verdict::Wrong("switched off".to_owned()));
        assert_eq!(judge(std::slice::from_ref(&good)), Ok(()));
        let failure = judge(&[good.clone(), waiting.clone()]).unwrap_err();
        assert_eq!((failure.kind, failure.message.as_str()), (Kind::NotReady, "not ready: chat"));
        let failure = judge(&[wrong.clone(), waiting, good.clone()]).unwrap_err();
        assert_eq!(failure.kind, Kind::Configuration);
        assert_eq!(failure.message, "something is wrong with task.tasks");
        assert_eq!(
            table(&[good, wrong]),
            [
                "ok         task.labels  row level security  forced",
                "WRONG      task.tasks   row level security  switched off"
            ]
        );
    }
}
