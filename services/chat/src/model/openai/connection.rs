//! HTTP to the one place that is configured, and to no other.
//!
//! What a general client does unasked is not here at all: no redirect is followed, no proxy of the environment is
//! used, nothing is kept between calls but open connections. So the key can go nowhere but where the configuration
//! says, whatever a server answers.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT},
    uri::{Scheme, Uri},
};
use http_body_util::Full;
use hyper::{
    body::Incoming,
    client::conn::http1::{SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use secrecy::{ExposeSecret, SecretString};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::place;

/// How many connections are kept open at most.
const KEPT: usize = 64;

/// Why an address can not be that of a model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unusable(String);

/// Where the model is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    is_tls: bool,
    host: String,
    port: u16,
    /// As it stands in the `Host` header.
    authority: String,
    /// What every path begins with, such as `/v1`.
    prefix: String,
}

/// Why there is no answer yet; nothing of one was read.
#[derive(Debug)]
pub(super) enum Broken {
    /// There is no connection.
    Connect(String),
    /// There was one, and it ended.
    Ended(String),
    /// No connection in time.
    TimedOut,
}

/// Makes requests.
pub(super) struct Client {
    endpoint: Endpoint,
    key: Option<HeaderValue>,
    tls: Option<TlsConnector>,
    patience: Duration,
    open: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

// === impl Endpoint ===

impl Endpoint {
    /// Reads an address such as `https://api.openai.com/v1`.
    ///
    /// # Errors
    /// When it is none, or holds what an address may not: a key, a query.
    pub fn parse(text: &str) -> Result<Self, Unusable> {
        let wrong = |why: &str| Unusable(format!("must be an address such as http://127.0.0.1:11434/v1: {why}"));
        let uri: Uri = text.parse().map_err(|_| wrong("it is none"))?;
        let is_tls = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            _ => return Err(wrong("it begins with http:// or https://")),
        };
        let authority = uri.authority().ok_or_else(|| wrong("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("a key is set by itself"));
        }
        if uri.query().is_some() || text.contains('#') {
            return Err(wrong("nothing follows the path"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if !place::can_be_called(&host) {
            return Err(wrong("no model can be there"));
        }
        Ok(Self {
            is_tls,
            host,
            port: authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 }),
            authority: authority.to_string(),
            prefix: uri.path().trim_end_matches('/').to_owned(),
        })
    }

    /// The host, for traces.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, for traces.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

// === impl Client ===

impl Client {
    /// A client for one place. `authorities` are the certificates, in PEM, of who may vouch for it, beside those
    /// that browsers trust.
    pub(super) fn new(
        endpoint: Endpoint,
        key: Option<&SecretString>,
        authorities: Option<&[u8]>,
        patience: Duration,
    ) -> Result<Self, Unusable> {
        let key = key.map(|key| HeaderValue::from_str(&format!("Bearer {}", key.expose_secret())));
        let mut key = key.transpose().map_err(|_| Unusable("the key has characters that no key has".to_owned()))?;
        if let Some(key) = &mut key {
            key.set_sensitive(true);
        }
        let tls = endpoint.is_tls.then(|| connector(authorities)).transpose()?;
        Ok(Self { endpoint, key, tls, patience, open: Mutex::default() })
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(super) async fn post(&self, path: &str, body: Bytes) -> Result<Response<Incoming>, Broken> {
        // A connection that was kept may have ended meanwhile, which says nothing about the server.
        if let Some(mut kept) = self.kept()
            && let Ok(response) = kept.send_request(self.request(Method::POST, path, body.clone())).await
        {
            self.keep(kept);
            return Ok(response);
        }
        self.fresh(self.request(Method::POST, path, body)).await
    }

    pub(super) async fn get(&self, path: &str) -> Result<Response<Incoming>, Broken> {
        self.fresh(self.request(Method::GET, path, Bytes::new())).await
    }

    fn request(&self, method: Method, path: &str, body: Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        // The prefix was part of an address, and paths are ours.
        *request.uri_mut() = format!("{}{path}", self.endpoint.prefix).parse().unwrap_or_default();
        let headers = request.headers_mut();
        if let Ok(host) = HeaderValue::from_str(&self.endpoint.authority) {
            headers.insert(HOST, host);
        }
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("errand/", env!("CARGO_PKG_VERSION"))));
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream, application/json"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(key) = &self.key {
            headers.insert(AUTHORIZATION, key.clone());
        }
        request
    }

    async fn fresh(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Broken> {
        let mut sender = timeout(self.patience, self.connect()).await.map_err(|_| Broken::TimedOut)??;
        let response = sender.send_request(request).await.map_err(|error| Broken::Ended(causes(&error)))?;
        self.keep(sender);
        Ok(response)
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Broken> {
        let failed = |error: &dyn std::error::Error| Broken::Connect(causes(error));
        let Endpoint { host, port, .. } = &self.endpoint;
        // A name may lead to another place today than when it was configured.
        let places = lookup_host((host.as_str(), *port)).await.map_err(|error| failed(&error))?;
        let places: Vec<_> = places.filter(|place| place::can_be_at(place.ip())).collect();
        if places.is_empty() {
            return Err(Broken::Connect(format!("{host} leads to where no model can be")));
        }
        let stream = TcpStream::connect(places.as_slice()).await.map_err(|error| failed(&error))?;
        _ = stream.set_nodelay(true);
        match &self.tls {
            None => shake(stream).await,
            Some(tls) => {
                let name = ServerName::try_from(host.clone()).map_err(|error| failed(&error))?;
                shake(tls.connect(name, stream).await.map_err(|error| failed(&error))?).await
            }
        }
    }

    /// A connection that has nothing to do.
    fn kept(&self) -> Option<SendRequest<Full<Bytes>>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|sender| !sender.is_closed());
        let at = open.iter().position(SendRequest::is_ready)?;
        Some(open.swap_remove(at))
    }

    /// Keeps a connection for later; it is ready again once its answer was read.
    fn keep(&self, sender: SendRequest<Full<Bytes>>) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() < KEPT {
            open.push(sender);
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

async fn shake<T>(stream: T) -> Result<SendRequest<Full<Bytes>>, Broken>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) =
        handshake(TokioIo::new(stream)).await.map_err(|error| Broken::Connect(causes(&error)))?;
    // It ends with the connection, which ends when nobody holds the sender or reads the answer.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = %causes(&error), "a connection to the model ended");
        }
    });
    Ok(sender)
}

