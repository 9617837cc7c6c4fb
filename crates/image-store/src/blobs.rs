//! Content that is kept: entered, used, released, read.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;

use disk::sparse::{Extent, extents};
use store::{Read, Row, StoreError, Tx, params};

use crate::receive::Temporary;
use crate::{ImageError, ImageStore, beside};

/// Content and its digests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// SHA-256, hexadecimal: its name.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
    /// MD5, hexadecimal, because clients compare it.
    pub md5: String,
    /// SHA-512, hexadecimal.
    pub sha512: String,
}

fn number(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

fn blob(mut row: Row) -> Result<Blob, StoreError> {
    Ok(Blob {
        sha256: row.take(0)?,
        size: u64::try_from(row.take::<i64>(1)?).unwrap_or(0),
        md5: row.take(2)?,
        sha512: row.take(3)?,
    })
}

fn find(read: &Read<'_>, sha256: &str) -> Result<Option<Blob>, StoreError> {
    let sql = "SELECT sha256, size, md5, sha512 FROM image_store_blob WHERE sha256 = ?1";
    read.query_one(sql, params![sha256])?.map(blob).transpose()
}

fn set_use(tx: &Tx<'_>, owner: &str, sha256: &str) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO image_store_use (owner, sha256) VALUES (?1, ?2) ON CONFLICT (owner) DO UPDATE SET sha256 = ?2",
        params![owner, sha256],
    )?;
    Ok(())
}

/// Deletes rows of content that has no user; gives the digests. The raw form of content in use is in use.
fn unused(tx: &Tx<'_>) -> Result<Vec<String>, StoreError> {
    tx.execute(
        "DELETE FROM image_store_raw WHERE source NOT IN (SELECT sha256 FROM image_store_use)",
        params![],
    )?;
    let rows = tx.query(
        "SELECT sha256 FROM image_store_blob
         WHERE sha256 NOT IN (SELECT sha256 FROM image_store_use)
           AND sha256 NOT IN (SELECT sha256 FROM image_store_raw)",
        params![],
    )?;
    let gone = rows
        .into_iter()
        .map(|mut row| row.take(0))
        .collect::<Result<Vec<String>, _>>()?;
    for sha256 in &gone {
        tx.execute(
            "DELETE FROM image_store_blob WHERE sha256 = ?1",
            params![sha256],
        )?;
    }
    Ok(gone)
}

impl ImageStore {
    /// Moves a complete file to its place and enters it with its user.
    pub(crate) async fn enter(
        &self,
        file: Temporary,
        blob: Blob,
        owner: &str,
    ) -> Result<Blob, ImageError> {
        let _files = self.shared.files.lock().await;
        self.place(file, &blob.sha256).await?;
        let (entered, owner) = (blob.clone(), owner.to_owned());
        self.shared
            .store
            .write(move |tx| {
                put(tx, &entered)?;
                set_use(tx, &owner, &entered.sha256)
            })
            .await
            .map_err(|error: StoreError| ImageError::from(error))?;
        Ok(blob)
    }

    /// Moves a complete file to its place. Content that is there already is the same content.
    pub(crate) async fn place(&self, file: Temporary, sha256: &str) -> Result<(), ImageError> {
        let (to, dir) = (self.path(sha256), self.shared.dir.clone());
        beside(move || {
            if !to.exists() {
                fs::rename(&file.path, &to).map_err(ImageError::file(&to))?;
                File::open(&dir)
                    .and_then(|dir| dir.sync_all())
                    .map_err(ImageError::file(&dir))?;
            }
            Ok(())
        })
        .await
    }

    /// Enters the raw form of an image.
    pub(crate) async fn enter_raw(
        &self,
        file: Temporary,
        source: &str,
        raw: Blob,
    ) -> Result<(), ImageError> {
        let _files = self.shared.files.lock().await;
        self.place(file, &raw.sha256).await?;
        let source = source.to_owned();
        let done = self.shared.store.write(move |tx| {
            put(tx, &raw)?;
            tx.execute(
                "INSERT OR REPLACE INTO image_store_raw (source, sha256, size) VALUES (?1, ?2, ?3)",
                params![source, &raw.sha256, number(raw.size)],
            )?;
            Ok(())
        });
        done.await
            .map_err(|error: StoreError| ImageError::from(error))
    }

    /// The content that an owner uses.
    pub async fn used_by(&self, owner: &str) -> Result<Option<Blob>, ImageError> {
        let owner = owner.to_owned();
        self.shared
            .store
            .read(move |read| {
                let sql = "SELECT sha256 FROM image_store_use WHERE owner = ?1";
                match read.query_one(sql, params![owner])? {
                    Some(mut row) => find(read, &row.take::<String>(0)?),
                    None => Ok(None),
                }
            })
            .await
            .map_err(|error: StoreError| error.into())
    }

