//! The raw form of an image: what a machine's disk will hold. Made once, by `qemu-img`.
//!
//! A qcow2 file can name other files as its backing or data file, and qemu would read them with our rights: such
//! images are refused before anything is read through them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use disk::program;
use serde::Deserialize;
use store::{StoreError, params};
use uuid::Uuid;

use crate::receive::{Temporary, digest, new_file};
use crate::{Blob, ImageError, ImageStore, beside};

/// What `qemu-img info` says that matters here.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Described {
    format: String,
    virtual_size: u64,
    backing_filename: Option<String>,
    format_specific: Option<Specific>,
}

#[derive(Debug, Deserialize)]
struct Specific {
    data: Option<SpecificData>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct SpecificData {
    data_file: Option<String>,
}

impl ImageStore {
    /// The raw form of some content, made if it is not there yet.
    pub async fn raw(&self, sha256: &str, format: &str) -> Result<Blob, ImageError> {
        match format {
            "raw" => {
                let (_, size) = self.open_blob(sha256).await?;
                Ok(plain(sha256.to_owned(), size))
            }
            "qcow2" => self.raw_of_qcow2(sha256).await,
            other => Err(ImageError::Format {
                format: other.to_owned(),
            }),
        }
    }

    async fn raw_of_qcow2(&self, sha256: &str) -> Result<Blob, ImageError> {
        let _turn = self.shared.converting.lock().await;
        if let Some(known) = self.known_raw(sha256).await? {
            return Ok(known);
        }
        // Keeps the content open, so that it stays readable even if its last user goes meanwhile.
        let (_open, _) = self.open_blob(sha256).await?;
        let source = self.path(sha256);
        let target = self.incoming().join(Uuid::new_v4().to_string());
        let name = sha256.to_owned();
        let file = beside(move || convert(&name, &source, target)).await?;
        let (raw, size) = digest(file.path.clone()).await?;
        let blob = plain(raw, size);
        self.enter_raw(file, sha256, blob.clone()).await?;
        tracing::info!(image = sha256, raw = %blob.sha256, "an image was converted");
        Ok(blob)
    }

    async fn known_raw(&self, sha256: &str) -> Result<Option<Blob>, ImageError> {
        let source = sha256.to_owned();
        let read = self.shared.store.read(move |read| {
            let sql = "SELECT sha256, size FROM image_store_raw WHERE source = ?1";
            let row = read.query_one(sql, params![source])?;
            row.map(|mut row| {
                Ok(plain(
                    row.take(0)?,
                    u64::try_from(row.take::<i64>(1)?).unwrap_or(0),
                ))
            })
            .transpose()
        });
        read.await.map_err(|error: StoreError| error.into())
    }

    /// The size that a machine sees of a qcow2 image, from its header.
    pub async fn virtual_size(
        &self,
        sha256: &str,
        format: &str,
    ) -> Result<Option<u64>, ImageError> {
        let (file, size) = self.open_blob(sha256).await?;
        match format {
            "raw" => Ok(Some(size)),
            "qcow2" => {
                beside(move || {
                    let mut head = [0; 32];
                    let read = std::os::unix::fs::FileExt::read_exact_at(&file, &mut head, 0);
                    let mut number = [0; 8];
                    number.copy_from_slice(&head[24..]);
                    Ok((read.is_ok() && head.starts_with(b"QFI\xfb"))
                        .then(|| u64::from_be_bytes(number)))
                })
                .await
            }
            _ => Ok(None),
        }
    }
}

/// Content of which only the digest that names it is known.
fn plain(sha256: String, size: u64) -> Blob {
    Blob {
        sha256,
        size,
        md5: String::new(),
        sha512: String::new(),
    }
}

fn convert(sha256: &str, source: &Path, target: PathBuf) -> Result<Temporary, ImageError> {
    let failed = |source| ImageError::Convert {
        sha256: sha256.to_owned(),
        source: Arc::new(source),
    };
    let malformed = |why: String| ImageError::Malformed {
        sha256: sha256.to_owned(),
        format: "qcow2".to_owned(),
        why,
    };
    let mut info = Command::new("qemu-img");
    info.args(["info", "--output=json", "-f", "qcow2"])
        .arg(source);
    let said = program::run(&mut info).map_err(failed)?;
    let described: Described =
        serde_json::from_slice(&said).map_err(|error| malformed(error.to_string()))?;
    let data_file = described
        .format_specific
        .and_then(|specific| specific.data)
        .and_then(|data| data.data_file);
    if described.format != "qcow2" || described.backing_filename.is_some() || data_file.is_some() {
        return Err(malformed("it needs another file beside it".to_owned()));
    }
    let file = new_file(&target)?;
    let temporary = Temporary { path: target };
    file.set_len(described.virtual_size)
        .map_err(ImageError::file(&temporary.path))?;
    // Into the file that is there, whose mode is ours; what is zeros stays a hole.
    let mut run = Command::new("qemu-img");
    run.args([
        "convert",
        "-n",
        "--target-is-zero",
        "-f",
        "qcow2",
        "-O",
        "raw",
        "-S",
        "64k",
    ])
    .arg(source);
    run.arg(&temporary.path);
    program::run(&mut run).map_err(failed)?;
    fs::File::open(&temporary.path)
        .and_then(|file| file.sync_all())
        .map_err(ImageError::file(&temporary.path))?;
    Ok(temporary)
}
