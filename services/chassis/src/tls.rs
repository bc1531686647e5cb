//! TLS at both ends of a connection, with files that may be replaced while the process runs.
//!
//! Files are looked at again when a connection is made, at most once a second. New ones that can
//! not be read, or do not fit together, are told to the log, and the old ones stay.

mod pinned;

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tokio::time::Instant;

use pinned::Pinned;

/// How often files are looked at, at most.
const PAUSE: Duration = Duration::from_secs(1);

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can not be read.
    #[error("{path} can not be read")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file has nothing of what it should have, in PEM.
    #[error("{path} has no {what} in PEM")]
    Empty {
        /// The file.
        path: PathBuf,
        /// What it should have.
        what: &'static str,
    },
    /// What was read does not fit together.
    #[error("certificates and key do not fit together")]
    Unfit(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What a listener shows, and whom it lets in.
#[derive(Clone)]
pub struct ServerTls(Arc<Reloaded<ServerFiles>>);

/// Whom a caller believes, and what it shows.
#[derive(Clone)]
pub struct ClientTls(Arc<Reloaded<ClientFiles>>);

/// Something that is made of files.
trait Files: Send + Sync {
    type Made;

    fn paths(&self) -> Vec<&Path>;
    fn make(&self) -> Result<Self::Made, TlsError>;
}

struct ServerFiles {
    cert: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
}

struct ClientFiles {
    trust: Trust,
    identity: Option<(PathBuf, PathBuf)>,
}

/// Whose certificates are believed.
enum Trust {
    /// Those that these authorities have signed.
    Authorities(PathBuf),
    /// This one and no other.
    Only(PathBuf),
}

struct Reloaded<F: Files> {
    files: F,
    state: Mutex<State<F::Made>>,
}

struct State<T> {
    made: Arc<T>,
    stamps: Vec<Option<(SystemTime, u64)>>,
    looked: Instant,
}

// === impl ServerTls ===

impl ServerTls {
    /// TLS with this certificate chain and key; with `client_ca`, only for callers with a certificate
    /// that one of those authorities has signed.
    ///
    /// # Errors
    /// When a file can not be read, or they do not fit together.
    pub fn new(
        cert: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
        client_ca: Option<PathBuf>,
    ) -> Result<Self, TlsError> {
        let files = ServerFiles { cert: cert.into(), key: key.into(), client_ca };
        Ok(Self(Arc::new(Reloaded::new(files)?)))
    }

    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        self.0.now()
    }

    /// Whether callers must show a certificate.
    pub(crate) fn is_mutual(&self) -> bool {
        self.0.files.client_ca.is_some()
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ServerTls").field(&self.0.files.cert).finish()
    }
}

impl Files for ServerFiles {
    type Made = ServerConfig;

    fn paths(&self) -> Vec<&Path> {
        [&self.cert, &self.key].into_iter().chain(&self.client_ca).map(PathBuf::as_path).collect()
    }

    fn make(&self) -> Result<ServerConfig, TlsError> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::Unfit(error.into()))?;
        let builder = match &self.client_ca {
            Some(ca) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(ca)?), provider()).build();
                builder.with_client_cert_verifier(verifier.map_err(|error| TlsError::Unfit(error.into()))?)
            }
            None => builder.with_no_client_auth(),
        };
        let made = builder.with_single_cert(certificates(&self.cert)?, private_key(&self.key)?);
        let mut config = made.map_err(|error| TlsError::Unfit(error.into()))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

// === impl ClientTls ===

impl ClientTls {
    /// TLS towards peers whose certificate one of the authorities in `ca` has signed; with `identity`,
    /// a certificate chain and its key, the caller shows who it is.
    ///
    /// # Errors
    /// When a file can not be read, or they do not fit together.
    pub fn new(ca: impl Into<PathBuf>, identity: Option<(PathBuf, PathBuf)>) -> Result<Self, TlsError> {
        Ok(Self(Arc::new(Reloaded::new(ClientFiles { trust: Trust::Authorities(ca.into()), identity })?)))
    }

    /// TLS towards who shows the first certificate in `cert` and no other, by whatever name it is called:
    /// for a process that asks after itself.
    ///
    /// # Errors
    /// As [`ClientTls::new`].
    pub fn only(cert: impl Into<PathBuf>, identity: Option<(PathBuf, PathBuf)>) -> Result<Self, TlsError> {
        Ok(Self(Arc::new(Reloaded::new(ClientFiles { trust: Trust::Only(cert.into()), identity })?)))
    }

    /// The configuration as the files are now, for clients with connections of their own.
    #[must_use]
    pub fn config(&self) -> Arc<ClientConfig> {
        self.0.now()
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClientTls").field(&self.0.files.trust.path()).finish()
    }
}

impl Trust {
    fn path(&self) -> &PathBuf {
        match self {
            Self::Authorities(path) | Self::Only(path) => path,
        }
    }
}

impl Files for ClientFiles {
    type Made = ClientConfig;

    fn paths(&self) -> Vec<&Path> {
        let identity = self.identity.iter().flat_map(|(cert, key)| [cert, key]);
        std::iter::once(self.trust.path()).chain(identity).map(PathBuf::as_path).collect()
    }

    fn make(&self) -> Result<ClientConfig, TlsError> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::Unfit(error.into()))?;
        let builder = match &self.trust {
            Trust::Authorities(ca) => builder.with_root_certificates(roots(ca)?),
            Trust::Only(cert) => {
                let certificate = certificates(cert)?.swap_remove(0);
                let pinned = Pinned::new(certificate, provider().signature_verification_algorithms);
                builder.dangerous().with_custom_certificate_verifier(Arc::new(pinned))
            }
        };
        let mut config = match &self.identity {
            Some((cert, key)) => builder
                .with_client_auth_cert(certificates(cert)?, private_key(key)?)
                .map_err(|error| TlsError::Unfit(error.into()))?,
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }
}

// === impl Reloaded ===

impl<F: Files> Reloaded<F> {
    fn new(files: F) -> Result<Self, TlsError> {
        // Stamps first: a file that is replaced meanwhile is then read once more.
        let stamps = stamps(&files);
        let made = Arc::new(files.make()?);
        Ok(Self { files, state: Mutex::new(State { made, stamps, looked: Instant::now() }) })
    }

    fn now(&self) -> Arc<F::Made> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.looked.elapsed() >= PAUSE {
            state.looked = Instant::now();
            let stamps = stamps(&self.files);
            if stamps != state.stamps {
                match self.files.make() {
                    Ok(made) => {
                        tracing::info!(files = ?self.files.paths(), "certificates were replaced");
                        state.made = Arc::new(made);
                        state.stamps = stamps;
                    }
                    // Perhaps only one of them is there yet: they are looked at again.
                    Err(error) => tracing::warn!(error = %chain(&error), "certificates can not be replaced"),
                }
            }
        }
        state.made.clone()
    }
}

fn stamps(files: &impl Files) -> Vec<Option<(SystemTime, u64)>> {
    let stamp = |path: &Path| {
        let file = fs::metadata(path).ok()?;
        Some((file.modified().ok()?, file.len()))
    };
    files.paths().into_iter().map(stamp).collect()
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::Unreadable { path: path.to_owned(), source })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let empty = || TlsError::Empty { path: path.to_owned(), what: "certificate" };
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    found.ok().filter(|certificates| !certificates.is_empty()).ok_or_else(empty)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let empty = |_| TlsError::Empty { path: path.to_owned(), what: "private key" };
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(empty)
}

fn roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| TlsError::Unfit(error.into()))?;
    }
    Ok(roots)
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
