//! The work of the agent: collect, store, run, report, wait, and again.

use crate::cache::{Cache, CacheError};
use crate::collectors::request::Held;
use crate::collectors::{self, Context, Refusal, State, zaqar};
use crate::config_drive::ConfigDrive;
use crate::execute::{self, Ended};
use crate::http::{Http, chain};
use crate::log::Log;
use crate::report::{self, Reports, compose};
use crate::settings::{Settings, SettingsError};
use metadata::{Map, Value};
use std::cell::Cell;
use std::io::{self, Write};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::{Duration, SystemTime};
use tokio::signal::unix::Signal;
use tokio::time::sleep;

/// Why the agent cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CycleError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error("cannot run `{command}`")]
    Run { command: String, source: io::Error },
    #[error("cannot print")]
    Print { source: io::Error },
}

/// How the work ended.
pub(crate) enum End {
    /// With this exit code.
    Exit(u8),
    /// To begin anew, with the settings as they are now.
    Restart,
}

/// Why a wait ended.
enum Woken {
    /// It was time, or there is something new.
    InTime,
    /// The server of the held request was lost.
    Lost,
    /// SIGHUP came.
    Hangup,
}

/// Nodes that lost their server ask it again within so many seconds.
const MAX_JITTER: f64 = 1.0;

/// A busy server is not let alone for longer than this, or than the pause between two polls.
const MAX_PAUSE: f64 = 300.0;

/// The exit code of a process that SIGTERM ended.
pub(crate) const TERMINATED: u8 = 143;

pub(crate) struct Agent<'p, 's> {
    settings: &'s Settings,
    log: Log<'p>,
    out: &'p mut dyn Write,
    running: &'s Cell<bool>,
    http: Http,
    cache: Cache,
    drive: ConfigDrive,
    state: State,
    reports: Reports,
    collectors: Vec<String>,
    command: Option<String>,
    one_time: bool,
    force: bool,
    /// Whether the command has changed our own configuration files.
    outdated: bool,
}

/// What one pass over all collectors found.
#[derive(Default)]
struct Pass {
    paths: Vec<PathBuf>,
    changed: Vec<String>,
}

impl<'p, 's> Agent<'p, 's> {
    pub(crate) fn new(
        settings: &'s Settings,
        log: Log<'p>,
        out: &'p mut dyn Write,
        running: &'s Cell<bool>,
    ) -> Result<Self, SettingsError> {
        let print = settings.switch("DEFAULT", "print_only")?;
        let force = settings.switch("DEFAULT", "force")?;
        Ok(Agent {
            log,
            out,
            running,
            http: Http::default(),
            cache: Cache::new(
                settings.main_text("cachedir")?.into(),
                settings.main_text("backup_cachedir")?.into(),
            ),
            drive: ConfigDrive::shown_at(settings.main_text("config_drive")?.into()),
            state: State::default(),
            reports: Reports::default(),
            collectors: settings.texts("DEFAULT", "collectors")?,
            command: settings.filled("DEFAULT", "command")?.filter(|_| !print),
            one_time: settings.switch("DEFAULT", "one_time")? || force,
            force,
            outdated: false,
            settings,
        })
    }

    /// Works until there is no more to do. SIGHUP begins anew.
    pub(crate) async fn work(&mut self, hangup: &mut Signal) -> Result<End, CycleError> {
        let Some(command) = self.command.clone() else {
            return self.print().await;
        };
        let least = self.settings.float("DEFAULT", "min_polling_interval")?;
        let most = self.settings.float("DEFAULT", "polling_interval")?;
        let splay = self.settings.float("DEFAULT", "splay")?;
        if splay > 0.0 && !self.one_time {
            tokio::select! {
                () = sleep(seconds(rand::random_range(0.0..splay))) => {}
                _ = hangup.recv() => return Ok(End::Restart),
            }
        }
        let mut pause = least;
        loop {
            let pass = match self.pass().await {
                // A disk that is full or read-only may be so for a while only.
                Err(CycleError::Cache(error)) if !self.one_time => {
                    self.log.warn(&chain(&error));
                    Pass::default()
                }
                pass => pass?,
            };
            let mut code = 0;
            if !pass.changed.is_empty() || self.force {
                match self.run(&command, &pass).await? {
                    Some(ended) => code = ended,
                    None => return Ok(End::Exit(TERMINATED)),
                }
                // What fails is tried again ever more rarely, until it succeeds; news comes in between.
                if code == 0 {
                    pause = least;
                }
            }
            if self.one_time {
                self.report().await;
                return Ok(End::Exit(code));
            }
            self.report().await;
            if self.outdated {
                return Ok(End::Restart);
            }
            self.state.request.hold(&self.http);
            let wanted = self.http.wanted_pause().unwrap_or_default().as_secs_f64();
            let this = pause.max(wanted.min(most.max(MAX_PAUSE)));
            pause = match self.wait(hangup, this).await {
                Woken::Hangup => return Ok(End::Restart),
                Woken::InTime => (pause * 2.0).min(most),
                // A server that goes away is most often back in a moment.
                Woken::Lost => least,
            };
        }
    }

    /// Waits for the next pass.
    async fn wait(&mut self, hangup: &mut Signal, pause: f64) -> Woken {
        let over = sleep(seconds(pause));
        tokio::pin!(over);
        loop {
            tokio::select! {
                () = &mut over => return Woken::InTime,
                _ = hangup.recv() => return Woken::Hangup,
                held = self.state.request.ended() => match held {
                    Held::News => return Woken::InTime,
                    // Asked again at once; a server that does not hold requests is polled after
                    // a few of these.
                    Held::Nothing => self.state.request.hold(&self.http),
                    Held::Failed => {
                        // All nodes lose a server at the same moment, and should not come back at
                        // the same moment.
                        sleep(seconds(rand::random_range(0.0..MAX_JITTER))).await;
                        return Woken::Lost;
                    }
                },
            }
        }
    }

