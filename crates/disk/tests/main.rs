//! What this crate writes, seen by the programs of the distribution.

use std::fs::File;
use std::path::Path;
use std::process::Command;

use disk::gpt::{Gpt, kind, sectors_of};
use disk::iso::{Content, IsoImage};
use uuid::Uuid;

fn said(command: &mut Command) -> String {
    let output = command.output().expect("the program is installed");
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn blkid_knows_our_iso() {
    let top = tempfile::tempdir().expect("folder");
    let path = top.path().join("config.iso");
    let mut iso = IsoImage::new("config-2").expect("label");
    iso.file(
        "openstack/latest/meta_data.json",
        0o644,
        Content::Bytes(b"{}".to_vec()),
    )
    .expect("file");
    iso.write_to(&mut File::create(&path).expect("file"))
        .expect("writes");
    let seen = said(
        Command::new("blkid")
            .args(["-p", "-o", "export"])
            .arg(&path),
    );
    assert!(
        seen.contains("\nLABEL=config-2\n") && seen.contains("\nTYPE=iso9660\n"),
        "{seen}"
    );
}

#[test]
fn sfdisk_finds_nothing_wrong_and_ext4_is_sound() {
    let top = tempfile::tempdir().expect("folder");
    let path = top.path().join("disk.raw");
    let image = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .expect("file");
    image.set_len(64 << 20).expect("size");
    let mut table = Gpt::new(Uuid::from_u128(1), sectors_of(&image).expect("size"));
    table
        .append(kind::ESP, Uuid::from_u128(2), "esp", Some(8 << 20))
        .expect("room");
    table
        .append(kind::ROOT_AMD64, Uuid::from_u128(3), "root", None)
        .expect("room");
    table.write(&image).expect("writes");
    let seen = said(Command::new("sfdisk").arg("--verify").arg(&path));
    assert!(seen.contains("No errors detected"), "{seen}");

    let tree = top.path().join("tree");
    std::fs::create_dir_all(tree.join("etc")).expect("folder");
    std::fs::write(tree.join("etc/hostname"), "node\n").expect("file");
    let (_, root) = table.named("root").expect("there");
    let wanted = disk::ext4::Ext4 {
        label: "root-fs".to_owned(),
        uuid: Some(Uuid::from_u128(4)),
        options: vec![
            "-J".to_owned(),
            "size=4".to_owned(),
            "-E".to_owned(),
            "nodiscard".to_owned(),
        ],
    };
    let size = root.size() / 4096 * 4096;
    disk::ext4::make(&tree, &path, root.offset(), size, &wanted).expect("makes");
    let device = format!("{}?offset={}", path.display(), root.offset());
    said(Command::new("e2fsck").args(["-fn", &device]));
    let text = said(Command::new("debugfs").args(["-R", "cat /etc/hostname", &device]));
    assert_eq!(text, "node\n");
    assert_eq!(disk::root::ext_size(&image, root.offset()), Some(size));
    assert_eq!(disk::root::ext_size(&image, 0), None);
}

#[test]
fn an_error_names_the_program_and_what_it_said() {
    let wanted = disk::ext4::Ext4 {
        label: "x".to_owned(),
        uuid: None,
        options: Vec::new(),
    };
    let error = disk::ext4::make(
        Path::new("/nonexistent/tree"),
        Path::new("/nonexistent/image"),
        0,
        1 << 20,
        &wanted,
    )
    .expect_err("there is no tree");
    assert!(error.to_string().starts_with("`mke2fs` failed"), "{error}");
}