fn connector(authorities: Option<&[u8]>) -> Result<TlsConnector, Unusable> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(pem) = authorities {
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let found = found.map_err(|error| Unusable(format!("the certificates can not be read: {error}")))?;
        if roots.add_parsable_certificates(found).0 == 0 {
            return Err(Unusable("there is no certificate in PEM".to_owned()));
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Unusable(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_host_a_port_and_a_path_that_requests_begin_with() {
        let endpoint = Endpoint::parse("https://api.openai.com/v1/").unwrap();
        assert_eq!((endpoint.is_tls, endpoint.host(), endpoint.port()), (true, "api.openai.com", 443));
        assert_eq!(endpoint.prefix, "/v1");
        let endpoint = Endpoint::parse("http://[::1]:11434").unwrap();
        assert_eq!((endpoint.host(), endpoint.port(), endpoint.prefix.as_str()), ("::1", 11434, ""));
    }

    #[test]
    fn r_124_what_is_no_plain_address_is_refused() {
        for wrong in
            ["", "api.openai.com", "ftp://host/v1", "http://key@host/v1", "http://host/v1?key=x", "http://host/v1#x"]
        {
            assert!(Endpoint::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_client_does_not_print_its_key() {
        let endpoint = Endpoint::parse("http://host/v1").unwrap();
        let key = SecretString::from("sk-secret");
        let client = Client::new(endpoint, Some(&key), None, Duration::from_secs(1)).unwrap();
        let request = client.request(Method::POST, "/chat/completions", Bytes::new());
        assert_eq!(request.uri(), "/v1/chat/completions");
        assert_eq!(request.headers()[AUTHORIZATION], "Bearer sk-secret");
        assert!(!format!("{client:?} {request:?}").contains("sk-secret"));
    }
}
