//! States: verbs, power, boot device, boot mode, RAID wishes, console.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use baremetal::{
    BootDevice, BootMode, MetalError, Node, Object, PowerTarget, Road, Verb, VerbRequest,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{StatusCode, header};
use openstack_api::{ApiError, JsonBody, parse_bool};
use serde_json::{Value, json};

use super::ask::Ask;
use super::rights::{Act, check};
use super::schema::{VERBS, too_new};
use super::{Api, fault, view};

/// Interfaces that have clean steps.
const STEP_INTERFACES: &[&str] = &["bios", "deploy", "firmware", "management", "power", "raid"];

pub(super) async fn show(
    ask: Ask,
    State(api): State<Api>,
    Path(ident): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let node = api.node(&ask, &ident, Act::See).await?;
    let whole = view::node(&ask, &api.metal, &node)?;
    let states: Object = [
        "power_state",
        "target_power_state",
        "provision_state",
        "target_provision_state",
        "provision_updated_at",
        "last_error",
        "console_enabled",
        "raid_config",
        "target_raid_config",
        "boot_mode",
        "secure_boot",
    ]
    .iter()
    .filter_map(|name| Some(((*name).to_owned(), whole.get(*name)?.clone())))
    .collect();
    Ok(Json(Value::Object(states)))
}

/// 202, and where to look.
fn accepted(ask: &Ask, node: &Node) -> Response {
    let location = format!("{}/v1/nodes/{}/states", ask.base, node.uuid);
    (StatusCode::ACCEPTED, [(header::LOCATION, location)]).into_response()
}

/// The object of a body, with no keys but these.
fn object(body: Value, keys: &[&str]) -> Result<Object, ApiError> {
    let Value::Object(body) = body else {
        return Err(ApiError::bad_request("A JSON object is expected."));
    };
    match body.keys().find(|key| !keys.contains(&key.as_str())) {
        None => Ok(body),
        Some(key) => Err(ApiError::bad_request(format!(
            "Additional properties are not allowed ('{key}' was unexpected)"
        ))),
    }
}

/// The text under `key`, which must be there.
fn text<'a>(body: &'a Object, key: &str) -> Result<&'a str, ApiError> {
    match body.get(key) {
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(ApiError::bad_request(format!(
            "Invalid value {other} for `{key}`: a text is expected."
        ))),
        None => Err(ApiError::bad_request(format!(
            "'{key}' is a required property"
        ))),
    }
}

fn wrong_verb(verb: &str, node: &Node) -> ApiError {
    fault::of(MetalError::WrongState {
        verb: verb.to_owned(),
        node: node.uuid.to_string(),
        state: node.provision_state,
    })
}

pub(super) async fn provision(
    ask: Ask,
    State(api): State<Api>,
    Path(ident): Path<String>,
    JsonBody(body): JsonBody<Value>,
) -> Result<Response, ApiError> {
    let body = object(
        body,
        &[
            "target",
            "configdrive",
            "clean_steps",
            "deploy_steps",
            "service_steps",
            "rescue_password",
            "disable_ramdisk",
            "runbook",
        ],
    )?;
    let word = text(&body, "target")?;
    let node = api.node(&ask, &ident, Act::See).await?;
    check(&ask, &node, &ident, Act::Drive)?;
    let verb = Verb::requested(word).ok_or_else(|| wrong_verb(word, &node))?;
    let since = VERBS.iter().find(|(name, _)| *name == word);
    if since.is_some_and(|(_, minor)| !ask.since(*minor)) {
        return Err(too_new(word));
    }
    if !verb.from().contains(&node.provision_state) {
        return Err(wrong_verb(word, &node));
    }
    let hardware = api.metal.hardware_of(&node).map_err(fault::of)?;
    let request = request_of(&ask, verb, &body, hardware.road())?;
    let node = api.metal.ask(node.uuid, request).await.map_err(fault::of)?;
    if verb == Verb::Rescue {
        note_rescue(&api, &node).await?;
    }
    Ok(accepted(&ask, &node))
}

/// The password itself is kept nowhere: a fake machine has nobody to tell it to.
async fn note_rescue(api: &Api, node: &Node) -> Result<(), ApiError> {
    let change = |node: &mut Node| {
        node.instance_info
            .insert("rescue_password".into(), json!(view::MASK));
        Ok(())
    };
    api.metal
        .update_node(node.uuid, change)
        .await
        .map(drop)
        .map_err(fault::of)
}