    /// Asks all collectors; gives all that they gave, in order.
    async fn collect(
        &mut self,
        mut take: impl FnMut(&Cache, String, Value) -> Result<(), CacheError>,
    ) -> Result<(), CycleError> {
        for name in self.collectors.clone() {
            let mut context = Context {
                settings: self.settings,
                http: &self.http,
                cache: &self.cache,
                drive: &mut self.drive,
                state: &mut self.state,
                applies: self.command.is_some(),
            };
            match collectors::collect(&name, &mut context).await {
                Ok(collected) => {
                    for warning in &collected.warnings {
                        self.log.warn(warning);
                    }
                    for (key, document) in collected.documents {
                        take(&self.cache, key, document)?;
                    }
                }
                Err(Refusal::NotConfigured(None)) => {
                    self.log.debug(&format!("Source [{name}] Not configured."));
                }
                Err(Refusal::NotConfigured(Some(why))) => self.log.debug_or_warn(&name, &why),
                Err(Refusal::Unavailable(why)) => {
                    if let Some(why) = why {
                        self.log.warn(&why);
                    }
                    self.log.warn(&format!("Source [{name}] Unavailable."));
                }
                Err(Refusal::Settings(error)) => return Err(error.into()),
            }
        }
        Ok(())
    }

    async fn print(&mut self) -> Result<End, CycleError> {
        let mut all = Map::new();
        self.collect(|_, key, document| {
            all.insert(key, document);
            Ok(())
        })
        .await?;
        let text = format!("{}\n", Value::Map(all).to_json_indented());
        let printed = self
            .out
            .write_all(text.as_bytes())
            .and_then(|()| self.out.flush());
        printed.map_err(|source| CycleError::Print { source })?;
        Ok(End::Exit(0))
    }

    async fn pass(&mut self) -> Result<Pass, CycleError> {
        let mut pass = Pass {
            paths: Vec::new(),
            changed: Vec::new(),
        };
        self.collect(|cache, key, document| {
            let stored = cache.store(&key, &document)?;
            pass.paths.push(stored.path);
            if stored.changed {
                pass.changed.push(stored.key);
            }
            Ok(())
        })
        .await?;
        if pass.changed.is_empty() {
            self.cache.release(zaqar::KEPT)?;
        } else {
            self.cache.store_list(&pass.paths)?;
            self.cache.back_up()?;
        }
        Ok(pass)
    }

    /// Runs the command and remembers what was applied. None means that this process was asked to end.
    async fn run(&mut self, command: &str, pass: &Pass) -> Result<Option<u8>, CycleError> {
        let watched = self.reports.wanted(self.state.request.address.as_ref());
        let started = SystemTime::now();
        let failure = self.cache.file_of_failure();
        let failure = watched.then_some(failure.as_path());
        let ended = execute::run(command, &pass.paths, failure, self.running).await;
        let ended = ended.map_err(|source| CycleError::Run {
            command: command.to_owned(),
            source,
        })?;
        let Ended::Status(status, watch) = ended else {
            return Ok(None);
        };
        // Only the command can have rendered our own configuration anew; other changes wait for it or for SIGHUP.
        self.outdated = !self.settings.files_are_unchanged();
        if status.success() {
            for key in &pass.changed {
                self.cache.commit(key)?;
            }
            self.cache.release(zaqar::KEPT)?;
        } else {
            let end = end_text(status);
            self.log.warn(&format!(
                "Command failed, will not cache new data. Command '{command}' {end}"
            ));
        }
        if let Some(watch) = watch {
            let generation = self.state.request.version().unwrap_or_default();
            let report = compose(&report::Run {
                generation,
                exit_code: i64::from(exit_code(status)),
                watch: &watch,
                started,
                secrets: &self.cache.secrets(&pass.paths),
            });
            self.reports.put(report);
        }
        Ok(Some(exit_code(status)))
    }

    async fn report(&mut self) {
        let Some(address) = self.state.request.address.clone() else {
            return;
        };
        match self.reports.send(&self.http, &address).await {
            Ok(None) => {}
            Ok(Some(report)) => self.keep_report(report),
            Err(error) => self.log.warn(&format!("cannot report: {error}")),
        }
    }
}

impl Agent<'_, '_> {
    /// Keeps a report that was sent, for `os-refresh-config status`.
    fn keep_report(&mut self, report: Value) {
        let changes = if self.state.request.is_held() {
            "arrive at once, by a held request"
        } else {
            "are looked for by polling"
        };
        if let Value::Map(mut kept) = report {
            let now = report::time(SystemTime::now());
            kept.insert("sent".to_owned(), Value::from(now));
            kept.insert("changes".to_owned(), Value::from(changes));
            if let Err(error) = self.cache.keep_report(&Value::Map(kept)) {
                self.log.warn(&chain(&error));
            }
        }
    }
}

impl Log<'_> {
    /// Most sources are not configured on most nodes, which is worth a line only for Zaqar, as upstream has it.
    fn debug_or_warn(&mut self, name: &str, why: &str) {
        match name {
            "zaqar" => self.warn(why),
            _ => self.debug(&format!("Source [{name}] Not configured: {why}")),
        }
    }
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

/// The exit code for the command's end; a signal N counts as -N, as Python has it.
fn exit_code(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 256 - signal))
        .unwrap_or(1);
    u8::try_from(code & 0xff).unwrap_or(1)
}

fn end_text(status: ExitStatus) -> String {
    match status.signal() {
        Some(signal) => format!("died with signal {signal}."),
        None => format!("returned non-zero exit status {}.", exit_code(status)),
    }
}