    /// Lets `to` use what `from` uses, and `from` nothing any more.
    pub async fn hand_over(&self, from: &str, to: &str) -> Result<(), ImageError> {
        let (from, to) = (from.to_owned(), to.to_owned());
        self.shared
            .store
            .write(move |tx| {
                tx.execute("DELETE FROM image_store_use WHERE owner = ?1", params![&to])?;
                tx.execute(
                    "UPDATE image_store_use SET owner = ?2 WHERE owner = ?1",
                    params![&from, &to],
                )?;
                Ok(())
            })
            .await
            .map_err(|error: StoreError| error.into())
    }

    /// The owner uses nothing any more; content that nobody uses goes.
    pub async fn release(&self, owner: &str) -> Result<(), ImageError> {
        let _files = self.shared.files.lock().await;
        let owner = owner.to_owned();
        let gone = self.shared.store.write(move |tx| {
            tx.execute(
                "DELETE FROM image_store_use WHERE owner = ?1",
                params![owner],
            )?;
            unused(tx)
        });
        let gone = gone
            .await
            .map_err(|error: StoreError| ImageError::from(error))?;
        let paths: Vec<PathBuf> = gone.iter().map(|sha256| self.path(sha256)).collect();
        beside(move || {
            for path in paths {
                remove(path)?;
            }
            Ok(())
        })
        .await
    }

    /// All owners that use something.
    pub async fn owners(&self) -> Result<Vec<String>, ImageError> {
        let read = self.shared.store.read(|read| {
            let rows = read.query("SELECT owner FROM image_store_use", params![])?;
            rows.into_iter()
                .map(|mut row| row.take(0))
                .collect::<Result<Vec<String>, StoreError>>()
        });
        read.await.map_err(|error: StoreError| error.into())
    }

    /// Opens content for reading.
    pub async fn open_blob(&self, sha256: &str) -> Result<(File, u64), ImageError> {
        let (wanted, path) = (sha256.to_owned(), self.path(sha256));
        let found = self.shared.store.read({
            let wanted = wanted.clone();
            move |read| find(read, &wanted)
        });
        let found = found
            .await
            .map_err(|error: StoreError| ImageError::from(error))?;
        let blob = found.ok_or(ImageError::Missing { sha256: wanted })?;
        beside(move || {
            Ok((
                File::open(&path).map_err(ImageError::file(&path))?,
                blob.size,
            ))
        })
        .await
    }

    /// The runs of bytes of some content that hold data; the rest is zeros.
    pub async fn extents(&self, sha256: &str) -> Result<Vec<Extent>, ImageError> {
        let (file, _) = self.open_blob(sha256).await?;
        let path = self.path(sha256);
        beside(move || extents(&file).map_err(ImageError::file(path))).await
    }

    /// Removes content that nobody uses, and files that no row knows.
    pub(crate) async fn sweep(&self) -> Result<(), ImageError> {
        let cleared = self.shared.store.write(|tx| {
            unused(tx)?;
            let rows = tx.query("SELECT sha256 FROM image_store_blob", params![])?;
            rows.into_iter()
                .map(|mut row| row.take(0))
                .collect::<Result<Vec<String>, StoreError>>()
        });
        let known = cleared
            .await
            .map_err(|error: StoreError| ImageError::from(error))?;
        let dir = self.shared.dir.clone();
        beside(move || {
            for entry in fs::read_dir(&dir).map_err(ImageError::file(&dir))? {
                let entry = entry.map_err(ImageError::file(&dir))?;
                let name = entry.file_name().to_string_lossy().into_owned();
                if is_digest(&name) && !known.contains(&name) {
                    tracing::info!(file = %name, "an image that was not entered is removed");
                    remove(entry.path())?;
                }
            }
            Ok(())
        })
        .await
    }
}

fn put(tx: &Tx<'_>, blob: &Blob) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO image_store_blob (sha256, size, md5, sha512) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (sha256) DO UPDATE SET md5 = CASE WHEN md5 = '' THEN ?3 ELSE md5 END,
             sha512 = CASE WHEN sha512 = '' THEN ?4 ELSE sha512 END",
        params![&blob.sha256, number(blob.size), &blob.md5, &blob.sha512],
    )?;
    Ok(())
}

/// Only what has a name of ours is ever removed.
fn is_digest(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn remove(path: PathBuf) -> Result<(), ImageError> {
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(ImageError::file(path)(error)),
        _ => Ok(()),
    }
}
