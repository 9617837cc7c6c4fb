//! Finds the rows of servers by what nodes call them.
//!
//! Nodes ask by the thousand, and looking through all stacks for each of them would take most of the time. Where a
//! server was found is remembered and looked at first; what stands there says itself whether it is still the one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use uuid::Uuid;

use crate::core::{Core, Live};
use crate::model::{Node, Row};
use crate::plugins;

/// Where servers were found. A hint: nothing is wrong when it is old.
#[derive(Default)]
pub(crate) struct Places {
    places: Mutex<HashMap<String, Place>>,
}

#[derive(Clone)]
struct Place {
    live: Weak<Live>,
    /// Names of resources from the root stack down to the server.
    path: Arc<[String]>,
}

impl Places {
    fn get(&self, key: &str) -> Option<Place> {
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.get(key).cloned()
    }

    fn put(&self, key: &str, place: Place) {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        // Those of stacks that are gone would stay for ever.
        if places.len() >= 64 && places.len().is_power_of_two() {
            places.retain(|_, place| place.live.strong_count() > 0);
        }
        places.insert(key.to_owned(), place);
    }
}

impl Core {
    /// Looks at a server's row, found by its own id (the node's key in metadata URLs) or the physical id.
    pub fn at_server<T>(&self, key: &str, look: impl FnOnce(&Arc<Live>, &Row) -> T) -> Option<T> {
        if let Some(place) = self.places.get(key)
            && let Some(live) = place.live.upgrade().filter(|live| !live.has_ended())
        {
            let root = live.lock();
            if let Some(row) = at(&root.node, &place.path).filter(|row| is_server(row, key)) {
                return Some(look(&live, row));
            }
        }
        for live in self.all() {
            let root = live.lock();
            let Some((path, row)) = search(&root.node, key) else {
                continue;
            };
            let place = Place {
                live: Arc::downgrade(&live),
                path: path.into_iter().rev().map(str::to_owned).collect(),
            };
            self.places.put(key, place);
            return Some(look(&live, row));
        }
        None
    }
}

fn at<'a>(root: &'a Node, path: &[String]) -> Option<&'a Row> {
    let (last, above) = path.split_last()?;
    let node = above.iter().try_fold(root, |node, name| {
        node.rows.get(name).and_then(|row| row.child.as_deref())
    });
    node?.rows.get(last)
}

/// The row and the names on the way to it, its own first. One that is replaced comes after all others.
fn search<'a>(node: &'a Node, key: &str) -> Option<(Vec<&'a str>, &'a Row)> {
    node.all_rows().find_map(|row| {
        let (mut path, found) = if is_server(row, key) {
            (Vec::new(), row)
        } else {
            search(row.child.as_ref()?, key)?
        };
        path.push(&row.name);
        Some((path, found))
    })
}

fn is_server(row: &Row, key: &str) -> bool {
    plugins::is_server(row)
        && (row.physical_id.as_deref() == Some(key)
            || row.note("node") == Some(key)
            || Uuid::parse_str(key).is_ok_and(|id| row.id == id))
}
