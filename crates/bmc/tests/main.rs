//! The client against a BMC that keeps real state over real HTTP, and misbehaves on request.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Method, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use bmc::{
    BmcError, BmcSettings, BootFrequency, BootTarget, Limits, PowerAction, PowerState, Redfish,
    Secret,
};
use serde_json::{Value, json};

#[derive(Default)]
struct Controller {
    power: String,
    boot: Value,
    image: Option<String>,
    /// Statuses that the next requests get instead of an answer.
    refuse: Vec<u16>,
    /// Looks at the power state before it changes.
    slow: u32,
    pending: Option<String>,
    lies: bool,
    hangs: bool,
    maker: &'static str,
    sessions: bool,
    wants_protocol: bool,
    tokens: Vec<String>,
    seen: Vec<(String, String, Value)>,
}

type Shared = Arc<Mutex<Controller>>;

async fn start(controller: Controller) -> (Shared, BmcSettings) {
    let shared: Shared = Arc::new(Mutex::new(Controller {
        power: "Off".into(),
        boot: json!({"BootSourceOverrideTarget": "None", "BootSourceOverrideEnabled": "Disabled"}),
        ..controller
    }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(answer).with_state(shared.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let mut settings = BmcSettings::new(address.parse().unwrap());
    settings.limits = Limits {
        connect: Duration::from_secs(2),
        request: Duration::from_millis(400),
        tries: 3,
        pause: Duration::from_millis(1),
        power: Duration::from_millis(200),
        poll: Duration::from_millis(1),
    };
    (shared, settings)
}

async fn answer(State(shared): State<Shared>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let bytes = axum::body::to_bytes(body, 1 << 16).await.unwrap();
    let body: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    let path = parts.uri.path().to_owned();
    if shared.lock().unwrap().hangs {
        std::future::pending::<()>().await;
    }
    let mut it = shared.lock().unwrap();
    it.seen
        .push((parts.method.to_string(), path.clone(), body.clone()));
    if let Some(status) = it.refuse.pop() {
        let error = json!({"error": {"message": "busy", "@Message.ExtendedInfo": [{"Message": "Come back later."}]}});
        return (StatusCode::from_u16(status).unwrap(), error.to_string()).into_response();
    }
    if path == "/redfish/v1/SessionService/Sessions" && parts.method == Method::POST {
        if !it.sessions {
            return StatusCode::NOT_FOUND.into_response();
        }
        if body["Password"] != "right" {
            return StatusCode::UNAUTHORIZED.into_response();
        }
        let token = format!("t{}", it.tokens.len());
        it.tokens.push(token.clone());
        return (StatusCode::CREATED, [("X-Auth-Token", token)], "{}").into_response();
    }
    if it.sessions {
        let token = parts
            .headers
            .get("x-auth-token")
            .map(|t| t.to_str().unwrap());
        if token.is_none() || it.tokens.last().map(String::as_str) != token {
            return StatusCode::UNAUTHORIZED.into_response();
        }
    }
    match (parts.method.as_str(), path.as_str()) {
        ("GET", path) => get(&mut it, path),
        ("PATCH", "/redfish/v1/Systems/1") => {
            let boot = body["Boot"].as_object().unwrap().clone();
            it.boot.as_object_mut().unwrap().extend(boot);
            StatusCode::NO_CONTENT.into_response()
        }
        ("POST", "/redfish/v1/Systems/1/Actions/ComputerSystem.Reset") => {
            let next = match body["ResetType"].as_str().unwrap() {
                "On" => "On",
                "ForceOff" => "Off",
                _ => return StatusCode::BAD_REQUEST.into_response(),
            };
            if !it.lies {
                it.pending = Some(next.into());
            }
            StatusCode::NO_CONTENT.into_response()
        }
        ("POST", "/redfish/v1/Managers/1/VirtualMedia/Cd/Actions/VirtualMedia.InsertMedia") => {
            if it.wants_protocol && body["TransferProtocolType"].is_null() {
                let text = r#"{"error": {"message": "TransferProtocolType is missing"}}"#;
                return (StatusCode::BAD_REQUEST, text).into_response();
            }
            it.image = body["Image"].as_str().map(str::to_owned);
            StatusCode::NO_CONTENT.into_response()
        }
        ("POST", "/redfish/v1/Managers/1/VirtualMedia/Cd/Actions/VirtualMedia.EjectMedia") => {
            it.image = None;
            StatusCode::NO_CONTENT.into_response()
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

fn get(it: &mut Controller, path: &str) -> Response {
    let member = |path: &str| json!({"Members": [{"@odata.id": path}]});
    let body = match path {
        "/redfish/v1/" => json!({"Systems": {"@odata.id": "/redfish/v1/Systems"}}),
        "/redfish/v1/Systems" => member("/redfish/v1/Systems/1"),
        "/redfish/v1/Systems/1" => {
            if it.slow > 0 {
                it.slow -= 1;
            } else if let Some(next) = it.pending.take() {
                it.power = next;
            }
            json!({
                "Manufacturer": it.maker,
                "PowerState": it.power,
                "Boot": it.boot,
                "MemorySummary": {"TotalSystemMemoryGiB": 1.5},
                "ProcessorSummary": {"CoreCount": 4},
                "EthernetInterfaces": {"@odata.id": "/nics"},
                "Storage": {"@odata.id": "/refused"},
                "SimpleStorage": {"@odata.id": "/simple"},
                "Links": {"ManagedBy": [{"@odata.id": "/redfish/v1/Managers/1"}]},
                "Actions": {"#ComputerSystem.Reset": {
                    "target": "/redfish/v1/Systems/1/Actions/ComputerSystem.Reset",
                    "ResetType@Redfish.AllowableValues": ["On", "ForceOff"]}},
            })
        }
        "/nics" => member("/nics/1"),
        "/nics/1" => json!({"Name": "eth0", "MACAddress": "52-54-00-AA-BB-CC"}),
        "/simple" => member("/simple/1"),
        "/simple/1" => {
            json!({"Devices": [{"Name": "sda", "CapacityBytes": 1000}, {"Name": "empty"}]})
        }
        "/redfish/v1/Managers/1" => json!({"VirtualMedia": {"@odata.id": "/media"}}),
        "/media" => json!({"Members": [{"@odata.id": "/media/kvm"}, {"@odata.id": "/media/cd"}]}),
        "/media/kvm" => json!({"MediaTypes": ["CD"], "Image": null}),
        "/media/cd" => json!({
        "MediaTypes": ["CD"], "Image": it.image, "Inserted": it.image.is_some(),
        "Actions": {
            "#VirtualMedia.InsertMedia": {"target": "/redfish/v1/Managers/1/VirtualMedia/Cd/Actions/VirtualMedia.InsertMedia"},
            "#VirtualMedia.EjectMedia": {"target": "/redfish/v1/Managers/1/VirtualMedia/Cd/Actions/VirtualMedia.EjectMedia"},
        }}),
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    axum::Json(body).into_response()
}

fn posts(shared: &Shared) -> usize {
    let seen = &shared.lock().unwrap().seen;
    seen.iter()
        .filter(|(method, path, _)| method == "POST" && path.ends_with("Reset"))
        .count()
}

#[tokio::test]
async fn power_is_polled_until_the_bmc_reports_it() {
    let (shared, settings) = start(Controller {
        slow: 5,
        ..Controller::default()
    })
    .await;
    let bmc = Redfish::new(settings).unwrap();
    assert_eq!(bmc.power_state().await.unwrap(), PowerState::Off);
    assert_eq!(
        bmc.set_power(PowerAction::On).await.unwrap(),
        PowerState::On
    );
    assert_eq!(posts(&shared), 1);
    bmc.set_power(PowerAction::On).await.unwrap();
    assert_eq!(posts(&shared), 1, "a machine that runs is left alone");
    bmc.set_power(PowerAction::Reboot).await.unwrap();
    assert_eq!(posts(&shared), 3);
}

#[tokio::test]
async fn a_bmc_that_lies_about_power_is_found_out() {
    let (_shared, settings) = start(Controller {
        lies: true,
        ..Controller::default()
    })
    .await;
    let address = settings.address.to_string();
    let error = Redfish::new(settings)
        .unwrap()
        .set_power(PowerAction::On)
        .await
        .unwrap_err();
    assert!(matches!(error, BmcError::PowerNotReached { .. }), "{error}");
    assert!(error.to_string().contains(address.trim_end_matches('/')));
    assert!(error.to_string().contains("power on"), "{error}");
}

#[tokio::test]
async fn a_busy_bmc_is_asked_again_and_not_for_ever() {
    let (shared, settings) = start(Controller {
        refuse: vec![503, 503],
        ..Controller::default()
    })
    .await;
    let bmc = Redfish::new(settings).unwrap();
    bmc.power_state().await.unwrap();
    shared.lock().unwrap().refuse = vec![503; 9];
    let error = bmc.power_state().await.unwrap_err();
    assert!(error.to_string().contains("Come back later."), "{error}");
    assert_eq!(shared.lock().unwrap().refuse.len(), 6, "three tries");
}

#[tokio::test]
async fn a_refusal_is_told_at_once_with_its_words() {
    let (shared, settings) = start(Controller::default()).await;
    let bmc = Redfish::new(settings).unwrap();
    bmc.power_state().await.unwrap();
    shared.lock().unwrap().refuse = vec![400, 400];
    let error = bmc
        .set_boot_override(BootTarget::Hdd, BootFrequency::Once)
        .await
        .unwrap_err();
    assert!(
        matches!(error, BmcError::Refused { status: 400, .. }),
        "{error}"
    );
    assert_eq!(shared.lock().unwrap().refuse.len(), 1);
}

#[tokio::test]
async fn a_hanging_bmc_ends_in_an_error_that_names_it() {
    let (shared, settings) = start(Controller::default()).await;
    shared.lock().unwrap().hangs = true;
    let address = settings.address.to_string();
    let error = Redfish::new(settings)
        .unwrap()
        .power_state()
        .await
        .unwrap_err();
    assert!(matches!(error, BmcError::TimedOut { .. }), "{error}");
    assert!(error.to_string().contains(address.trim_end_matches('/')));
    assert!(error.is_retryable());
}

#[tokio::test]
async fn nothing_listens() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let (_shared, mut settings) = start(Controller::default()).await;
    settings.address = format!("http://{address}").parse().unwrap();
    let error = Redfish::new(settings)
        .unwrap()
        .power_state()
        .await
        .unwrap_err();
    assert!(matches!(error, BmcError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn sessions_are_made_once_and_renewed_when_they_expire() {
    let (shared, mut settings) = start(Controller {
        sessions: true,
        ..Controller::default()
    })
    .await;
    settings.username = Some("admin".into());
    settings.password = Some(Secret::new("right"));
    let bmc = Redfish::new(settings.clone()).unwrap();
    bmc.power_state().await.unwrap();
    bmc.power_state().await.unwrap();
    assert_eq!(shared.lock().unwrap().tokens.len(), 1);
    shared.lock().unwrap().tokens.push("gone".into());
    bmc.power_state().await.unwrap();
    assert_eq!(shared.lock().unwrap().tokens.len(), 3);
    settings.password = Some(Secret::new("wrong"));
    let error = Redfish::new(settings)
        .unwrap()
        .power_state()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("`admin`"), "{error}");
    assert!(!format!("{error:?}").contains("wrong"));
}

#[tokio::test]
async fn media_go_into_the_slot_that_takes_urls_and_out_again() {
    let (shared, settings) = start(Controller {
        wants_protocol: true,
        ..Controller::default()
    })
    .await;
    let bmc = Redfish::new(settings).unwrap();
    bmc.insert_media("http://192.0.2.1/a.iso").await.unwrap();
    assert_eq!(bmc.media().await.unwrap(), ["http://192.0.2.1/a.iso"]);
    let before = shared.lock().unwrap().seen.len();
    bmc.insert_media("http://192.0.2.1/a.iso").await.unwrap();
    let repeated: Vec<_> = shared.lock().unwrap().seen[before..]
        .iter()
        .filter(|(method, _, _)| method == "POST")
        .cloned()
        .collect();
    assert!(
        repeated.is_empty(),
        "the same image is left in: {repeated:?}"
    );
    bmc.insert_media("http://192.0.2.1/b.iso").await.unwrap();
    assert_eq!(bmc.media().await.unwrap(), ["http://192.0.2.1/b.iso"]);
    bmc.eject_media().await.unwrap();
    bmc.eject_media().await.unwrap();
    assert!(bmc.media().await.unwrap().is_empty());
}

#[tokio::test]
async fn boot_overrides_reach_the_bmc_in_its_makers_words() {
    let (shared, settings) = start(Controller {
        maker: "Supermicro",
        ..Controller::default()
    })
    .await;
    let bmc = Redfish::new(settings).unwrap();
    bmc.set_boot_override(BootTarget::Cd, BootFrequency::Once)
        .await
        .unwrap();
    let boot = shared.lock().unwrap().boot.clone();
    assert_eq!(boot["BootSourceOverrideTarget"], "UsbCd");
    assert_eq!(boot["BootSourceOverrideEnabled"], "Once");
    assert_eq!(boot["BootSourceOverrideMode"], "UEFI");
    let read = bmc.boot_override().await.unwrap();
    assert_eq!(read.target, Some(BootTarget::UsbCd));
    assert_eq!(read.frequency, BootFrequency::Once);
}

#[tokio::test]
async fn a_target_that_is_not_allowed_is_refused_with_those_that_are() {
    let (shared, settings) = start(Controller::default()).await;
    shared.lock().unwrap().boot = json!({
        "BootSourceOverrideTarget@Redfish.AllowableValues": ["Pxe", "Hdd"]});
    let error = Redfish::new(settings)
        .unwrap()
        .set_boot_override(BootTarget::Cd, BootFrequency::Once)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("Pxe, Hdd"), "{error}");
}

#[tokio::test]
async fn inventory_takes_what_there_is() {
    let (_shared, settings) = start(Controller::default()).await;
    let inventory = Redfish::new(settings).unwrap().inventory().await.unwrap();
    assert_eq!(inventory.memory_mib, 1536);
    assert_eq!(inventory.threads(), 4);
    assert_eq!(inventory.nics[0].mac, "52:54:00:aa:bb:cc");
    assert_eq!(inventory.disks.len(), 1);
    assert_eq!(inventory.disks[0].bytes, 1000);
}

#[tokio::test]
async fn a_wrong_system_is_named() {
    let (_shared, mut settings) = start(Controller::default()).await;
    settings.system = Some("/redfish/v1/Systems/9".into());
    let error = Redfish::new(settings)
        .unwrap()
        .power_state()
        .await
        .unwrap_err();
    assert!(
        matches!(&error, BmcError::NoSystem { system, .. } if system.ends_with("/9")),
        "{error}"
    );
}

#[test]
fn addresses_with_paths_or_other_schemes_are_refused() {
    for address in ["ftp://192.0.2.1", "http://192.0.2.1/redfish/v1"] {
        let settings = BmcSettings::new(address.parse().unwrap());
        assert!(matches!(
            Redfish::new(settings),
            Err(BmcError::Address { .. })
        ));
    }
}
