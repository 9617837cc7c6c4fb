//! Sends the result of a deployment to where its inputs say.

use crate::deployment::Deployment;
use metadata::{Value, object};
use os_collect_config::ConfigDrive;
use os_collect_config::http::{Answer, Ask, Http, HttpError};
use os_collect_config::keystone::{Account, KeystoneError, Sessions};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use std::time::Duration;

/// The cloud gets this long to take a signal.
const TIMEOUT: Duration = Duration::from_secs(30);
/// A server that is busy or starting gets this many chances; after them the whole refresh is tried again.
const ATTEMPTS: u32 = 3;
/// A stack is named `NAME/ID`, so the slash stays.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'/');

/// Why a signal did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum SignalError {
    /// The cloud did not take it.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// Keystone let nobody in.
    #[error(transparent)]
    Keystone(#[from] KeystoneError),
    /// The cloud has no such service.
    #[error("Keystone's catalog has no public endpoint of {service}")]
    Endpoint {
        /// Type of the service.
        service: &'static str,
    },
    /// An input that the signal needs is missing.
    #[error("deployment `{deployment}` has no input `{input}`")]
    Input {
        /// Name of the deployment.
        deployment: String,
        /// The input.
        input: &'static str,
    },
}

/// Sends signals.
#[derive(Default)]
pub struct Signals {
    http: Http,
    sessions: Sessions,
    drive: ConfigDrive,
}

impl Signals {
    /// Sends signals, trusting the authority on `drive` for the cloud's own host.
    pub fn new(drive: ConfigDrive) -> Signals {
        Signals {
            drive,
            ..Signals::default()
        }
    }

    /// Sends `result`. False means that nobody waits for a signal.
    pub async fn send(
        &mut self,
        deployment: &Deployment,
        result: &Value,
    ) -> Result<bool, SignalError> {
        let ask = if let Some(url) = deployment.input("deploy_signal_id") {
            let put = deployment
                .input("deploy_signal_verb")
                .is_some_and(|verb| verb == "PUT");
            let ask = Ask::get(&url, TIMEOUT).trust(self.drive.trust(&url));
            // Swift checks the type of what is put, and the address was signed without one.
            if put {
                ask.method(Method::PUT).body(result)
            } else {
                ask.method(Method::POST).json(result)
            }
        } else if deployment.input("deploy_queue_id").is_some() {
            self.for_queue(deployment, result).await?
        } else if deployment.input("deploy_auth_url").is_some() {
            self.for_heat(deployment, result).await?
        } else {
            return Ok(false);
        };
        self.persist(ask).await?.successful()?;
        Ok(true)
    }

    /// Sends a request, again if the server is out of order.
    async fn persist(&self, ask: Ask) -> Result<Answer, HttpError> {
        let mut pause = Duration::from_millis(500);
        for _ in 1..ATTEMPTS {
            match self.http.send(ask.clone()).await {
                Ok(answer) if answer.status < 500 => return Ok(answer),
                Ok(_) | Err(_) => {}
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        self.http.send(ask).await
    }

    /// The endpoint of a service, and the header that opens it.
    async fn log_in(
        &mut self,
        deployment: &Deployment,
        service: &'static str,
    ) -> Result<(String, String), SignalError> {
        let auth_url = need(deployment, "deploy_auth_url")?;
        let account = Account {
            trust: self.drive.trust(&auth_url),
            user_id: need(deployment, "deploy_user_id")?,
            password: need(deployment, "deploy_password")?,
            project_id: need(deployment, "deploy_project_id")?,
            auth_url,
        };
        let region = deployment.input("deploy_region_name");
        let session = self.sessions.get(&self.http, &account, None).await?;
        let endpoint = session
            .endpoint(service, region.as_deref())
            .ok_or(SignalError::Endpoint { service })?;
        Ok((endpoint, session.token))
    }

    async fn for_heat(
        &mut self,
        deployment: &Deployment,
        result: &Value,
    ) -> Result<Ask, SignalError> {
        let stack = need(deployment, "deploy_stack_id")?;
        let resource = need(deployment, "deploy_resource_name")?;
        let (endpoint, token) = self.log_in(deployment, "orchestration").await?;
        let quoted = |text: &str| utf8_percent_encode(text, PATH).to_string();
        let url = format!(
            "{endpoint}/stacks/{}/resources/{}/signal",
            quoted(&stack),
            quoted(&resource)
        );
        let trust = self.drive.trust(&url);
        Ok(Ask::get(url, TIMEOUT)
            .method(Method::POST)
            .json(result)
            .header("x-auth-token", token)
            .trust(trust))
    }

    async fn for_queue(
        &mut self,
        deployment: &Deployment,
        result: &Value,
    ) -> Result<Ask, SignalError> {
        let queue = need(deployment, "deploy_queue_id")?;
        let project = need(deployment, "deploy_project_id")?;
        let (endpoint, token) = self.log_in(deployment, "messaging").await?;
        let message = object([("body", result.clone()), ("ttl", Value::from(3600))]);
        let messages = object([("messages", Value::List(vec![message]))]);
        let root = if endpoint.ends_with("/v2") {
            endpoint
        } else {
            format!("{endpoint}/v2")
        };
        let url = format!(
            "{root}/queues/{}/messages",
            utf8_percent_encode(&queue, PATH)
        );
        let trust = self.drive.trust(&url);
        Ok(Ask::get(url, TIMEOUT)
            .method(Method::POST)
            .json(&messages)
            .header("x-auth-token", token)
            .header("x-project-id", project)
            .header("client-id", "00000000-0000-4000-8000-000000000000")
            .trust(trust))
    }
}

fn need(deployment: &Deployment, input: &'static str) -> Result<String, SignalError> {
    let missing = || SignalError::Input {
        deployment: deployment.name.clone(),
        input,
    };
    deployment.input(input).ok_or_else(missing)
}
