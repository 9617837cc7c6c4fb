//! Writes an image: what holds data comes over the network, what does not becomes zeros on the disk.
//!
//! Three threads: one reads from the network, one writes, one computes the digest. A few buffers travel
//! between them, so that memory does not grow with the image.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use base64::Engine as _;
use disk::gpt::Gpt;
use rustix::fs::{FallocateFlags, fallocate};
use sha2::{Digest, Sha256};

use crate::beat::Beat;
use crate::disks::Disk;
use crate::error::AgentError;
use crate::http::Client;
use crate::orders::{Extent, Extents, Image, WriteOrders};
use crate::{disks, say};

/// What travels between threads at a time.
const PART: usize = 1 << 20;

/// How many parts may wait for the slower side.
const WAITING: usize = 4;

/// Holes up to this length are fetched with what is around them: a request costs more.
const SMALL_HOLE: u64 = 64 << 10;

/// What is asked for in one request; less is lost when a connection breaks.
const REQUEST: u64 = 64 << 20;

/// How often a broken connection is taken up again without having brought anything.
const TRIES: u32 = 5;

type Part = (u64, Arc<Vec<u8>>);

/// Carries out the orders on the chosen disk. `progress` hears what is done, of how much.
pub fn write(
    client: &mut Client,
    orders: &WriteOrders,
    target: &Disk,
    beat: &Beat,
    progress: &mut dyn FnMut(&mut Client, u64, u64),
) -> Result<(), AgentError> {
    let shown = target.path.display().to_string();
    let drive = config_drive(orders)?;
    let needed = orders.image.size
        + drive
            .as_ref()
            .map_or(0, |drive| drive.len() as u64 + (2 << 20));
    if needed > target.size {
        return Err(AgentError::Small {
            disk: shown,
            bytes: target.size,
            wanted: format!(
                "an image of {} bytes and its config drive",
                orders.image.size
            ),
        });
    }
    let extents = extents(client, &orders.image)?;
    let file = File::options()
        .read(true)
        .write(true)
        .open(&target.path)
        .map_err(AgentError::io(format!("open {shown}")))?;
    let data: u64 = extents.iter().map(|extent| extent.length).sum();
    say(&format!("writing {} MiB of data to {shown}", data >> 20));
    clear_holes(&file, &extents, orders.image.size)
        .map_err(AgentError::io(format!("clear {shown}")))?;
    beat.phase("write");
    let digest = stream(client, &orders.image, &extents, &file, &shown, progress)?;
    if !digest.eq_ignore_ascii_case(&orders.image.sha256) {
        return Err(AgentError::Digest {
            got: digest,
            wanted: orders.image.sha256.clone(),
        });
    }
    beat.phase("finish");
    finish(&file, &shown, orders, drive.as_deref())
}

fn config_drive(orders: &WriteOrders) -> Result<Option<Vec<u8>>, AgentError> {
    let decode = |text: &String| {
        base64::engine::general_purpose::STANDARD
            .decode(text.trim())
            .map_err(|error| AgentError::Answer {
                url: "the orders".to_owned(),
                why: format!("the config drive is no base64: {error}"),
            })
    };
    orders.config_drive.as_ref().map(decode).transpose()
}

/// The extents with data, in order, small holes filled up.
fn extents(client: &mut Client, image: &Image) -> Result<Vec<Extent>, AgentError> {
    let bytes = client.get(&image.extents_url)?;
    let bad = |why: String| AgentError::Answer {
        url: image.extents_url.clone(),
        why,
    };
    let extents = match serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))? {
        Extents::List(extents) | Extents::Named { extents } => extents,
    };
    join(extents, image.size).map_err(|why| bad(why.to_owned()))
}

fn join(extents: Vec<Extent>, size: u64) -> Result<Vec<Extent>, &'static str> {
    let mut joined: Vec<Extent> = Vec::new();
    let mut at = 0;
    for extent in extents {
        let end = extent
            .offset
            .checked_add(extent.length)
            .ok_or("an extent is too long")?;
        if extent.offset < at || end > size {
            return Err("extents overlap, are not in order or lie outside of the image");
        }
        at = end;
        match joined.last_mut() {
            Some(last) if extent.offset - (last.offset + last.length) <= SMALL_HOLE => {
                last.length = end - last.offset
            }
            Some(_) | None => joined.push(extent),
        }
    }
    joined.retain(|extent| extent.length > 0);
    Ok(joined)
}

