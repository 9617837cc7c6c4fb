//! EC2 metadata: from the cache, the config drive, or the metadata service.

use super::{Collected, Context, Refusal, timeout};
use crate::http::{Ask, Http};
use metadata::{Map, Value};
use std::time::Duration;

/// EC2's own tree has about a hundred entries in five levels; a service that lists more goes in circles.
const MAX_ENTRIES: usize = 2000;
/// Levels of directories.
const MAX_DEPTH: usize = 16;

pub(super) async fn collect(context: &mut Context<'_>) -> Result<Collected, Refusal> {
    let cached = context.cache.read("ec2").filter(Value::is_truthy);
    let document = match cached.or_else(|| from_drive(context)) {
        Some(document) => document,
        None => from_service(context).await?,
    };
    Ok(Collected {
        documents: vec![("ec2".to_owned(), document)],
        warnings: Vec::new(),
    })
}

fn from_drive(context: &mut Context<'_>) -> Option<Value> {
    let text = context.drive.read("ec2/latest/meta-data.json")?;
    metadata::parse(&text).ok().filter(Value::is_truthy)
}

async fn from_service(context: &Context<'_>) -> Result<Value, Refusal> {
    let timeout = timeout(context.settings, "ec2")?;
    let url = context
        .settings
        .address("ec2", "metadata_url")?
        .unwrap_or_default();
    // Any part that is missing makes the whole unusable.
    walk(
        context.http,
        format!("{}/", url.trim_end_matches('/')),
        timeout,
    )
    .await
}

/// Fetches the directory at `root`, and all below it.
async fn walk(http: &Http, root: String, timeout: Duration) -> Result<Value, Refusal> {
    let mut entries = 0;
    let mut tree = Map::new();
    let mut open: Vec<(Vec<String>, String)> = vec![(Vec::new(), root)];
    while let Some((path, url)) = open.pop() {
        let listing = fetch(http, &url, timeout).await?;
        let mut directories = Vec::new();
        for entry in listing.lines().filter(|entry| !entry.is_empty()) {
            entries += 1;
            if entries > MAX_ENTRIES || path.len() > MAX_DEPTH {
                return Err(Refusal::unavailable(format!("{url} has no end")));
            }
            // `0=my-key` is the directory `0`, named `my-key`.
            let directory = match entry.split_once('=') {
                Some((number, _)) => Some(number),
                None => entry.strip_suffix('/'),
            };
            let name = directory.unwrap_or(entry);
            let value = match directory {
                Some(name) => {
                    let below = path.iter().cloned().chain([name.to_owned()]).collect();
                    directories.push((below, format!("{url}{name}/")));
                    Value::Map(Map::new())
                }
                None => Value::Text(fetch(http, &format!("{url}{entry}"), timeout).await?),
            };
            if let Some(map) = descend(&mut tree, &path) {
                map.insert(name.to_owned(), value);
            }
        }
        directories.reverse();
        open.extend(directories);
    }
    Ok(Value::Map(tree))
}

async fn fetch(http: &Http, url: &str, timeout: Duration) -> Result<String, Refusal> {
    let answer = http.send(Ask::get(url, timeout)).await;
    let answer = answer.and_then(|answer| answer.successful());
    Ok(answer.map_err(Refusal::unavailable)?.text())
}

fn descend<'m>(tree: &'m mut Map, path: &[String]) -> Option<&'m mut Map> {
    path.iter()
        .try_fold(tree, |map, name| match map.get_mut(name) {
            Some(Value::Map(map)) => Some(map),
            _ => None,
        })
}
