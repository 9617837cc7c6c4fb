//! `tripleo image`: build golden images and list those that the seed holds.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use super::stack::text;
use crate::context::Context;
use crate::devtest::daemon::tail;

/// Work with golden images
#[derive(Debug, clap::Subcommand)]
pub enum ImageCommand {
    /// Build the golden images of a size; layers that did not change are taken from the cache
    Build {
        /// Which of the files in images/
        #[arg(default_value = "hello")]
        size: String,
    },
    /// List the images of the seed
    Ls,
}

/// Runs one of the commands.
pub async fn run(context: &Context, command: ImageCommand) -> anyhow::Result<()> {
    match command {
        ImageCommand::Build { size } => {
            let image = build(context, &size)?;
            context.output.data(&image.display().to_string());
            Ok(())
        }
        ImageCommand::Ls => list(context).await,
    }
}

/// Builds the image of a size and returns its file. The builder's words go to `logs/image-<size>.log`.
pub fn build(context: &Context, size: &str) -> anyhow::Result<PathBuf> {
    let description = context.root.join("images").join(format!("{size}.yaml"));
    if !description.is_file() {
        bail!(
            "there is no {}; the sizes are the files in images/",
            description.display()
        );
    }
    let log = context.folder("logs")?.join(format!("image-{size}.log"));
    let out =
        std::fs::File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let progress = context
        .output
        .progress(&format!("building image {size} (log: {})", log.display()));
    let status = Command::new(context.root.join("scripts/build-images"))
        .arg(&context.state)
        .arg(size)
        .stdin(Stdio::null())
        .stdout(out.try_clone()?)
        .stderr(out)
        .status()
        .context("cannot run scripts/build-images")?;
    drop(progress);
    if !status.success() {
        bail!(
            "image {size} was not built; the end of {}:\n{}",
            log.display(),
            tail(&log, 25)
        );
    }
    Ok(context.state.join("images").join(format!("{size}.raw")))
}

async fn list(context: &Context) -> anyhow::Result<()> {
    let reply = context.cloud().await?.get("image", "v2/images").await?;
    let rows: Vec<Vec<String>> = reply["images"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|image| {
            ["id", "name", "status", "size", "created_at"]
                .iter()
                .map(|key| text(&image[*key]))
                .collect()
        })
        .collect();
    context
        .output
        .table(&["id", "name", "status", "bytes", "created"], &rows);
    Ok(())
}
