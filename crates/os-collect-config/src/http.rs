//! Requests to metadata services: limits of time and size, explicit certificates, safe redirects, names without NSS.
//!
//! A server may hang, trickle, lie about lengths or send its clients elsewhere; each of these ends in an error that
//! names the address. Nothing here knows what an answer means.

use hickory_resolver::TokioResolver;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Method};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use std::collections::HashMap;
use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Metadata of a whole cloud is a few megabytes; an answer without end must not fill the memory.
const MAX_BODY: usize = 64 << 20;
/// A whole body may take so many times the limit for its next byte, however steadily it trickles in.
const PATIENCE: u32 = 12;
/// Nobody moves a service more often than this on the way of one request.
const MAX_REDIRECTS: usize = 5;

/// Where distributions keep the certificates of public authorities.
const SYSTEM_CERTIFICATES: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
];

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The request failed on its way.
    #[error("cannot {method} {url}: {why}")]
    Request {
        /// The method.
        method: Method,
        /// The address, without its query.
        url: String,
        /// All causes, outermost first.
        why: String,
    },
    /// The answer comes too slowly.
    #[error("answer of {url} was not complete after {} s", limit.as_secs_f64())]
    TooSlow {
        /// The address, without its query.
        url: String,
        /// The limit for the whole body.
        limit: Duration,
    },
    /// The answer is too large.
    #[error("answer of {url} is larger than {MAX_BODY} bytes")]
    TooLarge {
        /// The address, without its query.
        url: String,
    },
    /// The server answered with an error.
    #[error("{url} answered {status}")]
    Status {
        /// The address, without its query.
        url: String,
        /// The status.
        status: u16,
    },
    /// Certificates cannot be used.
    #[error("cannot use CA certificates of {source_name}: {why}")]
    Certificates {
        /// Where they come from.
        source_name: String,
        /// Why not.
        why: String,
    },
}

/// An answer with its whole body.
#[derive(Debug)]
pub struct Answer {
    /// Address without query, for messages.
    pub url: String,
    /// Status code.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The answer if its status says that all is well.
    pub fn successful(self) -> Result<Answer, HttpError> {
        if (200..300).contains(&self.status) {
            return Ok(self);
        }
        Err(HttpError::Status {
            url: self.url,
            status: self.status,
        })
    }

    /// How long the server wants to be left alone.
    fn retry_after(&self) -> Option<Duration> {
        let seconds = self.header("retry-after")?.trim().parse();
        seconds.ok().map(Duration::from_secs)
    }

    /// The body as text; bytes that are not UTF-8 are replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// Whom a server's certificate must be signed by.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum Trust {
    /// One of the authorities that the system knows.
    #[default]
    System,
    /// One in this file.
    File(PathBuf),
    /// One in this PEM text.
    Pem(String),
}

/// A request to be sent.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Method.
    pub method: Method,
    /// Address.
    pub url: String,
    /// Headers.
    pub headers: Vec<(&'static str, String)>,
    /// Body.
    pub body: Option<String>,
    /// How long a connection, and then each next byte, may take.
    pub timeout: Duration,
    /// How long the server may take to begin its answer, if that is longer.
    pub hold: Duration,
    /// Whom to trust.
    pub trust: Trust,
}

impl Ask {
    /// A GET of `url`.
    pub fn get(url: impl Into<String>, timeout: Duration) -> Ask {
        Ask {
            method: Method::GET,
            url: url.into(),
            headers: Vec::new(),
            body: None,
            timeout,
            hold: Duration::ZERO,
            trust: Trust::System,
        }
    }

    /// The same, held by the server for up to `hold`.
    pub fn held(mut self, hold: Duration) -> Ask {
        self.hold = hold;
        self
    }

    /// The same with another method.
    pub fn method(mut self, method: Method) -> Ask {
        self.method = method;
        self
    }

