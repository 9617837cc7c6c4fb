//! The database as rooms use it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use store::{Migrations, Store, StoreError, params};

const ROOM: Migrations = Migrations {
    room: "room",
    steps: &["CREATE TABLE room_thing (name TEXT PRIMARY KEY, size INTEGER)"],
};

fn file() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("db"), &[ROOM]).unwrap();
    (dir, store)
}

async fn add(store: &Store, name: &'static str) -> Result<i64, StoreError> {
    store
        .write(move |tx| tx.insert("INSERT INTO room_thing VALUES (?1, 1)", params![name]))
        .await
}

async fn count(store: &Store) -> i64 {
    let count = store.read(|tx| {
        let row = tx.query_one("SELECT count(*) FROM room_thing", &[])?;
        row.map_or(Ok(-1), |row| row.get(0))
    });
    let count: Result<i64, StoreError> = count.await;
    count.unwrap()
}

#[tokio::test]
async fn what_was_written_is_there_after_opening_again() {
    let (dir, store) = file();
    add(&store, "a").await.unwrap();
    assert_eq!(count(&store).await, 1);
    drop(store);
    let store = Store::open(&dir.path().join("db"), &[ROOM]).unwrap();
    assert_eq!(count(&store).await, 1);
}

#[tokio::test]
async fn one_failed_closure_takes_nothing_of_the_others_with_it() {
    let (_dir, store) = file();
    add(&store, "a").await.unwrap();
    let (twice, other) = tokio::join!(add(&store, "a"), add(&store, "b"));
    assert!(twice.unwrap_err().is_constraint());
    other.unwrap();
    let half: Result<(), StoreError> = store
        .write(|tx| {
            tx.execute("INSERT INTO room_thing VALUES ('c', 1)", &[])?;
            Err(StoreError::Closed)
        })
        .await;
    assert!(half.is_err());
    assert_eq!(count(&store).await, 2);
}

#[tokio::test]
async fn many_writers_at_once_all_arrive() {
    let (_dir, store) = file();
    let mut all = tokio::task::JoinSet::new();
    for at in 0..500i64 {
        let store = store.clone();
        all.spawn(async move {
            let done: Result<i64, StoreError> = store
                .write(move |tx| {
                    tx.insert(
                        "INSERT INTO room_thing VALUES (?1, ?2)",
                        params![at.to_string(), at],
                    )
                })
                .await;
            done.unwrap();
        });
    }
    all.join_all().await;
    assert_eq!(count(&store).await, 500);
}

#[tokio::test]
async fn a_panic_is_told_and_nothing_of_it_is_kept() {
    let store = Store::memory(&[ROOM]).unwrap();
    let result: Result<(), StoreError> = store
        .write(|tx| {
            tx.execute("INSERT INTO room_thing VALUES ('c', 1)", &[])?;
            panic!("on purpose");
        })
        .await;
    assert!(matches!(result, Err(StoreError::Panicked)));
    assert_eq!(count(&store).await, 0);
    add(&store, "a").await.unwrap();
    assert_eq!(count(&store).await, 1);
}

#[tokio::test]
async fn a_cut_handle_writes_no_more_and_others_go_on() {
    let store = Store::memory(&[ROOM]).unwrap();
    let cut = store.cut_after(1);
    add(&cut, "a").await.unwrap();
    assert!(!cut.is_cut());
    assert!(matches!(add(&cut, "b").await, Err(StoreError::Closed)));
    assert!(cut.is_cut());
    add(&store, "c").await.unwrap();
    assert_eq!(count(&store).await, 2);
}

#[tokio::test]
async fn readers_cannot_write() {
    let (_dir, store) = file();
    let write: Result<_, StoreError> = store
        .read(|tx| tx.query("INSERT INTO room_thing VALUES ('x', 1) RETURNING name", &[]))
        .await;
    assert!(write.is_err());
    assert_eq!(count(&store).await, 0);
}

#[tokio::test]
async fn a_lease_has_one_owner_until_it_runs_out() {
    let store = Store::memory(&[]).unwrap();
    let claim = |owner: &'static str, now: i64| {
        let store = store.clone();
        async move {
            let got: Result<bool, StoreError> = store
                .write(move |tx| tx.claim_lease("engine", owner, now, now + 10))
                .await;
            got.unwrap()
        }
    };
    assert!(claim("a", 0).await);
    assert!(!claim("b", 5).await);
    assert!(claim("a", 5).await);
    assert!(!claim("b", 14).await);
    assert!(claim("b", 15).await);
    assert!(!claim("a", 16).await);
}

#[test]
fn steps_run_once_and_are_never_edited() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    const TWO: Migrations = Migrations {
        room: "room",
        steps: &[
            ROOM.steps[0],
            "ALTER TABLE room_thing ADD COLUMN colour TEXT",
        ],
    };
    const EDITED: Migrations = Migrations {
        room: "room",
        steps: &["CREATE TABLE room_thing (name TEXT)", TWO.steps[1]],
    };
    Store::open(&path, &[ROOM]).unwrap();
    Store::open(&path, &[TWO]).unwrap();
    Store::open(&path, &[TWO]).unwrap();
    let newer = Store::open(&path, &[ROOM]).unwrap_err();
    assert!(matches!(newer, StoreError::Newer { found: 2, .. }));
    let changed = Store::open(&path, &[EDITED]).unwrap_err();
    assert!(matches!(changed, StoreError::Changed { step: 1, .. }));
}
