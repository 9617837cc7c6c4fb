//! What stands in front of every service: token check, request id, error rendering, panic guard.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};

use crate::{ApiError, BodyLimit, Caller, CheckError, Dialect, Origin, TokenCheck, new_uuid};

/// Path of identity on every server of ours; the 401 of each service points there.
const IDENTITY: &str = "/identity/v3";

/// Which requests need no token.
type Open = fn(&Method, &str) -> bool;

/// The shell around a service's routes.
#[derive(Clone)]
pub struct Service {
    dialect: Dialect,
    tokens: Option<(Arc<dyn TokenCheck>, Open)>,
    body_limit: BodyLimit,
}

impl Service {
    /// A service that writes errors in `dialect` and lets everyone in.
    pub fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            tokens: None,
            body_limit: BodyLimit::default(),
        }
    }

    /// Asks for a token on all requests but those that `open` names by method and path.
    #[must_use]
    pub fn tokens(mut self, check: Arc<dyn TokenCheck>, open: Open) -> Self {
        self.tokens = Some((check, open));
        self
    }

    /// Lets JSON bodies be up to `bytes` large.
    #[must_use]
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.body_limit = BodyLimit(bytes);
        self
    }

    /// Puts the shell around routes. Paths in them are without the prefix that the service is mounted under.
    pub fn wrap(self, router: Router) -> Router {
        router.layer(middleware::from_fn_with_state(Arc::new(self), answer))
    }

    async fn admit(&self, request: &mut Request) -> Result<(), ApiError> {
        let Some((check, open)) = &self.tokens else {
            return Ok(());
        };
        if open(request.method(), request.uri().path()) {
            return Ok(());
        }
        let token = request
            .headers()
            .get("x-auth-token")
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        if token.is_empty() {
            return Err(ApiError::unauthorized());
        }
        match check.check(token).await {
            Ok(token) => {
                request.extensions_mut().insert(Caller(token));
                Ok(())
            }
            Err(CheckError::Invalid) => Err(ApiError::unauthorized()),
            Err(error @ CheckError::Unavailable(_)) => Err(ApiError::internal(&error)),
        }
    }

    fn request_id_header(&self) -> HeaderName {
        match self.dialect {
            Dialect::Baremetal => HeaderName::from_static("openstack-request-id"),
            Dialect::Identity
            | Dialect::Image
            | Dialect::Orchestration
            | Dialect::Compute
            | Dialect::Network => HeaderName::from_static("x-openstack-request-id"),
        }
    }
}

async fn answer(State(service): State<Arc<Service>>, mut request: Request, next: Next) -> Response {
    let accept = request
        .headers()
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    let origin = request.extensions().get::<Origin>().cloned();
    let method = request.method().clone();
    // Where no token is asked for, the path may hold a secret of its own.
    let path = service
        .tokens
        .as_ref()
        .map(|_| request.uri().path().to_owned())
        .unwrap_or_default();
    request.extensions_mut().insert(service.body_limit);
    let mut response = match service.admit(&mut request).await {
        Ok(()) => match AssertUnwindSafe(next.run(request)).catch_unwind().await {
            Ok(response) => response,
            Err(_) => {
                tracing::error!(%method, path, "a handler panicked");
                ApiError::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "The server failed; its log says more.",
                )
                .into_response()
            }
        },
        Err(error) => error.into_response(),
    };
    if let Some(mut error) = unrendered(&mut response, &path) {
        if error.status == StatusCode::UNAUTHORIZED {
            error = with_challenge(error, origin.as_ref());
        }
        response = error.render(service.dialect, accept.as_deref());
    }
    tracing::debug!(%method, path, status = response.status().as_u16(), "answered");
    let id = format!("req-{}", new_uuid());
    if let Ok(value) = HeaderValue::from_str(&id) {
        response
            .headers_mut()
            .insert(service.request_id_header(), value);
    }
    if service.dialect == Dialect::Identity {
        response
            .headers_mut()
            .append(header::VARY, HeaderValue::from_static("X-Auth-Token"));
    }
    response
}

