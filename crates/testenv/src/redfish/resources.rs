//! What can be read: one table of paths, each giving its resource.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{Method, Uri};
use serde_json::{Value, json};

use super::error::Refusal;
use super::{Controller, sessions};
use crate::boot::Device;
use crate::machine::{Lasting, Machine, Power};

/// The only manager and the only chassis of a service.
pub const MANAGER: &str = "bmc";

/// Gives the resource at a path.
pub async fn show(
    State(controller): State<Arc<Controller>>,
    method: Method,
    uri: Uri,
) -> Result<Json<Value>, Refusal> {
    let missing = || Refusal::missing(uri.path());
    if method != Method::GET && method != Method::HEAD {
        return Err(Refusal::method());
    }
    let path: Vec<_> = uri
        .path()
        .split('/')
        .filter(|part| !part.is_empty())
        .collect();
    let Some(("redfish", path)) = path.split_first().map(|(first, rest)| (*first, rest)) else {
        return Err(missing());
    };
    let machine = &controller.machine;
    let id = machine.spec.uuid.to_string();
    let found = match path {
        [] => Some(json!({"v1": "/redfish/v1/"})),
        ["v1"] => Some(root(machine)),
        ["v1", "SessionService"] => Some(session_service()),
        ["v1", "SessionService", "Sessions"] => Some(collection(
            "SessionService/Sessions",
            "SessionCollection",
            &controller.sessions.ids(),
        )),
        ["v1", "SessionService", "Sessions", wanted] => {
            let open = controller.sessions.ids().iter().any(|id| id == wanted);
            open.then(|| session(wanted, &controller.credentials.username))
        }
        ["v1", "Systems"] => Some(collection("Systems", "ComputerSystemCollection", &[id])),
        ["v1", "Systems", wanted, below @ ..] if *wanted == id => below_system(machine, below),
        ["v1", "Managers"] => Some(collection(
            "Managers",
            "ManagerCollection",
            &[MANAGER.to_owned()],
        )),
        ["v1", "Managers", MANAGER, below @ ..] => below_manager(machine, below),
        ["v1", "Chassis"] => Some(collection(
            "Chassis",
            "ChassisCollection",
            &[MANAGER.to_owned()],
        )),
        ["v1", "Chassis", MANAGER] => Some(chassis(machine)),
        _ => None,
    };
    found.map(Json).ok_or_else(missing)
}

fn link(path: &str) -> Value {
    json!({"@odata.id": format!("/redfish/v1/{path}")})
}

fn resource(path: &str, kind: &str, name: &str, more: Value) -> Value {
    let id = path.rsplit('/').next().unwrap_or(path);
    let mut shown = json!({
        "@odata.id": format!("/redfish/v1/{path}"),
        "@odata.type": format!("#{kind}"),
        "Id": id,
        "Name": name,
    });
    if let (Value::Object(shown), Value::Object(more)) = (&mut shown, more) {
        shown.extend(more);
    }
    shown
}

fn collection(path: &str, kind: &str, ids: &[String]) -> Value {
    let members: Vec<_> = ids.iter().map(|id| link(&format!("{path}/{id}"))).collect();
    json!({
        "@odata.id": format!("/redfish/v1/{path}"),
        "@odata.type": format!("#{kind}.{kind}"),
        "Name": kind,
        "Members@odata.count": members.len(),
        "Members": members,
    })
}

fn healthy() -> Value {
    json!({"State": "Enabled", "Health": "OK"})
}

fn root(machine: &Machine) -> Value {
    json!({
        "@odata.id": "/redfish/v1/",
        "@odata.type": "#ServiceRoot.v1_15_0.ServiceRoot",
        "Id": "RootService",
        "Name": "Root Service",
        "RedfishVersion": "1.15.0",
        "UUID": machine.spec.uuid,
        "Vendor": "TripleO",
        "Product": "testenv",
        "Systems": link("Systems"),
        "Managers": link("Managers"),
        "Chassis": link("Chassis"),
        "SessionService": link("SessionService"),
        "Links": {"Sessions": link("SessionService/Sessions")},
        "ProtocolFeaturesSupported": {"FilterQuery": false, "SelectQuery": false, "OnlyMemberQuery": false},
    })
}

fn session_service() -> Value {
    let more = json!({
        "ServiceEnabled": true,
        "SessionTimeout": sessions::TIMEOUT,
        "Status": healthy(),
        "Sessions": link("SessionService/Sessions"),
    });
    resource(
        "SessionService",
        "SessionService.v1_1_8.SessionService",
        "Session Service",
        more,
    )
}

/// A session.
pub fn session(id: &str, user: &str) -> Value {
    let path = format!("SessionService/Sessions/{id}");
    resource(
        &path,
        "Session.v1_5_0.Session",
        "User Session",
        json!({"UserName": user}),
    )
}