/// What goes with a verb: given where it belongs, refused where not.
fn request_of(ask: &Ask, verb: Verb, body: &Object, road: Road) -> Result<VerbRequest, ApiError> {
    let only = |key: &str, allowed: bool, verbs: &str| match body.get(key) {
        None | Some(Value::Null) => Ok(()),
        Some(_) if allowed => Ok(()),
        Some(_) => Err(ApiError::bad_request(format!(
            "\"{key}\" is only valid when setting target provision state to {verbs}."
        ))),
    };
    let deploys = matches!(verb, Verb::Deploy | Verb::Rebuild);
    only("configdrive", deploys, "active or rebuild")?;
    only("deploy_steps", deploys, "active or rebuild")?;
    only("clean_steps", verb == Verb::Clean, "clean")?;
    only("disable_ramdisk", verb == Verb::Clean, "clean")?;
    only("service_steps", false, "service")?;
    only("rescue_password", verb == Verb::Rescue, "rescue")?;
    if body.contains_key("disable_ramdisk") && !ask.since(70) {
        return Err(too_new("disable_ramdisk"));
    }
    let mut request = VerbRequest::from(verb);
    match verb {
        Verb::Clean => request.clean_steps = clean_steps(body.get("clean_steps"))?,
        Verb::Rescue => {
            let given = body.get("rescue_password").and_then(Value::as_str);
            if given.is_none_or(str::is_empty) {
                return Err(ApiError::bad_request(
                    "A non-empty \"rescue_password\" is required when setting target provision state to rescue.",
                ));
            }
        }
        Verb::Deploy | Verb::Rebuild => {
            request.config_drive = body
                .get("configdrive")
                .filter(|drive| !drive.is_null())
                .map(|drive| config_drive(ask, drive, road))
                .transpose()?
                .flatten();
        }
        Verb::Manage
        | Verb::Provide
        | Verb::Inspect
        | Verb::Adopt
        | Verb::Undeploy
        | Verb::Unrescue
        | Verb::Abort => {}
    }
    Ok(request)
}

fn clean_steps(steps: Option<&Value>) -> Result<Vec<Object>, ApiError> {
    let wrong = |why: String| ApiError::bad_request(format!("Invalid clean_steps: {why}"));
    let Some(Value::Array(steps)) = steps else {
        return Err(wrong(
            "\"clean_steps\" is required when setting target provision state to clean".into(),
        ));
    };
    if steps.is_empty() {
        return Err(wrong("the list is empty".into()));
    }
    steps
        .iter()
        .map(|step| {
            let object = step
                .as_object()
                .ok_or_else(|| wrong(format!("{step} is no object")))?;
            let keys = [
                "interface",
                "step",
                "args",
                "execute_on_child_nodes",
                "limit_child_node_execution",
            ];
            if let Some(key) = object.keys().find(|key| !keys.contains(&key.as_str())) {
                return Err(wrong(format!("unexpected key `{key}`")));
            }
            let interface = object.get("interface").and_then(Value::as_str);
            if !interface.is_some_and(|name| STEP_INTERFACES.contains(&name)) {
                return Err(wrong(format!(
                    "`interface` must be one of {}",
                    STEP_INTERFACES.join(", ")
                )));
            }
            if object
                .get("step")
                .and_then(Value::as_str)
                .is_none_or(str::is_empty)
            {
                return Err(wrong("`step` is missing".into()));
            }
            if object.get("args").is_some_and(|args| !args.is_object()) {
                return Err(wrong("`args` must be an object".into()));
            }
            Ok(object.clone())
        })
        .collect()
}

/// A config drive as clients send it: base64 of a (compressed) ISO image, or its parts as an object.
fn config_drive(ask: &Ask, drive: &Value, road: Road) -> Result<Option<Vec<u8>>, ApiError> {
    match drive {
        // Where there is no machine there is nobody to read it.
        Value::String(_) if road == Road::Immediate => Ok(None),
        Value::String(text) => {
            let packed: String = text.split_whitespace().collect();
            let bytes = STANDARD.decode(packed).map_err(|_| {
                ApiError::bad_request("Invalid configdrive: base64 of an ISO image is expected.")
            })?;
            if bytes.starts_with(&[0x1f, 0x8b]) {
                return Err(ApiError::bad_request(
                    "A compressed configdrive is not taken: send the ISO image itself in base64, or an object with meta_data, network_data and user_data.",
                ));
            }
            Ok(Some(bytes))
        }
        Value::Object(parts) if ask.since(56) => drive_of(parts).map(Some),
        Value::Object(_) => Err(too_new("configdrive as an object")),
        _ => Err(ApiError::bad_request(
            "`configdrive` must be a text or an object.",
        )),
    }
}

