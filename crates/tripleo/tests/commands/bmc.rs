//! A BMC for the tests: one machine's power over Redfish, behind a password.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// What it lets in.
pub const PASSWORD: &str = "the-right-password";

/// `admin:the-right-password`, as basic authentication sends it.
const BASIC: &str = "Basic YWRtaW46dGhlLXJpZ2h0LXBhc3N3b3Jk";

/// Not every BMC has sessions, and this one has none.
const SESSIONS: &str = "/redfish/v1/SessionService/Sessions";

const SYSTEM: &str = "/redfish/v1/Systems/1";

/// A BMC that runs until it is dropped.
pub struct Bmc {
    pub address: String,
    _runtime: tokio::runtime::Runtime,
}

impl Bmc {
    pub fn start() -> Bmc {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let power = Arc::new(Mutex::new("Off".to_owned()));
        let router = Router::new().fallback(answer).with_state(power);
        runtime.spawn(async move { axum::serve(listener, router).await });
        Bmc {
            address,
            _runtime: runtime,
        }
    }
}

async fn answer(State(power): State<Arc<Mutex<String>>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().trim_end_matches('/').to_owned();
    let known = parts
        .headers
        .get("authorization")
        .is_some_and(|sent| sent == BASIC);
    let open = ["/redfish/v1", SESSIONS].contains(&path.as_str());
    if !open && !known {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let body = axum::body::to_bytes(body, 1 << 16).await.unwrap();
    let reset = format!("{SYSTEM}/Actions/ComputerSystem.Reset");
    let shown = match path.as_str() {
        "/redfish/v1" => json!({"Systems": {"@odata.id": "/redfish/v1/Systems"}}),
        "/redfish/v1/Systems" => json!({"Members": [{"@odata.id": SYSTEM}]}),
        SYSTEM => json!({
            "@odata.id": SYSTEM, "PowerState": *power.lock().unwrap(), "Boot": {},
            "Actions": {"#ComputerSystem.Reset": {"target": reset}},
        }),
        path if path == reset => {
            let asked: Value = serde_json::from_slice(&body).unwrap();
            let on = asked["ResetType"] == "On";
            *power.lock().unwrap() = if on { "On" } else { "Off" }.to_owned();
            return StatusCode::NO_CONTENT.into_response();
        }
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    ([("content-type", "application/json")], shown.to_string()).into_response()
}
