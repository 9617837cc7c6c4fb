//! The image API, version 2: names, rights and properties of images; their bytes are `image-store`'s.
//!
//! [`Images`] is also how the other modules find an image: [`Images::raw`] for what a machine's disk will hold,
//! [`serve_content`] and [`serve_extents`] for handing it to a deploy agent.

mod actions;
mod content;
mod fields;
mod list;
mod members;
mod patch;
mod record;
mod routes;
mod schemas;
mod serve;

use async_trait::async_trait;
use image_store::{Blob, ImageError, ImageStore};
use openstack_api::{ApiError, Caller};
use store::{Migrations, Store};

use crate::{Failure, SeedError};

pub(crate) use routes::mount;
pub use serve::{serve_content, serve_extents};

use record::Record;

/// Tables of the image API.
pub(crate) const MIGRATIONS: Migrations = Migrations {
    room: "image",
    steps: &["
CREATE TABLE image_record (
    id TEXT PRIMARY KEY, created INTEGER NOT NULL, doc TEXT, deleted INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX image_record_order ON image_record (created DESC) WHERE deleted = 0;
CREATE TABLE image_member (
    image_id TEXT NOT NULL, member TEXT NOT NULL, status TEXT NOT NULL,
    created INTEGER NOT NULL, updated INTEGER NOT NULL,
    PRIMARY KEY (image_id, member)
) WITHOUT ROWID;
"],
};

/// The images of this seed. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Images {
    store: Store,
    content: ImageStore,
}

/// The raw form of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawImage {
    /// Id of the image.
    pub id: String,
    /// SHA-256 of the raw form, hexadecimal.
    pub sha256: String,
    /// Its size in bytes.
    pub size: u64,
}

/// Why an image cannot be put on a machine.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// There is none of this id or name.
    #[error("there is no image `{0}`")]
    Missing(String),
    /// Several have this name.
    #[error("{count} images are called `{name}`; give the id of one")]
    Ambiguous {
        /// Name.
        name: String,
        /// How many.
        count: usize,
    },
    /// It has no data yet, or may not be used.
    #[error("image `{id}` is {status}, not active")]
    Status {
        /// Image.
        id: String,
        /// Its status.
        status: String,
    },
    /// Its content cannot be used.
    #[error("image `{id}` cannot be used")]
    Content {
        /// Image.
        id: String,
        /// Why.
        source: ImageError,
    },
    /// The database did not work.
    #[error("images cannot be looked up now")]
    Lookup(#[source] Failure),
}

impl Images {
    /// Opens the images below the state directory; uploads that a crash cut off can be made again.
    pub(crate) async fn open(store: Store, state: &std::path::Path) -> Result<Self, SeedError> {
        let wrap = |source: Box<dyn std::error::Error + Send + Sync>| SeedError::Service {
            service: "image",
            source,
        };
        let content = ImageStore::open(store.clone(), &state.join("images"))
            .await
            .map_err(|error| wrap(Box::new(error)))?;
        let images = Self { store, content };
        images
            .recover()
            .await
            .map_err(|error| wrap(Box::new(error)))?;
        Ok(images)
    }

    /// The content of all images.
    pub fn content(&self) -> &ImageStore {
        &self.content
    }

    /// Ids and names of all images.
    pub async fn names(&self) -> Result<Vec<(String, String)>, Failure> {
        let records = self.read(record::all).await?;
        let name = |record: Record| (record.id.clone(), record.text("name").to_owned());
        Ok(records.into_iter().map(name).collect())
    }

    /// The raw form of an image by id or, where only one has it, by name; made if it is not there yet.
    pub async fn raw(&self, wanted: &str) -> Result<RawImage, FindError> {
        let record = self.named(wanted).await?;
        let id = record.id.clone();
        if record.status() != "active" {
            return Err(FindError::Status {
                id,
                status: record.status().to_owned(),
            });
        }
        let wrap = |source| FindError::Content {
            id: id.clone(),
            source,
        };
        let used = self.content.used_by(&id).await.map_err(wrap)?;
        let Some(Blob { sha256, .. }) = used else {
            return Err(FindError::Missing(id));
        };
        let raw = self
            .content
            .raw(&sha256, record.text("disk_format"))
            .await
            .map_err(wrap)?;
        Ok(RawImage {
            id: record.id,
            sha256: raw.sha256,
            size: raw.size,
        })
    }

