//! Requests to a BMC: logging in, trying again within limits, and errors that say who refused what.

use std::time::Duration;

use reqwest::header::{ETAG, HeaderMap, IF_MATCH, LOCATION, RETRY_AFTER};
use reqwest::{Client, Method, StatusCode};
use serde_json::Value;
use tokio::sync::Mutex;

use crate::error::is_busy;
use crate::{Auth, BmcError, BmcSettings, tls};

/// The longest pause that a BMC may ask for by `Retry-After`.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// Where Redfish starts.
pub(crate) const ROOT: &str = "/redfish/v1/";

/// Where sessions are made.
const SESSIONS: &str = "/redfish/v1/SessionService/Sessions";

/// The HTTP side of one BMC.
#[derive(Debug)]
pub(crate) struct Http {
    client: Client,
    settings: BmcSettings,
    login: Mutex<Login>,
}

/// How the next request says who we are.
#[derive(Debug, Clone)]
enum Login {
    NotYet,
    Nobody,
    Basic,
    Token(crate::Secret),
}

/// An answer: its body, and the tag that a change must name.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) body: Value,
    pub(crate) etag: Option<String>,
}

impl Http {
    pub(crate) fn new(settings: BmcSettings) -> Result<Self, BmcError> {
        let address = &settings.address;
        let refused = |reason| BmcError::Address {
            address: address.to_string(),
            reason,
        };
        if !matches!(address.scheme(), "http" | "https") {
            return Err(refused("its scheme is neither http nor https"));
        }
        if address.host().is_none() {
            return Err(refused("it names no host"));
        }
        if !matches!(address.path(), "" | "/") {
            return Err(refused("it has a path"));
        }
        let client = Client::builder()
            .tls_backend_preconfigured(tls::config(&settings)?)
            .connect_timeout(settings.limits.connect)
            .timeout(settings.limits.request)
            // A BMC is reached directly: a proxy of the environment is for other traffic.
            .no_proxy()
            .build()
            .map_err(|error| BmcError::Tls {
                bmc: settings.address.to_string(),
                reason: error.to_string(),
            })?;
        Ok(Self {
            client,
            settings,
            login: Mutex::new(Login::NotYet),
        })
    }

    pub(crate) fn settings(&self) -> &BmcSettings {
        &self.settings
    }

    /// The address, as errors name it.
    pub(crate) fn bmc(&self) -> String {
        let address = &self.settings.address;
        let host = address.host_str().unwrap_or_default();
        match address.port() {
            Some(port) => format!("{}://{host}:{port}", address.scheme()),
            None => format!("{}://{host}", address.scheme()),
        }
    }

    pub(crate) async fn get(&self, path: &str, what: &str) -> Result<Answer, BmcError> {
        self.request(Method::GET, path, None, None, what).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value, what: &str) -> Result<(), BmcError> {
        self.request(Method::POST, path, Some(body), None, what)
            .await
            .map(drop)
    }

    /// Changes a resource; `etag` is the one of the answer that the change is made from.
    pub(crate) async fn patch(
        &self,
        path: &str,
        body: &Value,
        etag: Option<&str>,
        what: &str,
    ) -> Result<(), BmcError> {
        match self
            .request(Method::PATCH, path, Some(body), etag, what)
            .await
        {
            // Some controllers compare tags that they themselves wrote differently.
            Err(BmcError::Refused { status: 412, .. }) if etag.is_some() => self
                .request(Method::PATCH, path, Some(body), None, what)
                .await
                .map(drop),
            other => other.map(drop),
        }
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        etag: Option<&str>,
        what: &str,
    ) -> Result<Answer, BmcError> {
        let limits = self.settings.limits;
        let mut pause = limits.pause;
        let mut logged_in_again = false;
        let mut tries = 1;
        loop {
            let login = self.login(what).await?;
            let failure = match self.once(&method, path, body, etag, &login, what).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let expired = matches!(failure.error, BmcError::Unauthorized { .. })
                && matches!(login, Login::Token(_))
                && !logged_in_again;
            if expired {
                logged_in_again = true;
                *self.login.lock().await = Login::NotYet;
                continue;
            }
            // What hangs after it took a change may have done it: only reading is tried again then.
            let again = failure.error.is_retryable()
                && (method == Method::GET || !matches!(failure.error, BmcError::TimedOut { .. }));
            if !again || tries >= limits.tries {
                return Err(failure.error);
            }
            tracing::debug!(bmc = %self.bmc(), what, tries, error = %failure.error, "the BMC is asked again");
            tokio::time::sleep(failure.wait.map_or(pause, |wait| wait.min(LONGEST_PAUSE))).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            tries += 1;
        }
    }

