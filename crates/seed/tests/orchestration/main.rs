//! The orchestration API over the real engine and a cloud in memory, without sockets.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod knowledge;
mod life;
mod refusals;
mod reports;

use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, to_bytes};
use cloud::Secret;
use engine::{Endpoints, Engine, Setup, StackUsers, SystemClock, UserError};
use http::{HeaderMap, Request};
use openstack_api::{CheckError, Named, Scope, Token, TokenCheck};
use serde_json::{Value, json};
use tower::ServiceExt;

/// Ids of the projects are their names.
const PROJECT: &str = "0123456789abcdef0123456789abcdef";

/// Tokens are written `user:project:role`.
struct Tokens;

#[async_trait]
impl TokenCheck for Tokens {
    async fn check(&self, token: &str) -> Result<Arc<Token>, CheckError> {
        let words: Vec<&str> = token.split(':').collect();
        let [user, project, role] = words[..] else {
            return Err(CheckError::Invalid);
        };
        let named = |text: &str| Named {
            id: text.to_owned(),
            name: text.to_owned(),
        };
        Ok(Arc::new(Token {
            user: named(user),
            user_domain: named("default"),
            scope: Scope::Project {
                project: named(project),
                domain: named("default"),
            },
            roles: vec![named(role)],
            methods: vec!["password".to_owned()],
            audit_ids: Vec::new(),
            issued_at: jiff::Timestamp::UNIX_EPOCH,
            expires_at: jiff::Timestamp::UNIX_EPOCH,
            application_credential: None,
        }))
    }
}

/// Users are known by their names; nobody logs in here.
struct Users;

#[async_trait]
impl StackUsers for Users {
    async fn ensure_project(&self, name: &str) -> Result<String, UserError> {
        Ok(
            uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_DNS, name.as_bytes())
                .simple()
                .to_string(),
        )
    }

    async fn remove_project(&self, _id: &str) -> Result<(), UserError> {
        Ok(())
    }

    async fn ensure_user(&self, name: &str, _: &str, _: &Secret) -> Result<String, UserError> {
        Ok(name.to_owned())
    }

    async fn remove_user(&self, _user_id: &str) -> Result<(), UserError> {
        Ok(())
    }

    async fn ensure_key_pair(
        &self,
        _: &str,
        _: &str,
        _: &str,
        _: &Secret,
    ) -> Result<(), UserError> {
        Ok(())
    }
}

/// A reply, read to its end.
#[derive(Debug)]
struct Reply {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    /// Type and message of a fault.
    fn fault(&self) -> (u16, String, String) {
        let error = &self.json()["error"];
        let text = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
        (self.status, text("type"), text("message"))
    }

    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

/// The services of one seed, and who asks them.
struct Lab {
    orchestration: Router,
    cloudformation: Router,
    metadata: Router,
    token: String,
}

impl Lab {
    async fn new() -> Lab {
        let engine = Engine::open(Setup {
            store: store::Store::memory(&[Engine::MIGRATIONS]).unwrap(),
            cloud: Arc::new(cloud_sim::Sim::new(cloud_sim::Options::with_nodes(3))),
            users: Arc::new(Users),
            clock: Arc::new(SystemClock),
            endpoints: Endpoints {
                metadata: "http://seed/metadata".to_owned(),
                auth: "http://seed/identity/v3".to_owned(),
                orchestration: "http://seed/orchestration/v1".to_owned(),
                cloudformation: "http://seed/cloudformation/v1".to_owned(),
                region: "RegionOne".to_owned(),
            },
        });
        let engine = engine.await.unwrap();
        let nodes = seed::metadata::EngineNodes {
            engine: engine.clone(),
        };
        let stop = tokio_util::sync::CancellationToken::new();
        Lab {
            orchestration: seed::orchestration::router(engine.clone(), Arc::new(Tokens)),
            cloudformation: seed::cloudformation::router(engine),
            metadata: seed::metadata::Metadata::new(Arc::new(nodes), stop).router(),
            token: format!("demo:{PROJECT}:member"),
        }
    }

    /// The same services, asked by someone else.
    fn as_user(&self, user: &str, project: &str, role: &str) -> Lab {
        Lab {
            orchestration: self.orchestration.clone(),
            cloudformation: self.cloudformation.clone(),
            metadata: self.metadata.clone(),
            token: format!("{user}:{project}:{role}"),
        }
    }

    /// Asks below `/v1/<project>`.
    async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Reply {
        let path = format!("/v1/{PROJECT}{path}");
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        self.raw(method, &path, &body, &[("X-Auth-Token", &self.token)])
            .await
    }

    async fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, None).await
    }

    async fn post(&self, path: &str, body: Value) -> Reply {
        self.ask("POST", path, Some(body)).await
    }

    async fn raw(&self, method: &str, path: &str, body: &str, headers: &[(&str, &str)]) -> Reply {
        send(&self.orchestration, method, path, body, headers).await
    }
}

async fn send(
    router: &Router,
    method: &str,
    path: &str,
    body: &str,
    headers: &[(&str, &str)],
) -> Reply {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("Host", "seed");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::from(body.to_owned())).unwrap();
    let reply = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = reply.into_parts();
    let text = to_bytes(body, 1 << 24).await.unwrap();
    Reply {
        status: parts.status.as_u16(),
        headers: parts.headers,
        text: String::from_utf8(text.to_vec()).unwrap(),
    }
}

/// A template of the newest common version.
fn hot(resources: Value) -> Value {
    json!({ "heat_template_version": "2018-08-31", "resources": resources })
}

/// A resource that is its value.
fn value(value: Value) -> Value {
    json!({ "type": "OS::Heat::Value", "properties": { "value": value } })
}
