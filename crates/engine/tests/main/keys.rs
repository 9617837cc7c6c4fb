//! Key pairs whose key nobody gave.

use crate::lab::{Lab, assert_state, caller, output, settled, want};

const KEYS: &str = "
heat_template_version: 2016-10-14
resources:
  kept: {type: OS::Nova::KeyPair, properties: {name: kept, save_private_key: true}}
  lost: {type: OS::Nova::KeyPair, properties: {name: lost}}
  given: {type: OS::Nova::KeyPair, properties: {name: given, public_key: ssh-rsa AAAA me, save_private_key: true}}
outputs:
  kept: {value: {get_attr: [kept, public_key]}}
  kept_private: {value: {get_attr: [kept, private_key]}}
  lost: {value: {get_attr: [lost, public_key]}}
  lost_private: {value: {get_attr: [lost, private_key]}}
  given: {value: {get_attr: [given, public_key]}}
  given_private: {value: {get_attr: [given, private_key]}}
";

#[tokio::test]
async fn a_pair_is_made_once_and_its_private_half_kept_only_if_asked_for() {
    let lab = Lab::new(1);
    let engine = lab.engine().await;
    let stack = engine.create(&caller(), want("s", KEYS)).await.unwrap();
    let stack = settled(&engine, stack.id).await;
    assert_state(&stack, "CREATE_COMPLETE");
    let text = |name: &str| output(&stack, name).as_text().unwrap().to_owned();
    assert!(
        text("kept").starts_with("ssh-ed25519 AAAA"),
        "{}",
        text("kept")
    );
    assert!(text("kept").ends_with(" kept"));
    assert!(text("kept_private").starts_with("-----BEGIN OPENSSH PRIVATE KEY-----\n"));
    assert!(text("lost").starts_with("ssh-ed25519 AAAA"));
    assert_ne!(text("lost"), text("kept"));
    assert_eq!(text("lost_private"), "");
    assert_eq!(
        (text("given").as_str(), text("given_private").as_str()),
        ("ssh-rsa AAAA me", "")
    );
    drop(engine);
    let engine = lab.engine().await;
    let again = settled(&engine, stack.id).await;
    assert_eq!(again.outputs, stack.outputs);
}

#[tokio::test]
async fn a_certificate_is_not_made() {
    let lab = Lab::new(1);
    let engine = lab.engine().await;
    let template = KEYS.replace("{name: lost}", "{name: lost, type: x509}");
    let stack = engine
        .create(&caller(), want("s", &template))
        .await
        .unwrap();
    let stack = settled(&engine, stack.id).await;
    assert_state(&stack, "CREATE_FAILED");
    assert!(
        stack
            .reason
            .contains("resources.lost: certificates are not generated here"),
        "{}",
        stack.reason
    );
}