fn drive_of(parts: &Object) -> Result<Vec<u8>, ApiError> {
    if let Some(key) = parts.keys().find(|key| {
        !["meta_data", "network_data", "user_data", "vendor_data"].contains(&key.as_str())
    }) {
        return Err(ApiError::bad_request(format!(
            "Invalid configdrive: unexpected key `{key}`."
        )));
    }
    baremetal::config_drive(parts)
        .map_err(|why| ApiError::bad_request(format!("Invalid configdrive: {why}")))
}

pub(super) async fn power(
    ask: Ask,
    State(api): State<Api>,
    Path(ident): Path<String>,
    JsonBody(body): JsonBody<Value>,
) -> Result<Response, ApiError> {
    let body = object(body, &["target", "timeout"])?;
    let node = api.node(&ask, &ident, Act::Drive).await?;
    let word = text(&body, "target")?;
    let target = PowerTarget::parse(word).ok_or_else(|| wrong_verb(word, &node))?;
    let soft = matches!(target, PowerTarget::SoftOff | PowerTarget::SoftReboot);
    if (soft || body.contains_key("timeout")) && !ask.since(27) {
        return Err(too_new(if soft { word } else { "timeout" }));
    }
    match body.get("timeout") {
        None | Some(Value::Null) => {}
        Some(value) if value.as_u64().is_some_and(|seconds| seconds >= 1) => {}
        Some(value) => {
            return Err(ApiError::bad_request(format!(
                "Invalid value {value} for `timeout`: a positive integer is expected."
            )));
        }
    }
    let node = api
        .metal
        .ask_power(node.uuid, target)
        .await
        .map_err(fault::of)?;
    Ok(accepted(&ask, &node))
}

pub(super) async fn raid(
    ask: Ask,
    State(api): State<Api>,
    Path(ident): Path<String>,
    JsonBody(body): JsonBody<Value>,
) -> Result<StatusCode, ApiError> {
    let node = api.node(&ask, &ident, Act::Change).await?;
    let hardware = api.metal.hardware_of(&node).map_err(fault::of)?;
    if hardware.interfaces("raid").contains(&"no-raid") {
        return Err(ApiError::bad_request(format!(
            "Driver {} does not support raid (disabled or not implemented).",
            node.driver
        )));
    }
    let wanted = raid_config(body)?;
    let change = move |node: &mut Node| {
        node.target_raid_config = wanted;
        Ok(())
    };
    api.metal
        .update_node(node.uuid, change)
        .await
        .map_err(fault::of)?;
    Ok(StatusCode::NO_CONTENT)
}

fn raid_config(body: Value) -> Result<Object, ApiError> {
    let wrong = |why: &str| ApiError::bad_request(format!("Invalid RAID configuration: {why}"));
    let body = object(body, &["logical_disks"])?;
    if body.is_empty() {
        return Ok(body);
    }
    let Some(Value::Array(disks)) = body.get("logical_disks") else {
        return Err(wrong("`logical_disks` must be a list"));
    };
    let mut roots = 0;
    for disk in disks {
        let disk = disk
            .as_object()
            .ok_or_else(|| wrong("a disk is no object"))?;
        let size = disk.get("size_gb");
        if !size.is_some_and(|size| size.as_u64().is_some_and(|gib| gib > 0) || size == "MAX") {
            return Err(wrong("`size_gb` must be a positive integer or MAX"));
        }
        let levels = ["JBOD", "0", "1", "2", "5", "6", "1+0", "5+0", "6+0"];
        let level = disk.get("raid_level").and_then(Value::as_str);
        if !level.is_some_and(|level| levels.contains(&level)) {
            return Err(wrong("`raid_level` is not a known one"));
        }
        roots += usize::from(disk.get("is_root_volume") == Some(&json!(true)));
    }
    if roots > 1 {
        return Err(wrong("more than one disk is the root volume"));
    }
    Ok(body)
}

pub(super) async fn boot_mode(
    ask: Ask,
    State(api): State<Api>,
    Path(ident): Path<String>,
    JsonBody(body): JsonBody<Value>,
) -> Result<Response, ApiError> {
    let body = object(body, &["target"])?;
    let node = api.node(&ask, &ident, Act::Drive).await?;
    let word = text(&body, "target")?;
    let mode = BootMode::parse(word).ok_or_else(|| {
        ApiError::bad_request(format!(
            "Invalid boot mode {word} specified. Valid are bios and uefi."
        ))
    })?;
    api.metal
        .set_boot_mode(node.uuid, mode)
        .await
        .map_err(fault::of)?;
    Ok(accepted(&ask, &node))
}

