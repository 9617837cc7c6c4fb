//! ISO 9660 images with Rock Ridge names and modes, written and read in user space.
//!
//! [`IsoImage`] writes config drives and virtual media; [`IsoReader`] lists and extracts, its input may
//! come from anywhere and is checked. Folders and plain files only: no links, no devices, no boot record.

mod encode;
mod read;
mod write;

pub use read::{IsoEntry, IsoReadError, IsoReader};
pub use write::{Content, IsoImage, IsoWriteError};

/// Bytes of a sector: everything in the format is counted in these.
const SECTOR: u64 = 2048;

/// The sector of the first volume descriptor; those before belong to boot loaders.
const FIRST_DESCRIPTOR: u64 = 16;

/// Flag of a directory record: it is a directory.
const IS_DIRECTORY: u8 = 0x02;

/// Flag of a directory record: the file goes on in the next record.
const GOES_ON: u8 = 0x80;

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn sample() -> IsoImage {
        let mut iso = IsoImage::new("config-2").expect("a good label");
        iso.file("init", 0o755, Content::Bytes(b"#!/bin/sh\n".to_vec()))
            .expect("file");
        iso.file(
            "openstack/latest/meta_data.json",
            0o600,
            Content::Bytes(b"{}".to_vec()),
        )
        .expect("file");
        iso.file(
            "openstack/latest/meta-data.json",
            0o644,
            Content::Bytes(vec![7; 5000]),
        )
        .expect("file");
        iso.file("ec2/latest/empty", 0o644, Content::Bytes(Vec::new()))
            .expect("file");
        iso
    }

    fn reader(iso: &IsoImage) -> IsoReader<Cursor<Vec<u8>>> {
        IsoReader::open(Cursor::new(iso.to_bytes().expect("bytes"))).expect("our own image reads")
    }

    #[test]
    fn what_is_written_is_read() {
        let mut read = reader(&sample());
        assert_eq!(read.label(), "config-2");
        let seen: Vec<(String, u32, u64)> = read
            .entries()
            .iter()
            .map(|e| (e.path.clone(), e.mode, e.size))
            .collect();
        assert_eq!(
            seen,
            [
                ("ec2".to_owned(), 0o40755, 0),
                ("ec2/latest".to_owned(), 0o40755, 0),
                ("ec2/latest/empty".to_owned(), 0o100_644, 0),
                ("init".to_owned(), 0o100_755, 10),
                ("openstack".to_owned(), 0o40755, 0),
                ("openstack/latest".to_owned(), 0o40755, 0),
                (
                    "openstack/latest/meta-data.json".to_owned(),
                    0o100_644,
                    5000
                ),
                ("openstack/latest/meta_data.json".to_owned(), 0o100_600, 2),
            ]
        );
        assert_eq!(
            read.read("openstack/latest/meta-data.json").expect("read"),
            vec![7; 5000]
        );
        assert!(matches!(
            read.read("nothing"),
            Err(IsoReadError::NoFile { .. })
        ));
    }

    #[test]
    fn the_same_input_makes_the_same_bytes() {
        assert_eq!(
            sample().to_bytes().expect("bytes"),
            sample().to_bytes().expect("bytes")
        );
    }

    #[test]
    fn extracts_with_modes() {
        use std::os::unix::fs::PermissionsExt;
        let top = tempfile::tempdir().expect("folder");
        reader(&sample()).extract(top.path()).expect("extract");
        let init = std::fs::metadata(top.path().join("init")).expect("there");
        assert_eq!(init.permissions().mode() & 0o777, 0o755);
        let text =
            std::fs::read(top.path().join("openstack/latest/meta_data.json")).expect("there");
        assert_eq!(text, b"{}");
    }

    #[test]
    fn many_files_take_several_sectors_of_directory() {
        let mut iso = IsoImage::new("many").expect("label");
        for n in 0..300 {
            let path = format!("d/a_rather_long_file_name_that_repeats_{n}.json");
            iso.file(&path, 0o644, Content::Bytes(format!("{n}").into_bytes()))
                .expect("file");
        }
        let mut read = reader(&iso);
        assert_eq!(read.entries().len(), 301);
        let path = "d/a_rather_long_file_name_that_repeats_299.json";
        assert_eq!(read.read(path).expect("read"), b"299");
    }

    #[test]
    fn refuses_paths_that_lead_out() {
        let mut iso = IsoImage::new("x").expect("label");
        for path in ["../x", "a/../b", "", "/", "a//b"] {
            assert!(
                iso.file(path, 0o644, Content::Bytes(Vec::new())).is_err(),
                "{path}"
            );
        }
        assert!(iso.file("a", 0o644, Content::Bytes(Vec::new())).is_ok());
        assert!(iso.file("a/b", 0o644, Content::Bytes(Vec::new())).is_err());
        assert!(IsoImage::new(&"x".repeat(33)).is_err());
    }

    proptest::proptest! {
        #[test]
        fn broken_images_never_panic(at in 32768_usize..45000, byte in 0_u8..=255) {
            let mut bytes = sample().to_bytes().expect("bytes");
            if at < bytes.len() {
                bytes[at] = byte;
            }
            if let Ok(mut read) = IsoReader::open(Cursor::new(bytes)) {
                let _ = read.read("openstack/latest/meta-data.json");
            }
        }
    }
}
