//! `[tls]` and `[peers]`: what the port shows to who calls, and how the other roles are called.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use errand_chassis::{
    target::Targets,
    tls::{ClientTls, ServerTls, TlsError},
};

use super::{setting, source::Sources};
use crate::roles::Role;

/// TLS on the port itself.
#[derive(Debug)]
pub(crate) struct Tls {
    /// `ERRAND_TLS_CERT` and `ERRAND_TLS_KEY`: the chain and its key, PEM. Read again when they are replaced.
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
    /// `ERRAND_TLS_CLIENT_CA`: who calls must show a certificate of these.
    client_ca: Option<PathBuf>,
}

/// The other roles, when they run apart.
#[derive(Debug)]
pub(crate) struct Peers {
    /// `ERRAND_AUTH_TARGET`, default 127.0.0.1:50051, and so on.
    targets: [(Role, Targets); 3],
    /// `ERRAND_PEER_TLS_CA`: whose certificates peers show. Without it they are called without TLS.
    ca: Option<PathBuf>,
    /// `ERRAND_PEER_TLS_CERT` and `ERRAND_PEER_TLS_KEY`: what is shown to peers.
    pub(super) identity: Option<(PathBuf, PathBuf)>,
}

impl Tls {
    pub(super) fn read(sources: &mut Sources) -> Self {
        let cert = sources.optional(setting("tls", "cert", "ERRAND_TLS_CERT"));
        let key = sources.optional(setting("tls", "key", "ERRAND_TLS_KEY"));
        let client_ca = sources.optional(setting("tls", "client_ca", "ERRAND_TLS_CLIENT_CA"));
        let identity = pair(sources, cert, key, ("ERRAND_TLS_CERT", "ERRAND_TLS_KEY"));
        if client_ca.is_some() && identity.is_none() {
            sources.fault("ERRAND_TLS_CLIENT_CA: needs ERRAND_TLS_CERT and ERRAND_TLS_KEY, too".to_owned());
        }
        Self { identity, client_ca }
    }

    /// What the listener shows; nothing without TLS.
    pub(crate) fn server(&self) -> Result<Option<ServerTls>, TlsError> {
        let identity = self.identity.as_ref();
        identity.map(|(cert, key)| ServerTls::new(cert, key, self.client_ca.clone())).transpose()
    }
}

impl Peers {
    pub(super) fn read(sources: &mut Sources) -> Self {
        let mut target = |role: Role, key, variable| {
            let default = Targets::from(SocketAddr::from((Ipv4Addr::LOCALHOST, role.port())));
            (role, sources.value(setting("peers", key, variable), default))
        };
        let targets = [
            target(Role::Auth, "auth_target", "ERRAND_AUTH_TARGET"),
            target(Role::Task, "task_target", "ERRAND_TASK_TARGET"),
            target(Role::Chat, "chat_target", "ERRAND_CHAT_TARGET"),
        ];
        let ca = sources.optional(setting("peers", "tls_ca", "ERRAND_PEER_TLS_CA"));
        let cert = sources.optional(setting("peers", "tls_cert", "ERRAND_PEER_TLS_CERT"));
        let key = sources.optional(setting("peers", "tls_key", "ERRAND_PEER_TLS_KEY"));
        let identity = pair(sources, cert, key, ("ERRAND_PEER_TLS_CERT", "ERRAND_PEER_TLS_KEY"));
        if identity.is_some() && ca.is_none() {
            sources.fault("ERRAND_PEER_TLS_CERT: is shown only where ERRAND_PEER_TLS_CA says whom to trust".to_owned());
        }
        Self { targets, ca, identity }
    }

    /// Where a service is.
    pub(crate) fn target(&self, service: Role) -> Option<&Targets> {
        self.targets.iter().find(|(role, _)| *role == service).map(|(_, targets)| targets)
    }

    /// How peers are called; nothing without TLS.
    pub(crate) fn client(&self) -> Result<Option<ClientTls>, TlsError> {
        self.ca.as_ref().map(|ca| ClientTls::new(ca, self.identity.clone())).transpose()
    }
}

/// A certificate and its key, which are of use together only.
fn pair(
    sources: &mut Sources,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    (of_cert, of_key): (&str, &str),
) -> Option<(PathBuf, PathBuf)> {
    match (cert, key) {
        (Some(cert), Some(key)) => Some((cert, key)),
        (None, None) => None,
        (Some(_), None) => {
            sources.fault(format!("{of_cert}: needs {of_key}, too"));
            None
        }
        (None, Some(_)) => {
            sources.fault(format!("{of_key}: needs {of_cert}, too"));
            None
        }
    }
}