/// The machine.
pub fn system(machine: &Machine) -> Value {
    let spec = &machine.spec;
    let path = format!("Systems/{}", spec.uuid);
    let boot = machine.boot_override();
    let target = boot
        .device
        .map_or_else(|| "None".to_owned(), |device| format!("{device:?}"));
    let lasting = if boot.device.is_none() {
        Lasting::Disabled
    } else {
        boot.lasting
    };
    // Redfish's words for the power; a button that was pressed is not off yet.
    let power = match machine.power() {
        Power::Off => "Off",
        Power::On => "On",
        Power::PoweringOff => "PoweringOff",
    };
    let below = |name: &str| link(&format!("{path}/{name}"));
    let more = json!({
        "SystemType": "Physical",
        "Manufacturer": "TripleO",
        "Model": "testenv",
        "SerialNumber": spec.name,
        "HostName": spec.name,
        "UUID": spec.uuid,
        "PowerState": power,
        "Status": healthy(),
        "BiosVersion": "1",
        "Boot": {
            "BootSourceOverrideEnabled": lasting,
            "BootSourceOverrideTarget": target,
            "BootSourceOverrideTarget@Redfish.AllowableValues": ["None", Device::Pxe, Device::Cd, Device::Hdd],
            "BootSourceOverrideMode": "UEFI",
            "BootSourceOverrideMode@Redfish.AllowableValues": ["UEFI", "Legacy"],
        },
        "ProcessorSummary": {"Count": 1, "CoreCount": spec.cpus, "LogicalProcessorCount": spec.cpus, "Model": "host", "Status": healthy()},
        "MemorySummary": {"TotalSystemMemoryGiB": gib(spec.memory_mib), "Status": healthy()},
        "Processors": below("Processors"),
        "Memory": below("Memory"),
        "EthernetInterfaces": below("EthernetInterfaces"),
        "SimpleStorage": below("SimpleStorage"),
        "Storage": below("Storage"),
        "Links": {"Chassis": [link("Chassis/bmc")], "ManagedBy": [link("Managers/bmc")]},
        "Actions": {"#ComputerSystem.Reset": {
            "target": format!("/redfish/v1/{path}/Actions/ComputerSystem.Reset"),
            "ResetType@Redfish.AllowableValues": [
                "On", "ForceOn", "ForceOff", "GracefulShutdown", "GracefulRestart", "ForceRestart", "PowerCycle",
            ],
        }},
    });
    resource(
        &path,
        "ComputerSystem.v1_20_0.ComputerSystem",
        &spec.name,
        more,
    )
}

/// GiB with its fraction, as the property wants it; a whole number where it is one.
fn gib(mib: u64) -> Value {
    if mib.is_multiple_of(1024) {
        json!(mib / 1024)
    } else {
        json!(mib as f64 / 1024.0)
    }
}

/// The number of one of `count` parts.
fn number(text: &str, count: usize) -> Option<usize> {
    text.parse().ok().filter(|number| *number < count)
}

fn below_system(machine: &Machine, below: &[&str]) -> Option<Value> {
    let spec = &machine.spec;
    let base = format!("Systems/{}", spec.uuid);
    let at = |name: &str| format!("{base}/{name}");
    let numbers = |count: usize| {
        (0..count)
            .map(|number| number.to_string())
            .collect::<Vec<_>>()
    };
    let one = || vec!["1".to_owned()];
    Some(match below {
        [] => system(machine),
        ["EthernetInterfaces"] => collection(
            &at("EthernetInterfaces"),
            "EthernetInterfaceCollection",
            &numbers(spec.nics.len()),
        ),
        ["EthernetInterfaces", text] => {
            let index = number(text, spec.nics.len())?;
            let mac = &spec.nics[index].mac;
            let more = json!({"MACAddress": mac, "PermanentMACAddress": mac, "InterfaceEnabled": true,
                "LinkStatus": "LinkUp", "SpeedMbps": 10000, "Status": healthy()});
            let path = at(&format!("EthernetInterfaces/{index}"));
            resource(
                &path,
                "EthernetInterface.v1_9_0.EthernetInterface",
                &format!("host{index}"),
                more,
            )
        }
        ["Processors"] => collection(&at("Processors"), "ProcessorCollection", &one()),
        ["Processors", "1"] => {
            let more = json!({"ProcessorType": "CPU", "ProcessorArchitecture": "x86", "InstructionSet": "x86-64",
                "TotalCores": spec.cpus, "TotalThreads": spec.cpus, "Status": healthy()});
            resource(
                &at("Processors/1"),
                "Processor.v1_18_0.Processor",
                "Processor",
                more,
            )
        }
        ["Memory"] => collection(&at("Memory"), "MemoryCollection", &one()),
        ["Memory", "1"] => {
            let more =
                json!({"CapacityMiB": spec.memory_mib, "MemoryType": "DRAM", "Status": healthy()});
            resource(&at("Memory/1"), "Memory.v1_17_0.Memory", "Memory", more)
        }
        _ => return disks_below_system(machine, below),
    })
}

