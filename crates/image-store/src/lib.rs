//! Images by digest: received, checked, kept once, turned into raw disks once, read in ranges.
//!
//! A file is here if and only if a row of the database says so: uploads and conversions grow in `incoming`, are
//! synced, renamed, and then entered; what a crash left beside that is removed when the store is opened. Who may
//! see an image, and what it is called, is not known here: owners name the content that they use, and content
//! without a user goes.

mod blobs;
mod convert;
mod error;
mod receive;

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use store::{Migrations, Store};
use tokio::sync::Mutex;

pub use blobs::Blob;
pub use disk::sparse::Extent;
pub use error::ImageError;
pub use receive::Upload;

/// Tables of this room.
pub const MIGRATIONS: Migrations = Migrations {
    room: "image_store",
    steps: &["
CREATE TABLE image_store_blob (
    sha256 TEXT PRIMARY KEY, size INTEGER NOT NULL, md5 TEXT NOT NULL, sha512 TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE image_store_use (
    owner TEXT PRIMARY KEY, sha256 TEXT NOT NULL REFERENCES image_store_blob (sha256)
) WITHOUT ROWID;
CREATE INDEX image_store_use_blob ON image_store_use (sha256);
CREATE TABLE image_store_raw (
    source TEXT PRIMARY KEY, sha256 TEXT NOT NULL, size INTEGER NOT NULL
) WITHOUT ROWID;
"],
};

/// The images of one state directory. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ImageStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Store,
    dir: PathBuf,
    /// Held while a file and its row change together: else content could go while it comes again.
    files: Mutex<()>,
    /// Held while an image is converted; two at once would only fight for the disk.
    converting: Mutex<()>,
}

impl ImageStore {
    /// Opens the directory, and removes files that no row knows.
    pub async fn open(store: Store, dir: &Path) -> Result<Self, ImageError> {
        let images = Self {
            shared: Arc::new(Shared {
                store,
                dir: dir.to_owned(),
                files: Mutex::new(()),
                converting: Mutex::new(()),
            }),
        };
        let incoming = images.incoming();
        match fs::remove_dir_all(&incoming) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(ImageError::file(&incoming)(error));
            }
            _ => {}
        }
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&incoming)
            .map_err(ImageError::file(&incoming))?;
        images.sweep().await?;
        Ok(images)
    }

    fn incoming(&self) -> PathBuf {
        self.shared.dir.join("incoming")
    }

    /// Where content of this digest lies.
    fn path(&self, sha256: &str) -> PathBuf {
        self.shared.dir.join(sha256)
    }
}

/// Runs what blocks beside the threads that serve.
async fn beside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ImageError> + Send + 'static,
) -> Result<T, ImageError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| ImageError::Ended)?
}