/// The runs between extents, which the image has as zeros.
fn holes(extents: &[Extent], size: u64) -> Vec<Extent> {
    let mut at = 0;
    let mut holes = Vec::new();
    for extent in extents.iter().chain(std::iter::once(&Extent {
        offset: size,
        length: 0,
    })) {
        if extent.offset > at {
            holes.push(Extent {
                offset: at,
                length: extent.offset - at,
            });
        }
        at = extent.offset + extent.length;
    }
    holes
}

/// Makes the holes of the image zeros on the disk: what an earlier owner left there would be taken for data.
fn clear_holes(disk: &File, extents: &[Extent], size: u64) -> io::Result<()> {
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    for Extent { offset, length } in holes(extents, size) {
        // By the disk itself where it can, by the kernel where that knows how, else by hand.
        let done = fallocate(disk, punch, offset, length).or_else(|_| {
            fallocate(
                disk,
                FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE,
                offset,
                length,
            )
        });
        if done.is_err() {
            let zeros = vec![0; PART];
            let mut at = offset;
            while at < offset + length {
                let count = PART.min(usize::try_from(offset + length - at).unwrap_or(PART));
                disk.write_all_at(&zeros[..count], at)?;
                at += count as u64;
            }
        }
    }
    Ok(())
}

/// Brings all data onto the disk; gives the digest of the image.
fn stream(
    client: &mut Client,
    image: &Image,
    extents: &[Extent],
    disk: &File,
    shown: &str,
    progress: &mut dyn FnMut(&mut Client, u64, u64),
) -> Result<String, AgentError> {
    let (to_disk, for_disk) = sync_channel::<Part>(WAITING);
    let (to_digest, for_digest) = sync_channel::<Part>(WAITING);
    std::thread::scope(|scope| {
        let writer = scope.spawn(move || {
            for_disk
                .iter()
                .try_for_each(|(at, part)| disk.write_all_at(&part, at))
        });
        let digester = scope.spawn(move || digest(&for_digest, image.size));
        let read = read_all(client, image, extents, &[to_disk, to_digest], progress);
        let broke_off = || io::Error::other("the writing thread broke off");
        let written = writer.join().unwrap_or_else(|_| Err(broke_off()));
        let digest = digester
            .join()
            .map_err(|_| AgentError::io("compute the digest")(broke_off()));
        // A full or broken disk is the cause when reading broke off because of it.
        written.map_err(AgentError::io(format!("write {shown}")))?;
        read?;
        digest
    })
}

fn digest(parts: &Receiver<Part>, size: u64) -> String {
    let mut digest = Sha256::new();
    let zeros = vec![0; PART];
    let mut at = 0;
    let fill = |digest: &mut Sha256, at: &mut u64, to: u64| {
        while *at < to {
            let count = PART.min(usize::try_from(to - *at).unwrap_or(PART));
            digest.update(&zeros[..count]);
            *at += count as u64;
        }
    };
    for (offset, part) in parts {
        fill(&mut digest, &mut at, offset);
        digest.update(part.as_slice());
        at += part.len() as u64;
    }
    fill(&mut digest, &mut at, size);
    hex::encode(digest.finalize())
}

fn read_all(
    client: &mut Client,
    image: &Image,
    extents: &[Extent],
    to: &[SyncSender<Part>],
    progress: &mut dyn FnMut(&mut Client, u64, u64),
) -> Result<(), AgentError> {
    let total = extents.iter().map(|extent| extent.length).sum();
    let mut done = 0;
    for extent in extents {
        let mut at = extent.offset;
        let end = extent.offset + extent.length;
        let mut tries = 0;
        while at < end {
            let (before, until) = (at, end.min(at + REQUEST));
            let outcome = read_range(client, &image.url, &mut at, until, to);
            done += at - before;
            tries = if at > before { 0 } else { tries + 1 };
            match outcome {
                Ok(()) => {}
                Err(error) if tries >= TRIES => return Err(error),
                Err(error) => {
                    say(&format!(
                        "{}; going on at byte {at}",
                        crate::error::with_causes(&error)
                    ));
                    std::thread::sleep(std::time::Duration::from_millis(200 << tries));
                }
            }
            progress(client, done, total);
        }
    }
    Ok(())
}

