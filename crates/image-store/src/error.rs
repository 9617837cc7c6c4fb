//! Why an image could not be kept or read.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use disk::program::ProgramError;
use store::StoreError;

/// Why an image could not be kept or read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ImageError {
    /// A file cannot be used.
    #[error("cannot use {path}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Arc<io::Error>,
    },
    /// The sender went away before the end.
    #[error("the upload broke off after {received} bytes")]
    Broken {
        /// Bytes that came.
        received: u64,
    },
    /// No image of this digest is here.
    #[error("no image with digest `{sha256}` is kept here")]
    Missing {
        /// SHA-256.
        sha256: String,
    },
    /// The format cannot be written to a disk.
    #[error("images of format `{format}` cannot be written to machines")]
    Format {
        /// Format.
        format: String,
    },
    /// The image is not what its format says, or leads outside of itself.
    #[error("image `{sha256}` is no usable {format} image: {why}")]
    Malformed {
        /// SHA-256.
        sha256: String,
        /// Format that it should have.
        format: String,
        /// What is wrong.
        why: String,
    },
    /// A program failed.
    #[error("image `{sha256}` cannot be converted")]
    Convert {
        /// SHA-256.
        sha256: String,
        /// Why.
        source: Arc<ProgramError>,
    },
    /// The database did not work.
    #[error("the list of images cannot be used")]
    Store(#[source] StoreError),
    /// Work ended in a panic.
    #[error("work on an image ended early")]
    Ended,
}

impl From<StoreError> for ImageError {
    fn from(source: StoreError) -> Self {
        ImageError::Store(source)
    }
}

impl ImageError {
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> ImageError {
        let path = path.into();
        move |source| ImageError::File {
            path,
            source: Arc::new(source),
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            ImageError::Format { .. } => Some("upload it as raw or qcow2".to_owned()),
            ImageError::Convert { source, .. } => source.hint(),
            ImageError::File { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some("the file system of the state directory is full".to_owned())
            }
            ImageError::File { .. }
            | ImageError::Broken { .. }
            | ImageError::Missing { .. }
            | ImageError::Malformed { .. }
            | ImageError::Store(_)
            | ImageError::Ended => None,
        }
    }
}
