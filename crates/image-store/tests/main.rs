//! Uploads, conversions and crashes, on a directory and a database of their own.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use image_store::{Blob, ImageError, ImageStore, MIGRATIONS};
use store::Store;

async fn open(dir: &Path) -> ImageStore {
    let store = Store::open(&dir.join("db"), &[MIGRATIONS]).unwrap();
    ImageStore::open(store, &dir.join("images")).await.unwrap()
}

async fn upload(images: &ImageStore, owner: &str, chunks: &[&[u8]]) -> Blob {
    let mut upload = images.upload();
    for chunk in chunks {
        upload.push(Bytes::copy_from_slice(chunk)).await.unwrap();
    }
    upload.finish(owner).await.unwrap()
}

fn files(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir.join("images"))
        .unwrap()
        .chain(fs::read_dir(dir.join("images/incoming")).unwrap())
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name != "incoming")
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn content_is_kept_once_and_goes_with_its_last_user() {
    let dir = tempfile::tempdir().unwrap();
    let images = open(dir.path()).await;
    let blob = upload(&images, "a", &[b"he", b"llo"]).await;
    assert_eq!(blob.md5, "5d41402abc4b2a76b9719d911017c592");
    assert_eq!(
        blob.sha256,
        "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    );
    assert!(blob.sha512.starts_with("9b71d224bd62f378"));
    assert_eq!(upload(&images, "b", &[b"hello"]).await, blob);
    assert_eq!(files(dir.path()), std::slice::from_ref(&blob.sha256));
    let mode = fs::metadata(dir.path().join("images").join(&blob.sha256))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    images.release("a").await.unwrap();
    assert_eq!(images.open_blob(&blob.sha256).await.unwrap().1, 5);
    images.release("b").await.unwrap();
    assert!(matches!(
        images.open_blob(&blob.sha256).await,
        Err(ImageError::Missing { .. })
    ));
    assert_eq!(files(dir.path()), Vec::<String>::new());
}

#[tokio::test]
async fn a_broken_upload_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let images = open(dir.path()).await;
    let mut broken = images.upload();
    broken.push(Bytes::from_static(b"half")).await.unwrap();
    drop(broken);
    // The writer sees the end a moment later; opening again does not depend on that moment.
    let images = open(dir.path()).await;
    assert_eq!(images.used_by("x").await.unwrap(), None);
    assert!(files(dir.path()).iter().all(|name| name.len() != 64));
}

#[tokio::test]
async fn what_a_crash_left_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let images = open(dir.path()).await;
    let blob = upload(&images, "a", &[b"kept"]).await;
    drop(images);
    fs::write(dir.path().join("images/incoming/torn"), "x").unwrap();
    // Renamed, not entered.
    fs::write(dir.path().join("images").join("ab".repeat(32)), "x").unwrap();
    let images = open(dir.path()).await;
    assert_eq!(files(dir.path()), std::slice::from_ref(&blob.sha256));
    assert_eq!(
        images.used_by("a").await.unwrap().unwrap().sha256,
        blob.sha256
    );
}

#[tokio::test]
async fn zeros_take_no_room_and_are_no_extent() {
    let dir = tempfile::tempdir().unwrap();
    let images = open(dir.path()).await;
    let zeros = vec![0u8; 1 << 20];
    let mut odd = vec![0u8; 3 << 20];
    odd[(2 << 20) + 5] = 1;
    // Chunks that do not end where blocks do.
    let blob = upload(&images, "a", &[&zeros, &odd[..1000], &odd[1000..], &zeros]).await;
    let metadata = fs::metadata(dir.path().join("images").join(&blob.sha256)).unwrap();
    assert_eq!(metadata.len(), 5 << 20);
    assert!(
        metadata.blocks() * 512 <= 256 << 10,
        "{}",
        metadata.blocks()
    );
    let extents = images.extents(&blob.sha256).await.unwrap();
    let at = (3 << 20) + 5;
    assert_eq!(extents.len(), 1);
    assert!(extents[0].offset <= at && at < extents[0].offset + extents[0].length);
}

#[tokio::test]
async fn handing_over_keeps_the_content() {
    let dir = tempfile::tempdir().unwrap();
    let images = open(dir.path()).await;
    let blob = upload(&images, "stage:a", &[b"data"]).await;
    images.hand_over("stage:a", "a").await.unwrap();
    assert_eq!(images.used_by("stage:a").await.unwrap(), None);
    assert_eq!(images.used_by("a").await.unwrap(), Some(blob));
}

fn qcow2(dir: &Path, extra: &[&str]) -> Vec<u8> {
    let path = dir.join("made.qcow2");
    let _ = fs::remove_file(&path);
    let made = Command::new("qemu-img")
        .args(["create", "-q", "-f", "qcow2"])
        .args(extra)
        .arg(&path)
        .arg("8M")
        .status();
    assert!(made.unwrap().success());
    fs::read(&path).unwrap()
}

#[tokio::test]
async fn qcow2_becomes_raw_once() {
    let dir = tempfile::tempdir().unwrap();
    let raw = dir.path().join("made.raw");
    let file = fs::File::create(&raw).unwrap();
    file.set_len(8 << 20).unwrap();
    file.write_all_at(b"boot", 4 << 20).unwrap();
    let path = dir.path().join("made.qcow2");
    let made = Command::new("qemu-img")
        .args(["convert", "-O", "qcow2"])
        .args([&raw, &path])
        .status();
    assert!(made.unwrap().success());
    let images = open(dir.path()).await;
    let blob = upload(&images, "a", &[&fs::read(&path).unwrap()]).await;
    let raw = images.raw(&blob.sha256, "qcow2").await.unwrap();
    assert_eq!(raw.size, 8 << 20);
    assert_eq!(
        images.virtual_size(&blob.sha256, "qcow2").await.unwrap(),
        Some(8 << 20)
    );
    let (file, _) = images.open_blob(&raw.sha256).await.unwrap();
    let mut read = [0; 4];
    file.read_exact_at(&mut read, 4 << 20).unwrap();
    assert_eq!(&read, b"boot");
    assert_eq!(images.extents(&raw.sha256).await.unwrap().len(), 1);
    assert_eq!(images.raw(&blob.sha256, "qcow2").await.unwrap(), raw);
    let images = open(dir.path()).await;
    assert_eq!(files(dir.path()).len(), 2);
    images.release("a").await.unwrap();
    assert_eq!(files(dir.path()), Vec::<String>::new());
}

#[tokio::test]
async fn images_that_lead_outside_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().join("base.raw");
    fs::write(&base, vec![7u8; 8 << 20]).unwrap();
    let images = open(dir.path()).await;
    let base = base.to_str().unwrap();
    let blob = upload(
        &images,
        "a",
        &[&qcow2(dir.path(), &["-b", base, "-F", "raw"])],
    )
    .await;
    assert!(matches!(
        images.raw(&blob.sha256, "qcow2").await,
        Err(ImageError::Malformed { .. })
    ));
    let outside = format!("data_file={}", dir.path().join("secret").display());
    let blob = upload(&images, "b", &[&qcow2(dir.path(), &["-o", &outside])]).await;
    assert!(images.raw(&blob.sha256, "qcow2").await.is_err());
    let blob = upload(&images, "c", &[b"no qcow2"]).await;
    assert!(matches!(
        images.raw(&blob.sha256, "qcow2").await,
        Err(ImageError::Convert { .. })
    ));
    assert!(matches!(
        images.raw(&blob.sha256, "vmdk").await,
        Err(ImageError::Format { .. })
    ));
    assert!(files(dir.path()).iter().all(|name| name.len() == 64));
}
