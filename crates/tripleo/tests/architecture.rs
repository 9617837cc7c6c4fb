//! The table of rooms in ARCHITECTURE.md says what the manifests say: all rooms are there, all arrows point downwards, and none
//! is made up.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// What stands between backquotes.
fn quoted(text: &str) -> impl Iterator<Item = String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned)
}

/// The rows of the table, in order: the first column names a room, the last one what it names.
fn told() -> Vec<(String, Vec<String>)> {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    text.lines()
        .skip_while(|line| !line.starts_with("| room |"))
        .take_while(|line| line.starts_with('|'))
        .filter_map(|line| {
            let columns: Vec<&str> = line.trim_matches('|').split('|').collect();
            let room = quoted(columns[0]).next()?;
            Some((room, quoted(columns.last()?).collect()))
        })
        .collect()
}

/// What the manifests name among the crates of this workspace; what only tests need does not count.
fn built() -> BTreeMap<String, BTreeSet<String>> {
    let crates = root().join("crates");
    let rooms: BTreeSet<String> = fs::read_dir(&crates)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let names = |room: &String| -> BTreeSet<String> {
        fs::read_to_string(crates.join(room).join("Cargo.toml"))
            .unwrap()
            .lines()
            .skip_while(|line| *line != "[dependencies]")
            .skip(1)
            .take_while(|line| !line.starts_with('['))
            .filter_map(|line| line.split(['.', ' ', '=']).next())
            .filter(|name| rooms.contains(*name))
            .map(str::to_owned)
            .collect()
    };
    rooms
        .iter()
        .map(|room| (room.clone(), names(room)))
        .collect()
}

#[test]
fn all_rooms_are_told_and_all_arrows_point_downwards() {
    let (told, built) = (told(), built());
    let order: Vec<&String> = told.iter().map(|(room, _)| room).collect();
    let sorted: BTreeSet<&String> = order.iter().copied().collect();
    assert_eq!(sorted.len(), order.len(), "a room is told twice: {order:?}");
    assert_eq!(
        sorted,
        built.keys().collect(),
        "left the rooms that are told, right those that are there"
    );
    for (place, (room, arrows)) in told.iter().enumerate() {
        for name in &built[room] {
            assert!(
                order[place + 1..].contains(&name),
                "`{room}` names `{name}`, which does not stand below it"
            );
        }
        for name in arrows {
            assert!(
                built[room].contains(name),
                "`{room}` is said to name `{name}` and does not"
            );
        }
    }
}
