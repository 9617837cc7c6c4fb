//! Machines start from media and from disks.

use std::fs;

use axum::Router;
use axum::routing::get;
use bmc::{BootFrequency, BootTarget, PowerAction};
use disk::gpt::Gpt;
use disk::root::{ext_size, root_partition};
use testenv::Reset;

use crate::lab::{Lab, OPERATOR, block_on, isolated, until};
use crate::medium;

/// Serves `image` where the operator is, and starts the machine from it.
pub fn start_from(lab: &Lab, image: Vec<u8>) {
    block_on(async {
        let listener = tokio::net::TcpListener::bind((OPERATOR, 0))
            .await
            .expect("listens");
        let url = format!(
            "http://{}/deploy.iso",
            listener.local_addr().expect("address")
        );
        let router = Router::new().route("/deploy.iso", get(async move || image.clone()));
        let server = tokio::spawn(async move { axum::serve(listener, router).await });
        let bmc = lab.bmc(None);
        bmc.insert_media(&url).await.expect("media");
        bmc.set_boot_override(BootTarget::Cd, BootFrequency::Once)
            .await
            .expect("boot override");
        bmc.set_power(PowerAction::On).await.expect("power");
        // The medium is copied while the machine starts; only then may it be taken out.
        until("the medium has been read", || {
            lab.is_off() || lab.activity() == "running from Cd"
        });
        bmc.eject_media().await.expect("ejects");
        server.abort();
    });
}

#[test]
fn a_medium_runs_writes_the_disk_and_switches_off() {
    isolated(
        "boot::a_medium_runs_writes_the_disk_and_switches_off",
        || {
            let lab = Lab::start(false, |_| ());
            let script = "read -r first </sys/class/net/host0/address\nread -r second </sys/class/net/host1/address\n\
            echo \"process $$ has $first and $second\"\nprintf written 1<>/dev/disk0\nprintf also 1<>/dev/disk1\n\
            [ -e /sys/class/net/t-prov ] && echo the network of the host\nexit 0\n";
            start_from(&lab, medium::iso(script));
            until("the machine is off", || lab.is_off());
            let console = lab.console();
            assert!(
                console.contains("process 1 has 52:54:00:00:00:01 and 52:54:00:00:00:02"),
                "{console}"
            );
            assert!(!console.contains("the network of the host"), "{console}");
            let first = fs::read(lab.disk(0)).expect("reads");
            assert_eq!(
                (first.len(), &first[..7]),
                (64 << 20, b"written".as_slice())
            );
            assert_eq!(&fs::read(lab.disk(1)).expect("reads")[..4], b"also");
            // The override was for one start, and the medium is gone.
            lab.client().power("node0", Reset::On).expect("power");
            until("the firmware complains", || {
                lab.console().contains("no medium inserted")
            });
        },
    );
}

#[test]
fn a_disk_starts_with_its_config_drive_and_fills_its_partition() {
    isolated(
        "boot::a_disk_starts_with_its_config_drive_and_fills_its_partition",
        || {
            let script = "read -r line </run/config-2/openstack/latest/meta_data.json\necho \"config drive: $line\"\n\
            echo kept >/kept\n(echo no >/run/config-2/x) 2>/dev/null || echo 'config drive is read-only'\n\
            trap 'echo asked to stop; exit 0' 37\nwhile :; do sleep 0.05; done\n";
            let lab = Lab::start(false, |state| {
                medium::disk(
                    &state.join("disks/node0-disk0.raw"),
                    script,
                    "{\"name\": \"ctl\"}",
                );
            });
            let client = lab.client();
            client.power("node0", Reset::On).expect("power");
            until("the system runs", || {
                lab.console().contains("config drive is read-only")
            });
            assert!(
                lab.console().contains("config drive: {\"name\": \"ctl\"}"),
                "{}",
                lab.console()
            );
            client
                .power("node0", Reset::GracefulShutdown)
                .expect("power");
            until("the machine is off", || lab.is_off());
            assert!(lab.console().contains("asked to stop"), "{}", lab.console());

            let disk = fs::File::open(lab.disk(0)).expect("opens");
            assert_eq!(disk.metadata().expect("size").len(), 64 << 20);
            let table = Gpt::read(&disk).expect("a table");
            assert!(disk::config_drive::find_config_drive(&table).is_some());
            let (_, root) = root_partition(&table).expect("a root");
            assert_eq!(ext_size(&disk, root.offset()), Some(60 << 20));
        },
    );
}

#[test]
fn a_machine_whose_power_was_cut_starts_again() {
    isolated("boot::a_machine_whose_power_was_cut_starts_again", || {
        let lab = Lab::start(false, |state| {
            let script = "echo it runs\nwhile :; do sleep 0.05; done\n";
            medium::disk(&state.join("disks/node0-disk0.raw"), script, "{}");
        });
        let client = lab.client();
        for start in 1..=3 {
            client.power("node0", Reset::On).expect("power");
            until("the system runs", || {
                lab.console().matches("it runs").count() == start
            });
            client.power("node0", Reset::ForceOff).expect("power");
            until("the machine is off", || lab.is_off());
        }
    });
}