    /// The same with one more header.
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Ask {
        self.headers.push((name, value.into()));
        self
    }

    /// The same with a JSON body.
    pub fn json(self, body: &metadata::Value) -> Ask {
        let mut ask = self.header("content-type", "application/json");
        ask.body = Some(body.to_json());
        ask
    }

    /// The same with a body whose type is not named.
    pub fn body(mut self, body: &metadata::Value) -> Ask {
        self.body = Some(body.to_json());
        self
    }

    /// The same with another trust.
    pub fn trust(mut self, trust: Trust) -> Ask {
        self.trust = trust;
        self
    }

    /// Whether it carries something that another host must not see.
    fn is_confidential(&self) -> bool {
        self.body.is_some() || self.headers.iter().any(|(name, _)| *name == "x-auth-token")
    }
}

/// What a client is made for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Kind {
    trust: Trust,
    /// How long it waits for the next byte.
    timeout: Duration,
    connect: Duration,
    /// Whether it speaks TLS.
    secure: bool,
    confidential: bool,
}

/// Sends requests; connections are kept and used again.
#[derive(Debug, Default, Clone)]
pub struct Http {
    clients: Arc<Mutex<HashMap<Kind, Client>>>,
    /// The longest pause that a busy server asked for.
    pause: Arc<Mutex<Option<Duration>>>,
}

