//! The CloudFormation side of orchestration: what nodes with an access key ask, and signed URLs.
//!
//! One call is served, `DescribeStackResource` for the key's own resource, because it is the one
//! that os-collect-config makes. Signed URLs take signals of deployments (`POST /v1/signal/<arn>`)
//! and of wait conditions (`PUT /v1/waitcondition/<arn>`). A signature never grows too old: it
//! lives as long as the resource.

pub mod signature;
pub mod xml;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::request::Parts;
use axum::http::{Method, Request, Response, StatusCode, header};
use engine::{Engine, EngineError, Resource, Stack, UserScope};
use openstack_api::Origin;
use serde_json::{Map, Value, json};

use crate::orchestration::access::stack_of_arn;
use crate::orchestration::query::{Query, decode};
use crate::orchestration::reply;
use signature::Signed;
use xml::Form;

/// Where the API is mounted.
pub const PREFIX: &str = "/cloudformation";

/// Signals are small; a script's output is cut by its sender.
const BODY_LIMIT: usize = 4 * 1024 * 1024;

/// A refusal: status, code, words.
type Refusal = (StatusCode, &'static str, String);

/// The routes. Every request carries its own proof, so there is no check of tokens.
pub fn router(engine: Engine) -> Router {
    let api = Cloudformation { engine };
    Router::new().fallback(move |request: Request<Body>| {
        let api = api.clone();
        async move { api.answer(request).await }
    })
}

#[derive(Clone)]
struct Cloudformation {
    engine: Engine,
}

/// The resource of an ARN.
struct Target {
    stack: String,
    resource: String,
}

impl Cloudformation {
    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let Ok(body) = to_bytes(body, BODY_LIMIT).await else {
            let words = "The request is too large.";
            return xml::refusal(
                Form::Xml,
                StatusCode::BAD_REQUEST,
                "RequestLimitExceeded",
                words,
            );
        };
        let mut query = Query::parse(parts.uri.query().unwrap_or(""));
        let path = decode(parts.uri.path());
        let is_form = parts.headers.get(header::CONTENT_TYPE).is_some_and(|kind| {
            kind.as_bytes()
                .starts_with(b"application/x-www-form-urlencoded")
        });
        if is_form && parts.method == Method::POST && path == "/v1" {
            query = Query::parse(&String::from_utf8_lossy(&body));
        }
        let json = query.last("ContentType") == Some("JSON");
        let form = if json { Form::Json } else { Form::Xml };
        let answer = match path.strip_prefix("/v1").unwrap_or("") {
            "" if path == "/v1" => self.describe(&parts, &query, form).await,
            rest => match rest.trim_start_matches('/').split_once('/') {
                Some(("signal", arn)) => self.signal(&parts, &query, arn, &body).await,
                Some(("waitcondition", arn)) => self.wait(&parts, &query, arn, &body).await,
                Some(_) | None => Err(no_action(&path)),
            },
        };
        answer.unwrap_or_else(|(status, code, words)| xml::refusal(form, status, code, &words))
    }

    /// What the request's access key was made for, if the signature is right.
    async fn signer(&self, parts: &Parts, query: &Query) -> Result<UserScope, Refusal> {
        let denied = || denied("The signature does not match, or its key is not known.");
        let access = query.last("AWSAccessKeyId").ok_or_else(denied)?;
        let found = self.engine.key_scope(access).await.map_err(refused)?;
        let (scope, secret) = found.ok_or_else(denied)?;
        let origin = parts.extensions.get::<Origin>();
        let prefix = origin.map_or(PREFIX, |origin| origin.prefix.as_str());
        let host = parts.headers.get(header::HOST);
        let host = host.and_then(|host| host.to_str().ok()).unwrap_or("");
        let path = format!("{prefix}{}", decode(parts.uri.path()));
        // The slash at the end of `…/v1/` is signed but cut off on the way here.
        let right = [path.clone(), format!("{path}/")].iter().any(|path| {
            let signed = Signed {
                verb: parts.method.as_str(),
                host,
                path,
                params: query.pairs(),
            };
            signed.is_signed_with(secret.expose())
        });
        if right { Ok(scope) } else { Err(denied()) }
    }

    async fn describe(
        &self,
        parts: &Parts,
        query: &Query,
        form: Form,
    ) -> Result<Response<Body>, Refusal> {
        let action = query.last("Action").unwrap_or("");
        if action != "DescribeStackResource" {
            return Err(no_action(action));
        }
        let scope = self.signer(parts, query).await?;
        let stack = self
            .engine
            .find(None, &scope.stack.to_string())
            .await
            .map_err(refused)?;
        let asked = query.last("StackName").unwrap_or("");
        let resource = query.last("LogicalResourceId").unwrap_or("");
        if !is_named(&stack, asked) || resource != scope.resource {
            return Err(denied("User is not authorized to perform action"));
        }
        let resource = self
            .engine
            .resource(stack.id, resource, &[])
            .await
            .map_err(refused)?;
        let metadata = self
            .engine
            .resource_metadata(stack.id, &resource.name)
            .await;
        let metadata = metadata.map_err(refused)?;
        let metadata = match form {
            Form::Xml => Value::String(metadata.to_string()),
            Form::Json => metadata,
        };
        let mut result = Map::new();
        result.insert(
            "StackResourceDetail".to_owned(),
            detail(&stack, &resource, metadata),
        );
        Ok(xml::answer(form, action, result))
    }

    async fn signal(
        &self,
        parts: &Parts,
        query: &Query,
        arn: &str,
        body: &[u8],
    ) -> Result<Response<Body>, Refusal> {
        if parts.method != Method::POST {
            return Err(no_method(&parts.method));
        }
        let (stack, resource) = self.signalled(parts, query, arn).await?;
        let body = serde_json::from_slice(body).ok().filter(Value::is_object);
        self.engine
            .signal(stack.id, &resource, body)
            .await
            .map_err(refused)?;
        Ok(Response::new(Body::empty()))
    }

    async fn wait(
        &self,
        parts: &Parts,
        query: &Query,
        arn: &str,
        body: &[u8],
    ) -> Result<Response<Body>, Refusal> {
        if parts.method != Method::PUT {
            return Err(no_method(&parts.method));
        }
        let (stack, resource) = self.signalled(parts, query, arn).await?;
        let body = serde_json::from_slice(body).unwrap_or(Value::Null);
        let signalled = self
            .engine
            .signal_wait_condition(stack.id, &resource, body)
            .await;
        signalled.map_err(refused)?;
        Ok(xml::write(
            Form::Xml,
            StatusCode::OK,
            &json!({ "resource": resource }),
        ))
    }

    /// The stack and resource of a signed URL.
    async fn signalled(
        &self,
        parts: &Parts,
        query: &Query,
        arn: &str,
    ) -> Result<(Stack, String), Refusal> {
        let scope = self.signer(parts, query).await?;
        let target = target(arn).ok_or_else(|| no_action(arn))?;
        if target.stack != scope.stack.to_string() || target.resource != scope.resource {
            return Err(denied("User is not authorized to perform action"));
        }
        let stack = self
            .engine
            .find(None, &target.stack)
            .await
            .map_err(refused)?;
        Ok((stack, target.resource))
    }
}

