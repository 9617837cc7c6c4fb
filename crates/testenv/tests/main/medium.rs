//! Media and disks to start from: a shell with its libraries, and a script for the first process.

use std::fs;
use std::path::Path;
use std::process::Command;

use disk::gpt::{Gpt, kind, sectors_of};
use disk::iso::{Content, IsoImage};
use uuid::Uuid;

/// The programs of the host that scripts use, and the libraries that these need.
fn files() -> Vec<String> {
    let mut files = vec!["/bin/sh".to_owned(), "/bin/sleep".to_owned()];
    for program in files.clone() {
        let said = Command::new("ldd")
            .arg(program)
            .output()
            .expect("ldd starts");
        let text = String::from_utf8(said.stdout).expect("text");
        files.extend(
            text.split_whitespace()
                .filter(|word| word.starts_with('/'))
                .map(str::to_owned),
        );
    }
    files.sort();
    files.dedup();
    files
}

/// An ISO image whose `/init` is `script`.
pub fn iso(script: &str) -> Vec<u8> {
    let mut iso = IsoImage::new("deploy").expect("label");
    for file in files() {
        let content = Content::Bytes(fs::read(&file).expect("reads"));
        iso.file(file.trim_start_matches('/'), 0o755, content)
            .expect("adds");
    }
    iso.file(
        "init",
        0o755,
        Content::Bytes(format!("#!/bin/sh\n{script}").into_bytes()),
    )
    .expect("adds");
    iso.to_bytes().expect("makes")
}

/// A disk of 64 MiB with a root file system of 24 MiB whose init is `script`, and a config drive.
pub fn disk(path: &Path, script: &str, config: &str) {
    let tree = tempfile::tempdir().expect("directory");
    for file in files() {
        let target = tree.path().join(file.trim_start_matches('/'));
        fs::create_dir_all(target.parent().expect("has one")).expect("directory");
        fs::copy(&file, target).expect("copies");
    }
    let init = tree.path().join("sbin/init");
    for directory in ["usr", "etc", "sbin", "dev", "proc", "sys", "run", "tmp"] {
        fs::create_dir_all(tree.path().join(directory)).expect("directory");
    }
    fs::write(&init, format!("#!/bin/sh\n{script}")).expect("writes");
    fs::write(tree.path().join("etc/os-release"), "ID=test\n").expect("writes");
    Command::new("chmod")
        .arg("755")
        .arg(&init)
        .status()
        .expect("chmod starts");

    let disk = fs::File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)
        .expect("opens");
    disk.set_len(64 << 20).expect("size");
    let mut table = Gpt::new(Uuid::from_u128(7), sectors_of(&disk).expect("size"));
    let number = table
        .append(kind::ROOT_AMD64, Uuid::from_u128(8), "root", Some(60 << 20))
        .expect("room");
    let offset = table.partitions[number - 1]
        .as_ref()
        .expect("is there")
        .offset();
    table.write(&disk).expect("writes");
    let status = Command::new("mke2fs")
        .args(["-q", "-F", "-t", "ext4", "-d"])
        .arg(tree.path())
        .args(["-E", &format!("offset={offset}")])
        .arg(path)
        .arg("24m")
        .status()
        .expect("mke2fs starts");
    assert!(status.success());
    let mut drive = IsoImage::new("config-2").expect("label");
    let content = Content::Bytes(config.as_bytes().to_vec());
    drive
        .file("openstack/latest/meta_data.json", 0o600, content)
        .expect("adds");
    disk::config_drive::add_config_drive(&disk, &drive.to_bytes().expect("makes")).expect("room");
}