    async fn named(&self, wanted: &str) -> Result<Record, FindError> {
        let name = wanted.to_owned();
        let found = self.read(move |read| match record::get(read, &name)? {
            Some(record) => Ok(vec![record]),
            None => Ok(record::all(read)?
                .into_iter()
                .filter(|record| record.text("name") == name)
                .collect()),
        });
        let mut found: Vec<Record> = found.await.map_err(FindError::Lookup)?;
        match found.len() {
            0 => Err(FindError::Missing(wanted.to_owned())),
            1 => Ok(found.remove(0)),
            count => Err(FindError::Ambiguous {
                name: wanted.to_owned(),
                count,
            }),
        }
    }

    async fn write<T, F>(&self, work: F) -> Result<T, Failure>
    where
        F: FnOnce(&store::Tx<'_>) -> Result<T, Failure> + Send + 'static,
        T: Send + 'static,
    {
        self.store.write(work).await
    }

    async fn read<T, F>(&self, work: F) -> Result<T, Failure>
    where
        F: FnOnce(&store::Read<'_>) -> Result<T, Failure> + Send + 'static,
        T: Send + 'static,
    {
        self.store.read(work).await
    }
}

/// Who asks.
#[derive(Debug, Clone)]
struct Asker {
    project: String,
    admin: bool,
    writer: bool,
}

impl Asker {
    fn of(caller: &Caller) -> Self {
        Self {
            project: caller.project_id().unwrap_or_default().to_owned(),
            admin: caller.is_admin(),
            writer: caller.is_admin() || caller.has_role("member"),
        }
    }

    fn owns(&self, record: &Record) -> bool {
        self.admin || (!self.project.is_empty() && record.text("owner") == self.project)
    }

    /// 403 for those who may only read.
    fn must_write(&self) -> Result<(), ApiError> {
        if self.writer {
            Ok(())
        } else {
            Err(ApiError::forbidden(
                "You are not authorized to complete this action.",
            ))
        }
    }

    /// 403 for those who see an image that is another's.
    fn must_own(&self, record: &Record) -> Result<(), ApiError> {
        self.must_write()?;
        if self.owns(record) {
            Ok(())
        } else {
            Err(ApiError::forbidden(
                "You are not permitted to modify this image.",
            ))
        }
    }
}

fn content_failure(error: ImageError) -> ApiError {
    match error {
        ImageError::Missing { sha256 } => {
            ApiError::not_found(format!("The data {sha256} is not here."))
        }
        ImageError::Broken { received } => {
            ApiError::bad_request(format!("The upload broke off after {received} bytes."))
        }
        error @ (ImageError::File { .. }
        | ImageError::Format { .. }
        | ImageError::Malformed { .. }
        | ImageError::Convert { .. }
        | ImageError::Store(_)
        | ImageError::Ended) => ApiError::internal(&error),
    }
}

#[async_trait]
impl baremetal::Images for Images {
    /// Takes an id, a name that only one image has, or what upstream writes: `glance://ID`, or a URL of its data.
    async fn find(&self, source: &str) -> Result<baremetal::Image, String> {
        let raw = self
            .raw(named_by(source))
            .await
            .map_err(|error| content::explain(&error))?;
        Ok(baremetal::Image {
            id: raw.id,
            sha256: raw.sha256,
            size: raw.size,
        })
    }
}

/// The id or name in an image source.
fn named_by(source: &str) -> &str {
    let tail = source.strip_prefix("glance://").unwrap_or(source);
    match tail.split_once("/v2/images/") {
        Some((_, rest)) => rest.strip_suffix("/file").unwrap_or(rest),
        None => tail,
    }
}

#[cfg(test)]
mod tests {
    use super::named_by;

    #[test]
    fn sources() {
        for (source, name) in [
            ("golden", "golden"),
            ("glance://abc", "abc"),
            ("http://h:1/image/v2/images/abc/file", "abc"),
        ] {
            assert_eq!(named_by(source), name);
        }
    }
}
