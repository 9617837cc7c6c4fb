//! The management controller of a machine: a Redfish service at an address of its own.
//!
//! Power, boot override, virtual media and inventory, as sushy and other clients of real controllers use
//! them. It knows the machine that it sits in and nothing of other machines or clouds.

mod actions;
mod error;
mod fetch;
mod resources;
mod sessions;
mod tls;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use subtle::ConstantTimeEq;
use tokio::net::TcpListener;

use crate::credentials::Credentials;
use crate::error::LabError;
use crate::machine::Machine;
use error::Refusal;
use sessions::Sessions;

/// The controller of one machine.
pub struct Controller {
    machine: Arc<Machine>,
    credentials: Credentials,
    sessions: Sessions,
}

/// A controller that listens.
pub struct Listening {
    router: Router,
    listener: TcpListener,
    tls: bool,
    address: IpAddr,
}

impl Controller {
    /// The controller of `machine`.
    pub fn new(machine: Arc<Machine>, credentials: Credentials) -> Self {
        Self {
            machine,
            credentials,
            sessions: Sessions::default(),
        }
    }

    /// Starts to listen.
    pub async fn listen(
        self,
        address: IpAddr,
        port: u16,
        tls: bool,
    ) -> Result<Listening, LabError> {
        let place = SocketAddr::new(address, port);
        let name = self.machine.spec.name.clone();
        let listener = TcpListener::bind(place)
            .await
            .map_err(LabError::io(format!(
                "listen at {place} for the controller of machine `{name}`"
            )))?;
        Ok(Listening {
            router: router(Arc::new(self)),
            listener,
            tls,
            address,
        })
    }

    fn knows(&self, user: &str, password: &str) -> bool {
        let user = user.as_bytes().ct_eq(self.credentials.username.as_bytes());
        let password = password
            .as_bytes()
            .ct_eq(self.credentials.password.as_bytes());
        (user & password).into()
    }

    fn allows(&self, request: &Request) -> bool {
        let headers = request.headers();
        if let Some(token) = headers.get("x-auth-token") {
            return token.to_str().is_ok_and(|token| self.sessions.has(token));
        }
        let basic = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok()?.strip_prefix("Basic "));
        let decoded =
            basic.and_then(|text| base64::engine::general_purpose::STANDARD.decode(text).ok());
        let text = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
        text.is_some_and(|text| {
            text.split_once(':')
                .is_some_and(|(user, password)| self.knows(user, password))
        })
    }
}

impl Listening {
    /// Serves until the lab ends.
    pub async fn serve(self) -> io::Result<()> {
        if self.tls {
            let listener = tls::TlsListener::new(self.listener, self.address)?;
            return axum::serve(listener, self.router).await;
        }
        axum::serve(self.listener, self.router).await
    }
}

fn router(controller: Arc<Controller>) -> Router {
    let system = "/redfish/v1/Systems/{system}";
    let media = "/redfish/v1/Managers/{manager}/VirtualMedia/{slot}";
    Router::new()
        .route(
            "/redfish/v1/SessionService/Sessions",
            get(resources::show).post(actions::open_session),
        )
        .route(
            "/redfish/v1/SessionService/Sessions/{id}",
            get(resources::show).delete(actions::close_session),
        )
        .route(system, get(resources::show).patch(actions::change_system))
        .route(
            &format!("{system}/Actions/ComputerSystem.Reset"),
            post(actions::reset),
        )
        .route(
            &format!("{media}/Actions/VirtualMedia.InsertMedia"),
            post(actions::insert_media),
        )
        .route(
            &format!("{media}/Actions/VirtualMedia.EjectMedia"),
            post(actions::eject_media),
        )
        .fallback(resources::show)
        .method_not_allowed_fallback(async || Refusal::method())
        .layer(middleware::from_fn_with_state(
            Arc::clone(&controller),
            gate,
        ))
        .with_state(controller)
}

/// Lets in who may come in, and marks every answer as Redfish's.
async fn gate(State(controller): State<Arc<Controller>>, request: Request, next: Next) -> Response {
    let path = request.uri().path().trim_end_matches('/');
    // The standard leaves these open: a client must find out how to log in.
    let open = matches!(path, "/redfish" | "/redfish/v1")
        || (path == "/redfish/v1/SessionService/Sessions" && request.method() == Method::POST);
    let mut response = if open || controller.allows(&request) {
        next.run(request).await
    } else {
        let mut response = Refusal::unauthorized().into_response();
        response.headers_mut().insert(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static("Basic realm=\"bmc\""),
        );
        response
    };
    response
        .headers_mut()
        .insert("odata-version", HeaderValue::from_static("4.0"));
    if response.status() != StatusCode::NO_CONTENT {
        response
            .headers_mut()
            .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}
