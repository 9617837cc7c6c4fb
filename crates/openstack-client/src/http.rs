//! Requests: token, catalog, repetition, errors.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Method, Response, StatusCode};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::sync::RwLock;
use tokio_util::io::ReaderStream;

use crate::clouds::{CloudEntry, read_clouds};
use crate::error::{ClientError, message_of};

/// Where distributions keep their certificate authorities in one file.
const BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";
/// A lost connection is tried this often again, with growing pauses: a restarting server is back within seconds.
const TRIES: u32 = 5;
/// The first pause; it doubles.
const PAUSE: Duration = Duration::from_millis(200);
/// Bytes that an upload reads at a time; each read is handed to another thread, which with a few kilobytes costs more than the reading.
const CHUNK: usize = 256 << 10;
/// Ironic's API hides what is newer than the version that one asks for; this one has all that our commands use.
const BAREMETAL_VERSION: &str = "1.81";

/// A client of one cloud, logged in.
#[derive(Debug)]
pub struct Client {
    cloud: CloudEntry,
    http: reqwest::Client,
    session: RwLock<Session>,
}

#[derive(Debug, Default)]
struct Session {
    token: Token,
    endpoints: BTreeMap<String, String>,
}

/// Never printed.
#[derive(Default)]
struct Token(String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl Client {
    /// Logs in to the cloud `name` of the clouds file `path`.
    pub async fn from_file(path: &Path, name: &str) -> Result<Self, ClientError> {
        Self::log_in(read_clouds(path, name)?).await
    }

    /// Logs in to a cloud.
    pub async fn log_in(cloud: CloudEntry) -> Result<Self, ClientError> {
        let tls = tls(&cloud)?;
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .connect_timeout(Duration::from_secs(10))
            .build()
            .map_err(|source| ClientError::Transport {
                url: cloud.auth_url.clone(),
                source: Box::new(source),
            })?;
        let client = Self {
            cloud,
            http,
            session: RwLock::default(),
        };
        client.renew().await?;
        Ok(client)
    }

    /// Where a service is, by its type.
    pub async fn endpoint(&self, service: &str) -> Result<String, ClientError> {
        let session = self.session.read().await;
        session
            .endpoints
            .get(service)
            .cloned()
            .ok_or_else(|| ClientError::NoService {
                service: service.to_owned(),
                known: session
                    .endpoints
                    .keys()
                    .cloned()
                    .collect::<Vec<_>>()
                    .join(", "),
            })
    }

    /// Reads `path` of a service.
    pub async fn get(&self, service: &str, path: &str) -> Result<Value, ClientError> {
        self.json(Method::GET, service, path, None).await
    }

    /// Reads `path` of a service; `None` where there is no such thing.
    pub async fn find(&self, service: &str, path: &str) -> Result<Option<Value>, ClientError> {
        match self.get(service, path).await {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates something.
    pub async fn post(
        &self,
        service: &str,
        path: &str,
        body: &Value,
    ) -> Result<Value, ClientError> {
        self.json(Method::POST, service, path, Some(body)).await
    }

    /// Replaces something.
    pub async fn put(&self, service: &str, path: &str, body: &Value) -> Result<Value, ClientError> {
        self.json(Method::PUT, service, path, Some(body)).await
    }

    /// Changes something.
    pub async fn patch(
        &self,
        service: &str,
        path: &str,
        body: &Value,
    ) -> Result<Value, ClientError> {
        self.json(Method::PATCH, service, path, Some(body)).await
    }

    /// Deletes something.
    pub async fn delete(&self, service: &str, path: &str) -> Result<(), ClientError> {
        self.json(Method::DELETE, service, path, None)
            .await
            .map(drop)
    }

    /// Sends a file as it is (`application/octet-stream`), without holding it in memory.
    pub async fn upload(&self, service: &str, path: &str, file: &Path) -> Result<(), ClientError> {
        let unreadable = |source| ClientError::Upload {
            path: file.to_owned(),
            source,
        };
        let open = tokio::fs::File::open(file).await.map_err(unreadable)?;
        let length = open.metadata().await.map_err(unreadable)?.len();
        let url = self.url(service, path).await?;
        let request = self
            .request(Method::PUT, service, &url)
            .await
            .header("Content-Type", "application/octet-stream")
            .header("Content-Length", length)
            .body(reqwest::Body::wrap_stream(ReaderStream::with_capacity(
                open, CHUNK,
            )));
        let answer = request.send().await.map_err(|source| lost(&url, source))?;
        read(Method::PUT, url, answer).await.map(drop)
    }

    async fn json(
        &self,
        method: Method,
        service: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, ClientError> {
        let mut renewed = false;
        loop {
            let url = self.url(service, path).await?;
            let answer = self.send(&method, service, &url, body).await?;
            if answer.status() == StatusCode::UNAUTHORIZED && !renewed {
                renewed = true;
                self.renew().await?;
                continue;
            }
            return read(method, url, answer).await;
        }
    }

    /// Sends a request, again after a lost connection where doing it twice is doing it once.
    async fn send(
        &self,
        method: &Method,
        service: &str,
        url: &str,
        body: Option<&Value>,
    ) -> Result<Response, ClientError> {
        let mut pause = PAUSE;
        for attempt in 1.. {
            let mut request = self.request(method.clone(), service, url).await;
            if let Some(body) = body {
                request = request.json(body);
            }
            match request.send().await {
                Ok(answer) => return Ok(answer),
                Err(error)
                    if attempt < TRIES
                        && (error.is_connect() || method.is_idempotent() && error.is_request()) =>
                {
                    tracing::debug!(url, attempt, "the connection was lost; asking again");
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                Err(source) => return Err(lost(url, source)),
            }
        }
        unreachable!("the loop above ends by returning")
    }

    async fn request(&self, method: Method, service: &str, url: &str) -> reqwest::RequestBuilder {
        let mut request = self
            .http
            .request(method, url)
            .header("X-Auth-Token", &self.session.read().await.token.0)
            .header("Accept", "application/json");
        if service == "baremetal" {
            request = request.header("X-OpenStack-Ironic-API-Version", BAREMETAL_VERSION);
        }
        request
    }

    async fn url(&self, service: &str, path: &str) -> Result<String, ClientError> {
        let endpoint = self.endpoint(service).await?;
        Ok(format!(
            "{}/{}",
            endpoint.trim_end_matches('/'),
            path.trim_start_matches('/')
        ))
    }

    /// Logs in and reads the catalog.
    async fn renew(&self) -> Result<(), ClientError> {
        let base = self.cloud.auth_url.trim_end_matches('/');
        let base = base.strip_suffix("/v3").unwrap_or(base);
        let url = format!("{base}/v3/auth/tokens");
        let body = self.log_in_body();
        let answer = self
            .send(&Method::POST, "identity", &url, Some(&body))
            .await?;
        let token = answer
            .headers()
            .get("X-Subject-Token")
            .and_then(|value| value.to_str().ok());
        let token = Token(token.unwrap_or_default().to_owned());
        let value = read(Method::POST, url, answer).await?;
        let endpoints = self.catalog(&value["token"]["catalog"]);
        *self.session.write().await = Session { token, endpoints };
        Ok(())
    }

    fn log_in_body(&self) -> Value {
        let cloud = &self.cloud;
        let domain = |name: &str| {
            // `default` is the id of the domain that is named `Default`.
            if name == "default" {
                json!({ "id": name })
            } else {
                json!({ "name": name })
            }
        };
        let scope = match &cloud.project {
            Some(project) => {
                json!({ "project": { "name": project, "domain": domain(&cloud.project_domain) } })
            }
            None => json!({ "system": { "all": true } }),
        };
        json!({ "auth": {
            "identity": { "methods": ["password"], "password": { "user": {
                "name": cloud.username,
                "password": cloud.password,
                "domain": domain(&cloud.user_domain),
            } } },
            "scope": scope,
        } })
    }

    fn catalog(&self, catalog: &Value) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        for service in catalog.as_array().into_iter().flatten() {
            for endpoint in service["endpoints"].as_array().into_iter().flatten() {
                let region = self.cloud.region.as_deref();
                let fits = endpoint["interface"] == self.cloud.interface.as_str()
                    && region.is_none_or(|region| endpoint["region"] == region);
                if let (true, Some(kind), Some(url)) =
                    (fits, service["type"].as_str(), endpoint["url"].as_str())
                {
                    found
                        .entry(kind.to_owned())
                        .or_insert_with(|| url.to_owned());
                }
            }
        }
        found
    }
}

fn lost(url: &str, source: reqwest::Error) -> ClientError {
    ClientError::Transport {
        url: url.to_owned(),
        source: Box::new(source.without_url()),
    }
}

async fn read(method: Method, url: String, answer: Response) -> Result<Value, ClientError> {
    let status = answer.status();
    let text = answer.text().await.map_err(|source| lost(&url, source))?;
    if !status.is_success() {
        let message = match message_of(&text) {
            empty if empty.is_empty() => status.canonical_reason().unwrap_or("refused").to_owned(),
            message => message,
        };
        return Err(ClientError::Refused {
            method: method.to_string(),
            url,
            status: status.as_u16(),
            message,
        });
    }
    if text.trim().is_empty() || status == StatusCode::ACCEPTED {
        // Heat's 202 has a body of HTML in JSON that tells nothing.
        return Ok(serde_json::from_str(&text).unwrap_or(Value::Null));
    }
    serde_json::from_str(&text).map_err(|source| ClientError::NotJson { url, source })
}

/// Explicit roots: without any, a client for plain HTTP could not even be made.
fn tls(cloud: &CloudEntry) -> Result<ClientConfig, ClientError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    let file = cloud.ca_file.as_deref().unwrap_or(Path::new(BUNDLE));
    let wrong = |reason: String| ClientError::Certificates {
        path: file.to_owned(),
        reason,
    };
    if cloud.ca_file.is_some() || file.is_file() {
        for certificate in CertificateDer::pem_file_iter(file).map_err(|e| wrong(e.to_string()))? {
            // Old bundles hold certificates that are no authorities: the others still count.
            let _ = roots.add(certificate.map_err(|e| wrong(e.to_string()))?);
        }
        if roots.is_empty() {
            return Err(wrong("it holds no certificate".to_owned()));
        }
    }
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(error.to_string()))
        .map(|builder| builder.with_root_certificates(roots).with_no_client_auth())
}