pub(super) async fn secure_boot(
    ask: Ask,
    State(api): State<Api>,
    Path(ident): Path<String>,
    JsonBody(body): JsonBody<Value>,
) -> Result<Response, ApiError> {
    let body = object(body, &["target"])?;
    let node = api.node(&ask, &ident, Act::Drive).await?;
    let on = match body.get("target") {
        Some(Value::Bool(on)) => Some(*on),
        Some(Value::String(text)) => parse_bool(text),
        _ => None,
    };
    let on = on.ok_or_else(|| ApiError::bad_request("`target` must be a boolean."))?;
    api.metal
        .set_secure_boot(node.uuid, on)
        .await
        .map_err(fault::of)?;
    Ok(accepted(&ask, &node))
}

pub(super) async fn console(
    ask: Ask,
    State(api): State<Api>,
    Path(ident): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let node = api.node(&ask, &ident, Act::See).await?;
    Ok(Json(
        json!({"console_enabled": node.console_enabled, "console_info": null}),
    ))
}

pub(super) async fn set_console(
    ask: Ask,
    State(api): State<Api>,
    Path(ident): Path<String>,
    JsonBody(body): JsonBody<Value>,
) -> Result<Response, ApiError> {
    let body = object(body, &["enabled"])?;
    let node = api.node(&ask, &ident, Act::Drive).await?;
    let on = match body.get("enabled") {
        Some(Value::Bool(on)) => *on,
        _ => return Err(ApiError::bad_request("`enabled` must be a boolean.")),
    };
    let hardware = api.metal.hardware_of(&node).map_err(fault::of)?;
    if hardware.interfaces("console").contains(&"no-console") {
        return Err(ApiError::bad_request(format!(
            "Driver {} does not support console (disabled or not implemented).",
            node.driver
        )));
    }
    let change = move |node: &mut Node| {
        node.console_enabled = on;
        Ok(())
    };
    api.metal
        .update_node(node.uuid, change)
        .await
        .map_err(fault::of)?;
    Ok(accepted(&ask, &node))
}

pub(super) async fn boot_devices(
    ask: Ask,
    State(api): State<Api>,
    Path(ident): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let node = api.node(&ask, &ident, Act::See).await?;
    let hardware = api.metal.hardware_of(&node).map_err(fault::of)?;
    let words: Vec<&str> = hardware.boot_devices().iter().map(|it| it.word()).collect();
    Ok(Json(json!({"supported_boot_devices": words})))
}

pub(super) async fn boot_device(
    ask: Ask,
    State(api): State<Api>,
    Path(ident): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let node = api.node(&ask, &ident, Act::See).await?;
    let seen = api.metal.boot_device(node.uuid).await.map_err(fault::of)?;
    Ok(Json(json!({
        "boot_device": seen.device.map(BootDevice::word),
        "persistent": seen.persistent,
    })))
}

pub(super) async fn set_boot_device(
    ask: Ask,
    State(api): State<Api>,
    Path(ident): Path<String>,
    JsonBody(body): JsonBody<Value>,
) -> Result<StatusCode, ApiError> {
    let body = object(body, &["boot_device", "persistent"])?;
    let node = api.node(&ask, &ident, Act::Drive).await?;
    let word = text(&body, "boot_device")?;
    let hardware = api.metal.hardware_of(&node).map_err(fault::of)?;
    let device = BootDevice::parse(word)
        .filter(|device| hardware.boot_devices().contains(device))
        .ok_or_else(|| ApiError::bad_request(format!("Invalid boot device {word} specified.")))?;
    let persistent = match body.get("persistent") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(yes)) => *yes,
        Some(Value::String(text)) => parse_bool(text)
            .ok_or_else(|| ApiError::bad_request("`persistent` must be a boolean."))?,
        Some(_) => return Err(ApiError::bad_request("`persistent` must be a boolean.")),
    };
    api.metal
        .set_boot_device(node.uuid, device, persistent)
        .await
        .map_err(fault::of)?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn inject_nmi(
    ask: Ask,
    State(api): State<Api>,
    Path(ident): Path<String>,
) -> Result<StatusCode, ApiError> {
    let node = api.node(&ask, &ident, Act::Drive).await?;
    api.metal.inject_nmi(node.uuid).await.map_err(fault::of)?;
    Ok(StatusCode::NO_CONTENT)
}