    async fn once(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
        etag: Option<&str>,
        login: &Login,
        what: &str,
    ) -> Result<Answer, Failure> {
        let mut request = self.client.request(method.clone(), self.url(path));
        request = match login {
            Login::Basic => request.basic_auth(
                self.settings.username.as_deref().unwrap_or_default(),
                self.settings.password.as_ref().map(crate::Secret::expose),
            ),
            Login::Token(token) => request.header("X-Auth-Token", token.expose()),
            Login::Nobody | Login::NotYet => request,
        };
        if let Some(tag) = etag {
            request = request.header(IF_MATCH, tag);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request
            .send()
            .await
            .map_err(|error| self.broken(error, what))?;
        let status = answer.status();
        let headers = answer.headers().clone();
        let text = answer
            .text()
            .await
            .map_err(|error| self.broken(error, what))?;
        self.read(method, status, &headers, &text, what)
    }

    fn read(
        &self,
        method: &Method,
        status: StatusCode,
        headers: &HeaderMap,
        text: &str,
        what: &str,
    ) -> Result<Answer, Failure> {
        if status == StatusCode::UNAUTHORIZED {
            return Err(self.unauthorized().into());
        }
        if !status.is_success() {
            return Err(Failure {
                error: BmcError::Refused {
                    bmc: self.bmc(),
                    what: what.to_owned(),
                    status: status.as_u16(),
                    message: message(text),
                },
                wait: is_busy(status.as_u16())
                    .then(|| seconds(headers, RETRY_AFTER.as_str()))
                    .flatten(),
            });
        }
        let body = match serde_json::from_str(text) {
            Ok(body) => body,
            // Actions and changes often answer with nothing, or with a page for people.
            Err(_) if *method != Method::GET => Value::Null,
            Err(error) => {
                return Err(BmcError::Malformed {
                    bmc: self.bmc(),
                    what: what.to_owned(),
                    reason: error.to_string(),
                }
                .into());
            }
        };
        Ok(Answer {
            body,
            etag: text_of(headers, ETAG.as_str()),
        })
    }

    async fn login(&self, what: &str) -> Result<Login, BmcError> {
        let mut login = self.login.lock().await;
        if !matches!(*login, Login::NotYet) {
            return Ok(login.clone());
        }
        *login = match (&self.settings.username, self.settings.auth) {
            (None, _) => Login::Nobody,
            (Some(_), Auth::Basic) => Login::Basic,
            (Some(_), Auth::Session) => self.session(what).await?,
            (Some(_), Auth::Auto) => match self.session(what).await {
                Ok(session) => session,
                Err(BmcError::Refused { status, .. }) if !is_busy(status) => Login::Basic,
                Err(BmcError::Malformed { .. }) => Login::Basic,
                Err(other) => return Err(other),
            },
        };
        Ok(login.clone())
    }

    /// Makes a session; the BMC forgets it when it was not used for a while.
    async fn session(&self, what: &str) -> Result<Login, BmcError> {
        let body = serde_json::json!({
            "UserName": self.settings.username,
            "Password": self.settings.password.as_ref().map(crate::Secret::expose),
        });
        let answer = self
            .client
            .post(self.url(SESSIONS))
            .json(&body)
            .send()
            .await
            .map_err(|error| self.broken(error, what).error)?;
        let status = answer.status();
        if status == StatusCode::UNAUTHORIZED {
            return Err(self.unauthorized());
        }
        let headers = answer.headers().clone();
        let text = answer.text().await.unwrap_or_default();
        if !status.is_success() {
            return Err(BmcError::Refused {
                bmc: self.bmc(),
                what: "log in".into(),
                status: status.as_u16(),
                message: message(&text),
            });
        }
        match text_of(&headers, "X-Auth-Token") {
            Some(token) => {
                tracing::debug!(bmc = %self.bmc(), session = ?headers.get(LOCATION), "logged in to the BMC");
                Ok(Login::Token(crate::Secret::new(token)))
            }
            None => Err(BmcError::Malformed {
                bmc: self.bmc(),
                what: "log in".into(),
                reason: "the session has no token".into(),
            }),
        }
    }

    fn url(&self, path: &str) -> url::Url {
        let mut url = self.settings.address.clone();
        match path.split_once('?') {
            Some((path, query)) => {
                url.set_path(path);
                url.set_query(Some(query));
            }
            None => url.set_path(path),
        }
        url
    }

    fn unauthorized(&self) -> BmcError {
        BmcError::Unauthorized {
            bmc: self.bmc(),
            user: self.settings.username.clone().unwrap_or_default(),
        }
    }

    fn broken(&self, error: reqwest::Error, what: &str) -> Failure {
        // The URL of the error would repeat the address, and may hold credentials.
        let error = error.without_url();
        if error.is_timeout() && !error.is_connect() {
            return BmcError::TimedOut {
                bmc: self.bmc(),
                what: what.to_owned(),
                after: self.settings.limits.request,
            }
            .into();
        }
        BmcError::Unreachable {
            bmc: self.bmc(),
            what: what.to_owned(),
            source: error,
        }
        .into()
    }
}

/// A failed try, and the pause that the BMC asked for.
struct Failure {
    error: BmcError,
    wait: Option<Duration>,
}

impl From<BmcError> for Failure {
    fn from(error: BmcError) -> Self {
        Self { error, wait: None }
    }
}

fn text_of(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

fn seconds(headers: &HeaderMap, name: &str) -> Option<Duration> {
    text_of(headers, name)?
        .trim()
        .parse()
        .ok()
        .map(Duration::from_secs)
}

/// What a BMC says in an error body; the detailed messages are worth more than the general one.
fn message(text: &str) -> String {
    let parsed: Value = serde_json::from_str(text).unwrap_or(Value::Null);
    let error = &parsed["error"];
    let detailed: Vec<&str> = error["@Message.ExtendedInfo"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|info| info["Message"].as_str())
        .collect();
    let general = error["message"].as_str().or(error["code"].as_str());
    match (detailed.is_empty(), general) {
        (false, _) => detailed.join(" "),
        (true, Some(general)) => general.to_owned(),
        (true, None) => text
            .chars()
            .filter(|c| !c.is_control())
            .take(200)
            .collect::<String>()
            .trim()
            .to_owned(),
    }
}