/// Takes the error that a handler left, or makes one of the bare 404 and 405 of the router.
fn unrendered(response: &mut Response, path: &str) -> Option<ApiError> {
    if let Some(error) = response.extensions_mut().remove::<ApiError>() {
        return Some(error);
    }
    let bare = !response.headers().contains_key(header::CONTENT_TYPE);
    // The framework's own refusals, of paths that are no text for example, know no dialect.
    let kind = response.headers().get(header::CONTENT_TYPE);
    let plain = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/plain"));
    match response.status() {
        status if plain && status.is_client_error() => Some(
            ApiError::new(status, format!("The request cannot be read: {path}")).before_handler(),
        ),
        StatusCode::NOT_FOUND if bare => Some(
            ApiError::not_found(format!("The resource could not be found: {path}"))
                .before_handler(),
        ),
        StatusCode::METHOD_NOT_ALLOWED if bare => {
            let mut error = ApiError::new(
                StatusCode::METHOD_NOT_ALLOWED,
                format!("The method is not allowed for this resource: {path}"),
            )
            .before_handler();
            if let Some(allow) = response.headers().get(header::ALLOW) {
                error = error.header(header::ALLOW, allow.clone());
            }
            Some(error)
        }
        _ => None,
    }
}

fn with_challenge(error: ApiError, origin: Option<&Origin>) -> ApiError {
    let identity = origin.map_or_else(|| IDENTITY.to_owned(), |origin| origin.service(IDENTITY));
    match HeaderValue::from_str(&format!("Keystone uri=\"{identity}\"")) {
        Ok(value) => error.header(header::WWW_AUTHENTICATE, value),
        Err(_) => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Named, Scope, Token};
    use axum::body::Body;
    use axum::routing::get;
    use tower::ServiceExt;

    struct One;

    #[async_trait::async_trait]
    impl TokenCheck for One {
        async fn check(&self, token: &str) -> Result<Arc<Token>, CheckError> {
            let named = |s: &str| Named {
                id: s.into(),
                name: s.into(),
            };
            if token != "good" {
                return Err(CheckError::Invalid);
            }
            Ok(Arc::new(Token {
                user: named("u"),
                user_domain: named("default"),
                scope: Scope::Unscoped,
                roles: vec![],
                methods: vec![],
                audit_ids: vec![],
                issued_at: jiff::Timestamp::UNIX_EPOCH,
                expires_at: jiff::Timestamp::UNIX_EPOCH,
                application_credential: None,
            }))
        }
    }

    async fn ask(path: &str, token: Option<&str>) -> Response {
        let routes = Router::new()
            .route(
                "/v1/me",
                get(|caller: Caller| async move { caller.user.id.clone() }),
            )
            .route(
                "/v1/panic",
                get(|| async {
                    if true {
                        panic!("on purpose")
                    }
                }),
            )
            .route("/", get(|| async { "open" }));
        let service = Service::new(Dialect::Image).tokens(Arc::new(One), |_, path| path == "/");
        let mut request = Request::builder().uri(path);
        if let Some(token) = token {
            request = request.header("X-Auth-Token", token);
        }
        service
            .wrap(routes)
            .oneshot(request.body(Body::empty()).unwrap())
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn tokens_come_before_paths() {
        assert_eq!(ask("/", None).await.status(), 200);
        for (path, token) in [
            ("/v1/me", None),
            ("/v1/nowhere", None),
            ("/v1/me", Some("bad")),
            ("/v1/me", Some("")),
        ] {
            let answer = ask(path, token).await;
            assert_eq!(answer.status(), 401, "{path} {token:?}");
            assert!(
                answer.headers()["www-authenticate"]
                    .to_str()
                    .unwrap()
                    .starts_with("Keystone uri=")
            );
        }
        assert_eq!(ask("/v1/me", Some("good")).await.status(), 200);
        let missing = ask("/v1/nowhere", Some("good")).await;
        assert_eq!(missing.status(), 404);
        assert_eq!(missing.headers()["content-type"], "application/json");
        assert!(
            missing.headers()["x-openstack-request-id"]
                .to_str()
                .unwrap()
                .starts_with("req-")
        );
    }

    #[tokio::test]
    async fn a_panic_is_a_500() {
        assert_eq!(ask("/v1/panic", Some("good")).await.status(), 500);
    }
}
