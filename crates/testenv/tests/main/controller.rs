//! The controller, judged by the client that drives real ones.

use bmc::{BootFrequency, BootTarget, PowerAction, PowerState};

use crate::lab::{Lab, OPERATOR, block_on, isolated};

async fn drives_the_machine(lab: &Lab) {
    let bmc = lab.bmc(None);
    let inventory = bmc.inventory().await.expect("inventory");
    assert_eq!(inventory.memory_mib, 256);
    assert_eq!(inventory.threads(), 2);
    let macs: Vec<_> = inventory.nics.iter().map(|nic| nic.mac.as_str()).collect();
    assert_eq!(macs, ["52:54:00:00:00:01", "52:54:00:00:00:02"]);
    let sizes: Vec<_> = inventory.disks.iter().map(|disk| disk.bytes).collect();
    assert_eq!(sizes, [64 << 20, 8 << 20]);

    bmc.set_boot_override(BootTarget::Cd, BootFrequency::Once)
        .await
        .expect("boot override");
    assert_eq!(
        bmc.boot_override().await.expect("reads").target,
        Some(BootTarget::Cd)
    );
    assert_eq!(
        bmc.set_power(PowerAction::On).await.expect("power"),
        PowerState::On
    );
    assert_eq!(
        bmc.boot_override().await.expect("reads").frequency,
        BootFrequency::Disabled
    );
    bmc.set_power(PowerAction::Reboot).await.expect("power");
    bmc.set_power(PowerAction::Off).await.expect("power");
    assert!(lab.is_off());
    assert!(
        lab.console().contains("no bootable medium"),
        "{}",
        lab.console()
    );
}

#[test]
fn a_client_of_real_controllers_drives_the_machine() {
    isolated(
        "controller::a_client_of_real_controllers_drives_the_machine",
        || {
            let lab = Lab::start(false, |_| ());
            block_on(async {
                drives_the_machine(&lab).await;
                let refused = lab.bmc(Some("wrong")).power_state().await;
                assert!(refused.is_err(), "a wrong password opens the controller");
            });
        },
    );
}

#[test]
fn controllers_speak_https() {
    isolated("controller::controllers_speak_https", || {
        let lab = Lab::start(true, |_| ());
        block_on(drives_the_machine(&lab));
    });
}

#[test]
fn an_image_that_cannot_be_fetched_is_refused_with_its_address() {
    isolated(
        "controller::an_image_that_cannot_be_fetched_is_refused_with_its_address",
        || {
            let lab = Lab::start(false, |_| ());
            // Nobody listens there.
            let url = format!("http://{OPERATOR}:9/none.iso");
            let refused = block_on(lab.bmc(None).insert_media(&url)).expect_err("refused");
            let mut said = refused.to_string();
            let mut cause = std::error::Error::source(&refused);
            while let Some(inner) = cause {
                said += &inner.to_string();
                cause = inner.source();
            }
            assert!(said.contains(&url), "{said}");
        },
    );
}