/// Disks in both forms that clients look for.
fn disks_below_system(machine: &Machine, below: &[&str]) -> Option<Value> {
    let spec = &machine.spec;
    let base = format!("Systems/{}", spec.uuid);
    let at = |name: &str| format!("{base}/{name}");
    let one = || vec!["1".to_owned()];
    Some(match below {
        ["SimpleStorage"] => collection(&at("SimpleStorage"), "SimpleStorageCollection", &one()),
        ["SimpleStorage", "1"] => {
            let devices = spec.disks.iter().enumerate();
            let devices: Vec<_> = devices
                .map(|(index, disk)| json!({"Name": format!("disk{index}"), "CapacityBytes": disk.size_mib << 20, "Status": healthy()}))
                .collect();
            resource(
                &at("SimpleStorage/1"),
                "SimpleStorage.v1_3_1.SimpleStorage",
                "Disks",
                json!({"Devices": devices}),
            )
        }
        ["Storage"] => collection(&at("Storage"), "StorageCollection", &one()),
        ["Storage", "1"] => storage(&at("Storage/1"), spec.disks.len()),
        ["Storage", "1", "Volumes"] => {
            collection(&at("Storage/1/Volumes"), "VolumeCollection", &[])
        }
        ["Storage", "1", "Drives", text] => {
            let index = number(text, spec.disks.len())?;
            let more = json!({"CapacityBytes": spec.disks[index].size_mib << 20, "MediaType": "SSD", "Protocol": "SATA",
                "SerialNumber": format!("{}-disk{index}", spec.name), "Status": healthy()});
            resource(
                &at(&format!("Storage/1/Drives/{index}")),
                "Drive.v1_17_0.Drive",
                &format!("disk{index}"),
                more,
            )
        }
        _ => return None,
    })
}

fn storage(path: &str, count: usize) -> Value {
    let drives: Vec<_> = (0..count)
        .map(|index| link(&format!("{path}/Drives/{index}")))
        .collect();
    let more = json!({"Drives": drives, "Drives@odata.count": count, "Volumes": link(&format!("{path}/Volumes")),
        "StorageControllers": [], "Status": healthy()});
    resource(path, "Storage.v1_15_0.Storage", "Disks", more)
}

fn below_manager(machine: &Machine, below: &[&str]) -> Option<Value> {
    match below {
        [] => Some(manager(machine)),
        ["VirtualMedia"] => Some(collection(
            "Managers/bmc/VirtualMedia",
            "VirtualMediaCollection",
            &["Cd".to_owned()],
        )),
        ["VirtualMedia", "Cd"] => Some(drive(machine)),
        _ => None,
    }
}

fn manager(machine: &Machine) -> Value {
    let more = json!({
        "ManagerType": "BMC",
        "Model": "testenv",
        "FirmwareVersion": env!("CARGO_PKG_VERSION"),
        "UUID": machine.spec.uuid,
        "Status": healthy(),
        "VirtualMedia": link("Managers/bmc/VirtualMedia"),
        "Links": {
            "ManagerForServers": [link(&format!("Systems/{}", machine.spec.uuid))],
            "ManagerForChassis": [link("Chassis/bmc")],
        },
    });
    resource("Managers/bmc", "Manager.v1_18_0.Manager", "Manager", more)
}

fn drive(machine: &Machine) -> Value {
    let path = "Managers/bmc/VirtualMedia/Cd";
    let media = machine.media();
    // The query of the address may carry a secret; it is not shown.
    let url = media.as_ref().map(|media| {
        media
            .url
            .split_once('?')
            .map_or(media.url.as_str(), |(front, _)| front)
    });
    let name = url.and_then(|url| url.rsplit('/').next());
    let action =
        |name: &str| json!({"target": format!("/redfish/v1/{path}/Actions/VirtualMedia.{name}")});
    let more = json!({
        "MediaTypes": ["CD", "DVD"],
        "Image": url,
        "ImageName": name,
        "Inserted": media.is_some(),
        "ConnectedVia": if media.is_some() { "URI" } else { "NotConnected" },
        "WriteProtected": true,
        "TransferMethod": "Stream",
        "VerifyCertificate": false,
        "Actions": {"#VirtualMedia.InsertMedia": action("InsertMedia"), "#VirtualMedia.EjectMedia": action("EjectMedia")},
    });
    resource(path, "VirtualMedia.v1_6_0.VirtualMedia", "Virtual CD", more)
}

fn chassis(machine: &Machine) -> Value {
    let more = json!({
        "ChassisType": "RackMount",
        "Manufacturer": "TripleO",
        "SerialNumber": machine.spec.name,
        "PowerState": if machine.power() == Power::Off { "Off" } else { "On" },
        "Status": healthy(),
        "Links": {
            "ComputerSystems": [link(&format!("Systems/{}", machine.spec.uuid))],
            "ManagedBy": [link("Managers/bmc")],
        },
    });
    resource("Chassis/bmc", "Chassis.v1_23_0.Chassis", "Chassis", more)
}