impl Http {
    /// Sends `ask` and reads the whole answer.
    pub async fn send(&self, ask: Ask) -> Result<Answer, HttpError> {
        let client = self.client(&ask)?;
        let url = shown(&ask.url);
        let failed = |error: reqwest::Error| HttpError::Request {
            method: ask.method.clone(),
            url: url.clone(),
            why: chain(&error.without_url()),
        };
        let mut headers = HeaderMap::new();
        for (name, value) in &ask.headers {
            // A value that cannot stand in a header is left out, and the server says what it misses.
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        let mut request = client
            .request(ask.method.clone(), &ask.url)
            .headers(headers);
        if let Some(body) = &ask.body {
            request = request.body(body.clone());
        }
        let mut response = request.send().await.map_err(failed)?;
        let limit = ask.timeout * PATIENCE;
        let body = tokio::time::timeout(limit, read(&mut response)).await;
        let body = match body {
            Ok(Ok(Some(body))) => body,
            Ok(Ok(None)) => return Err(HttpError::TooLarge { url }),
            Ok(Err(error)) => return Err(failed(error)),
            Err(_) => return Err(HttpError::TooSlow { url, limit }),
        };
        let status = response.status().as_u16();
        let answer = Answer {
            url,
            status,
            headers: response.headers().clone(),
            body,
        };
        if let (429 | 503, Some(wanted)) = (status, answer.retry_after()) {
            let mut pause = self.pause.lock().unwrap_or_else(PoisonError::into_inner);
            *pause = Some(pause.map_or(wanted, |pause| pause.max(wanted)));
        }
        Ok(answer)
    }

    /// The longest pause that a busy server asked for since this was asked last.
    pub fn wanted_pause(&self) -> Option<Duration> {
        let mut pause = self.pause.lock().unwrap_or_else(PoisonError::into_inner);
        pause.take()
    }

    fn client(&self, ask: &Ask) -> Result<Client, HttpError> {
        let secure = ask.url.starts_with("https:");
        let key = Kind {
            trust: ask.trust.clone(),
            timeout: ask.timeout + ask.hold,
            connect: ask.timeout,
            secure,
            confidential: ask.is_confidential(),
        };
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        // Reading the system's certificates takes longer than all else, so plain HTTP goes without.
        let roots = if secure {
            roots(&ask.trust)?
        } else {
            RootCertStore::empty()
        };
        let client = build(roots, &key).map_err(|why| HttpError::Request {
            method: ask.method.clone(),
            url: shown(&ask.url),
            why,
        })?;
        clients.insert(key, client.clone());
        Ok(client)
    }
}

/// An address without its query, which may hold a secret.
fn shown(url: &str) -> String {
    url.split(['?', '#']).next().unwrap_or(url).to_owned()
}

/// How TLS is spoken with servers that `trust` vouches for.
pub(crate) fn tls(trust: &Trust) -> Result<ClientConfig, String> {
    with_roots(roots(trust).map_err(|error| error.to_string())?)
}

fn with_roots(roots: RootCertStore) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// The whole body, or nothing if it is too large.
async fn read(response: &mut reqwest::Response) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let large = |length: u64| length > MAX_BODY as u64;
    // What a server says of the length is taken for a warning only, never for a size to set aside.
    if response.content_length().is_some_and(large) {
        return Ok(None);
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > MAX_BODY {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

fn build(roots: RootCertStore, kind: &Kind) -> Result<Client, String> {
    Client::builder()
        .tls_backend_preconfigured(with_roots(roots)?)
        .dns_resolver(Arc::new(Resolver))
        .user_agent(concat!("os-collect-config/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(kind.connect)
        .read_timeout(kind.timeout)
        .redirect(redirects(kind.confidential))
        // The address may hold a secret, which is none of the next server's business.
        .referer(false)
        .build()
        .map_err(|error| chain(&error))
}

/// Follows redirects that give nothing away: never from TLS to none, and with a token or a body only on the same host.
fn redirects(confidential: bool) -> Policy {
    Policy::custom(move |attempt| {
        let Some(from) = attempt.previous().last() else {
            return attempt.follow();
        };
        let to = attempt.url();
        let why = if attempt.previous().len() > MAX_REDIRECTS {
            "too many redirects"
        } else if from.scheme() == "https" && to.scheme() != "https" {
            "redirected from https to an address without"
        } else if confidential && from.host_str() != to.host_str() {
            "redirected to another host, which must not see the credentials"
        } else {
            return attempt.follow();
        };
        attempt.error(why)
    })
}

fn roots(trust: &Trust) -> Result<RootCertStore, HttpError> {
    match trust {
        Trust::Pem(text) => store("the config drive", text.as_bytes()),
        Trust::File(path) => from_file(path),
        Trust::System => {
            let found = SYSTEM_CERTIFICATES
                .iter()
                .map(Path::new)
                .find(|path| path.exists());
            found.map_or_else(|| Ok(RootCertStore::empty()), from_file)
        }
    }
}

fn from_file(path: &Path) -> Result<RootCertStore, HttpError> {
    let source_name = path.display().to_string();
    let pem = std::fs::read(path).map_err(|error| HttpError::Certificates {
        source_name: source_name.clone(),
        why: error.to_string(),
    })?;
    store(&source_name, &pem)
}

fn store(source_name: &str, pem: &[u8]) -> Result<RootCertStore, HttpError> {
    let mut roots = RootCertStore::empty();
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let wrong = |why: String| HttpError::Certificates {
        source_name: source_name.to_owned(),
        why,
    };
    let (added, _) =
        roots.add_parsable_certificates(parsed.map_err(|error| wrong(error.to_string()))?);
    if added == 0 {
        return Err(wrong("there is none".to_owned()));
    }
    Ok(roots)
}

/// All causes of an error on one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Names by `/etc/hosts` and `/etc/resolv.conf`, read anew for each name so that a changed network is seen.
pub(crate) struct Resolver;

impl Resolver {
    /// All addresses of `name`.
    pub(crate) async fn find(name: &str) -> Result<Vec<IpAddr>, hickory_resolver::net::NetError> {
        let resolver = TokioResolver::builder_tokio()?.build()?;
        Ok(resolver.lookup_ip(name).await?.iter().collect())
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = Resolver::find(name.as_str()).await?;
            let found: Vec<SocketAddr> = found
                .into_iter()
                .map(|address| SocketAddr::new(address, 0))
                .collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}
