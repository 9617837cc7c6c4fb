//! The one thread that writes: collects closures, commits them together, answers after the commit.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};

use rusqlite::Connection;

use crate::error::StoreError;
use crate::tx::{Read, Tx, snapshot};

/// Closures in one commit. A limit keeps the first caller from waiting on a flood.
const BATCH: usize = 256;

/// Tells the caller the result, once it is known whether the commit held.
type Answer = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// A closure that writes, or learns why there is no transaction; whether to keep what it wrote.
type Write = Box<dyn FnOnce(Result<&Tx<'_>, StoreError>) -> (bool, Answer) + Send>;

/// Work for the writer's thread.
pub(crate) enum Job {
    Write(Write),
    Read(Box<dyn FnOnce(&Connection) + Send>),
}

impl Job {
    pub(crate) fn write<T, E, F, R>(work: F, reply: R) -> Job
    where
        F: FnOnce(&Tx<'_>) -> Result<T, E> + Send + 'static,
        R: FnOnce(Result<T, E>) + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        Job::Write(Box::new(move |tx| {
            let result = tx.map_err(E::from).and_then(work);
            let keep = result.is_ok();
            let answer: Answer = Box::new(move |commit| match commit {
                Ok(()) => reply(result),
                Err(error) => reply(Err(error.into())),
            });
            (keep, answer)
        }))
    }

    pub(crate) fn read<T, E, F, R>(work: F, reply: R) -> Job
    where
        F: FnOnce(&Read<'_>) -> Result<T, E> + Send + 'static,
        R: FnOnce(Result<T, E>) + Send + 'static,
        E: From<StoreError>,
    {
        Job::Read(Box::new(move |connection| {
            reply(snapshot(connection, work))
        }))
    }
}

/// The way to the thread. The thread ends when this is dropped and all work is done.
pub(crate) struct Writer {
    jobs: Option<Sender<Job>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Writer {
    pub(crate) fn start(connection: Connection) -> Result<Writer, StoreError> {
        let (send, receive) = channel();
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || run(&connection, &receive))
            .map_err(|_| StoreError::Closed)?;
        Ok(Writer {
            jobs: Some(send),
            thread: Some(thread),
        })
    }

    pub(crate) fn send(&self, job: Job) -> Result<(), StoreError> {
        let jobs = self.jobs.as_ref().ok_or(StoreError::Closed)?;
        jobs.send(job).map_err(|_| StoreError::Closed)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.jobs = None;
        // The last handle may be dropped by a closure on the writer's own thread.
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

fn run(connection: &Connection, jobs: &Receiver<Job>) {
    while let Ok(first) = jobs.recv() {
        let mut writes = Vec::new();
        let mut next = Some(first);
        while let Some(job) = next.take() {
            match job {
                Job::Write(work) => writes.push(work),
                Job::Read(work) => {
                    // A read sees the writes that were handed in before it.
                    commit(connection, std::mem::take(&mut writes));
                    let _ = catch_unwind(AssertUnwindSafe(|| work(connection)));
                }
            }
            if writes.len() < BATCH {
                next = jobs.try_recv().ok();
            }
        }
        commit(connection, writes);
    }
}

fn commit(connection: &Connection, writes: Vec<Write>) {
    if writes.is_empty() {
        return;
    }
    let mut answers = Vec::with_capacity(writes.len());
    let result = transact(connection, writes, &mut answers);
    if let Err(error) = &result {
        tracing::error!(%error, "the database did not commit");
        let _ = connection.execute_batch("ROLLBACK");
    }
    for answer in answers {
        answer(result.clone());
    }
}

fn transact(
    connection: &Connection,
    writes: Vec<Write>,
    answers: &mut Vec<Answer>,
) -> Result<(), StoreError> {
    let batch = |sql: &'static str| {
        connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute([]))
            .map_err(StoreError::sql(sql))
    };
    if let Err(error) = batch("BEGIN IMMEDIATE") {
        for work in writes {
            answers.push(work(Err(error.clone())).1);
        }
        return Err(error);
    }
    for work in writes {
        batch("SAVEPOINT one")?;
        let tx = Tx {
            read: Read { connection },
        };
        // A panic drops the answer's channel, which the caller sees.
        let done = catch_unwind(AssertUnwindSafe(|| work(Ok(&tx))));
        match done {
            Ok((true, answer)) => answers.push(answer),
            Ok((false, answer)) => {
                answers.push(answer);
                batch("ROLLBACK TO one")?;
            }
            Err(_) => {
                batch("ROLLBACK TO one")?;
            }
        }
        batch("RELEASE one")?;
    }
    batch("COMMIT")?;
    Ok(())
}