/// Reads up to `until` and hands it on in parts; `at` says what has been handed on, whatever happens.
fn read_range(
    client: &mut Client,
    url: &str,
    at: &mut u64,
    until: u64,
    to: &[SyncSender<Part>],
) -> Result<(), AgentError> {
    let hand_on = |at: &mut u64, part: Vec<u8>| -> io::Result<()> {
        let (offset, part) = (*at, Arc::new(part));
        *at += part.len() as u64;
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the disk does not take it");
        to.iter()
            .try_for_each(|channel| channel.send((offset, Arc::clone(&part))).map_err(gone))
    };
    let mut waiting = Vec::with_capacity(PART);
    let outcome = client.get_range(url, (*at, until), &mut |mut bytes| {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(PART - waiting.len()));
            waiting.extend_from_slice(now);
            bytes = later;
            if waiting.len() == PART {
                hand_on(
                    at,
                    std::mem::replace(&mut waiting, Vec::with_capacity(PART)),
                )?;
            }
        }
        Ok(())
    });
    // What came before a connection broke is good.
    if !waiting.is_empty() {
        hand_on(at, waiting).map_err(AgentError::io("hand on what was read"))?;
    }
    outcome
}

/// Puts table and config drive to the end of the disk, and everything onto stable storage.
fn finish(
    disk: &File,
    shown: &str,
    orders: &WriteOrders,
    drive: Option<&[u8]>,
) -> Result<(), AgentError> {
    let cannot = |what: &'static str| {
        let disk = shown.to_owned();
        move |source| AgentError::Table { what, disk, source }
    };
    match drive {
        Some(drive) => disk::config_drive::add_config_drive(disk, drive)
            .map(drop)
            .map_err(cannot("put the config drive"))?,
        None => Gpt::read(disk)
            .and_then(|mut table| table.write(disk))
            .map_err(cannot("move the backup of the partition table"))?,
    }
    if orders.root_grow {
        disk::root::grow_root(disk).map_err(cannot("grow the root partition"))?;
    }
    disk.sync_all()
        .map_err(AgentError::io(format!("write {shown} to the end")))
}

/// The disk that the orders mean.
pub fn target(orders: &WriteOrders) -> Result<Disk, AgentError> {
    disks::choose(&disks::all(), &orders.disk)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(offset: u64, length: u64) -> Extent {
        Extent { offset, length }
    }

    #[test]
    fn small_holes_are_filled_and_nonsense_is_refused() {
        let size = 10 << 20;
        let given = vec![
            extent(0, 4096),
            extent(8192, 4096),
            extent(1 << 20, 4096),
            extent(2 << 20, 0),
        ];
        let joined = join(given, size).expect("good");
        assert_eq!(joined, [extent(0, 12288), extent(1 << 20, 4096)]);
        assert_eq!(
            holes(&joined, size),
            [
                extent(12288, (1 << 20) - 12288),
                extent((1 << 20) + 4096, (9 << 20) - 4096)
            ]
        );
        assert!(join(vec![extent(4096, 4096), extent(0, 1)], size).is_err());
        assert!(join(vec![extent(size - 1, 2)], size).is_err());
        assert!(join(vec![extent(u64::MAX, 2)], size).is_err());
    }

    #[test]
    fn holes_of_the_image_become_zeros_on_the_disk() {
        let disk = tempfile::tempfile().expect("file");
        disk.write_all_at(&[7; 4 << 20], 0).expect("writes");
        clear_holes(&disk, &[extent(1 << 20, 1 << 20)], 3 << 20).expect("clears");
        let mut bytes = vec![0; 4 << 20];
        disk.read_exact_at(&mut bytes, 0).expect("reads");
        let expect: Vec<u8> = [0, 7, 0, 7]
            .iter()
            .flat_map(|byte| vec![*byte; 1 << 20])
            .collect();
        assert!(bytes == expect);
    }
}
