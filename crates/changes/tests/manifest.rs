//! `hot` and `changes` are pure: no async runtime and no network in their manifests.

use std::path::Path;

#[test]
fn templates_and_changes_need_no_runtime_and_no_network() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    for manifest in [here.join("Cargo.toml"), here.join("../hot/Cargo.toml")] {
        let text = std::fs::read_to_string(&manifest).unwrap();
        assert!(text.contains("[dependencies]"), "{}", manifest.display());
        for forbidden in ["tokio", "reqwest", "async", "hyper"] {
            assert!(
                !text.contains(forbidden),
                "{} names {forbidden}",
                manifest.display()
            );
        }
    }
}