fn target(arn: &str) -> Option<Target> {
    let path = stack_of_arn(arn)?;
    let (_, resource) = arn.split_once("/resources/")?;
    Some(Target {
        stack: path.id,
        resource: resource.to_owned(),
    })
}

/// Clients name a stack by its name, by `name/id`, or by its ARN.
fn is_named(stack: &Stack, asked: &str) -> bool {
    let id = stack.id.to_string();
    asked == stack.name
        || asked == id
        || asked == format!("{}/{id}", stack.name)
        || asked == arn(stack)
}

fn arn(stack: &Stack) -> String {
    format!(
        "arn:openstack:heat::{}:stacks/{}/{}",
        stack.project, stack.name, stack.id
    )
}

fn detail(stack: &Stack, resource: &Resource, metadata: Value) -> Value {
    json!({
        "Description": resource.description,
        "LastUpdatedTimestamp": reply::time(resource.updated),
        "LogicalResourceId": resource.name,
        "Metadata": metadata,
        "PhysicalResourceId": resource.physical_id,
        "ResourceStatus": format!("{}_{}", resource.action, resource.status),
        "ResourceStatusReason": resource.reason,
        "ResourceType": resource.type_name,
        "StackId": arn(stack),
        "StackName": stack.name,
    })
}

fn denied(words: &str) -> Refusal {
    (StatusCode::FORBIDDEN, "AccessDenied", words.to_owned())
}

fn no_action(what: &str) -> Refusal {
    let words = format!("The requested action ({what}) is not enabled");
    (StatusCode::BAD_REQUEST, "InvalidAction", words)
}

fn no_method(method: &Method) -> Refusal {
    let words = format!("The method {method} is not allowed for this resource");
    (StatusCode::METHOD_NOT_ALLOWED, "InvalidAction", words)
}

fn refused(error: EngineError) -> Refusal {
    let fault = crate::orchestration::fault::Fault::from(error);
    let code = match fault.status {
        StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST | StatusCode::CONFLICT => {
            "InvalidParameterValue"
        }
        _ => "InternalFailure",
    };
    // The CloudFormation API has no 404 for what is not there.
    let status = match fault.status {
        StatusCode::NOT_FOUND | StatusCode::CONFLICT => StatusCode::BAD_REQUEST,
        other => other,
    };
    (status, code, fault.message)
}
