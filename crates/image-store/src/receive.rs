//! Takes an upload: writes it sparse to a file of its own, computes its digests on the way.
//!
//! The API promises three digests. The two that processors have no instructions for cost more than everything else, so each has
//! a thread of its own beside the one that writes.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};

use bytes::Bytes;
use md5::Md5;
use sha2::{Digest, Sha256, Sha512};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use uuid::Uuid;

use crate::{Blob, ImageError, ImageStore, beside};

/// Blocks of zeros of this size are left out of the file.
const BLOCK: usize = 64 << 10;
/// Chunks that may wait for the disk.
const WAITING: usize = 16;

/// An upload on its way. Send the chunks, then say that it is whole; dropped before, it leaves nothing.
#[derive(Debug)]
pub struct Upload {
    images: ImageStore,
    chunks: Sender<Bytes>,
    writer: tokio::task::JoinHandle<Result<Received, ImageError>>,
    received: u64,
}

/// A file that is complete and synced, not entered yet.
#[derive(Debug)]
struct Received {
    file: Temporary,
    blob: Blob,
}

/// A file that goes when it is dropped, unless it was moved to its place.
#[derive(Debug)]
pub(crate) struct Temporary {
    pub(crate) path: PathBuf,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // After the move there is nothing here, and what cannot be removed goes at the next start.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl ImageStore {
    /// Begins an upload.
    pub fn upload(&self) -> Upload {
        let (chunks, arriving) = channel(WAITING);
        let path = self.incoming().join(Uuid::new_v4().to_string());
        let writer = tokio::task::spawn_blocking(move || write(path, arriving));
        Upload {
            images: self.clone(),
            chunks,
            writer,
            received: 0,
        }
    }
}

impl Upload {
    /// Takes the next chunk; waits while the disk is behind.
    pub async fn push(&mut self, chunk: Bytes) -> Result<(), ImageError> {
        self.received += chunk.len() as u64;
        if self.chunks.send(chunk).await.is_ok() {
            return Ok(());
        }
        // The writer gave up: it knows why.
        match (&mut self.writer).await {
            Ok(Err(error)) => Err(error),
            Ok(Ok(_)) | Err(_) => Err(ImageError::Ended),
        }
    }

    /// Bytes that came so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// The upload is whole: the content is kept from now on, used by `owner`.
    pub async fn finish(self, owner: &str) -> Result<Blob, ImageError> {
        drop(self.chunks);
        let received = self.writer.await.map_err(|_| ImageError::Ended)??;
        self.images.enter(received.file, received.blob, owner).await
    }
}

/// Opens a new file that only its owner may read.
pub(crate) fn new_file(path: &PathBuf) -> Result<File, ImageError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(ImageError::file(path))
}

fn write(path: PathBuf, mut arriving: Receiver<Bytes>) -> Result<Received, ImageError> {
    let file = new_file(&path)?;
    let temporary = Temporary { path };
    let fail = |error| ImageError::File {
        path: temporary.path.clone(),
        source: Arc::new(error),
    };
    let blob = std::thread::scope(|scope| {
        let (to_sha512, sha512) = hashing::<Sha512>(scope);
        let (to_md5, md5) = hashing::<Md5>(scope);
        let mut sha256 = Sha256::new();
        let mut at = 0;
        while let Some(chunk) = arriving.blocking_recv() {
            for hash in [&to_sha512, &to_md5] {
                hash.send(chunk.clone()).map_err(|_| ImageError::Ended)?;
            }
            sha256.update(&chunk);
            write_sparse(&file, &chunk, at).map_err(fail)?;
            at += chunk.len() as u64;
        }
        drop((to_sha512, to_md5));
        file.set_len(at).map_err(fail)?;
        file.sync_all().map_err(fail)?;
        Ok::<_, ImageError>(Blob {
            sha256: hex::encode(sha256.finalize()),
            size: at,
            md5: md5.join().map_err(|_| ImageError::Ended)?,
            sha512: sha512.join().map_err(|_| ImageError::Ended)?,
        })
    })?;
    Ok(Received {
        file: temporary,
        blob,
    })
}

/// A thread that hashes what it is sent; it gives the digest when the sender is dropped.
fn hashing<'scope, D: Digest>(
    scope: &'scope Scope<'scope, '_>,
) -> (SyncSender<Bytes>, ScopedJoinHandle<'scope, String>) {
    let (to_hash, chunks) = sync_channel::<Bytes>(WAITING);
    let thread = scope.spawn(move || {
        let mut hash = D::new();
        for chunk in chunks {
            hash.update(&chunk);
        }
        hex::encode(hash.finalize())
    });
    (to_hash, thread)
}

/// Leaves out whole blocks of zeros. Blocks are those of the image, not of the chunk.
fn write_sparse(file: &File, chunk: &[u8], at: u64) -> io::Result<()> {
    let mut rest = chunk;
    let mut at = at;
    while !rest.is_empty() {
        let into = usize::try_from(at % BLOCK as u64).unwrap_or(0);
        let (block, tail) = rest.split_at(rest.len().min(BLOCK - into));
        if !is_zero(block) {
            file.write_all_at(block, at)?;
        }
        at += block.len() as u64;
        rest = tail;
    }
    Ok(())
}

/// Compares with zeros in one stroke, which is quick even where the compiler does not optimise.
fn is_zero(block: &[u8]) -> bool {
    static ZEROS: [u8; BLOCK] = [0; BLOCK];
    ZEROS.get(..block.len()).is_some_and(|zeros| zeros == block)
}

/// SHA-256 of a file, holes as zeros.
pub(crate) async fn digest(path: PathBuf) -> Result<(String, u64), ImageError> {
    beside(move || {
        let fail = |error| ImageError::file(path.clone())(error);
        let mut file = File::open(&path).map_err(fail)?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 1 << 20];
        let mut size = 0;
        loop {
            let count = io::Read::read(&mut file, &mut buffer).map_err(fail)?;
            if count == 0 {
                return Ok((hex::encode(hash.finalize()), size));
            }
            hash.update(&buffer[..count]);
            size += count as u64;
        }
    })
    .await
}
