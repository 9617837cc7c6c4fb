//! The control socket of a lab: one request and one answer per line, both JSON.
//!
//! For the operator of the lab. Machines are driven through their controllers, as real ones are; only what
//! a person standing beside them could see and do is here.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;

use crate::boot::release_disks;
use crate::cgroup::Groups;
use crate::credentials::Credentials;
use crate::error::LabError;
use crate::machine::{Lab, Machine, Power, Reset, Snapshot, console_path, with_causes};
use crate::serve::{lab_id, lock};
use crate::spec::MachineSpec;

/// How long a lab may take to end.
const ENDING: Duration = Duration::from_secs(60);

/// A request.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "request", deny_unknown_fields)]
enum Request {
    /// All machines.
    List,
    /// The last lines of a machine's console.
    Console {
        /// Its name.
        machine: String,
        /// How many lines.
        lines: usize,
    },
    /// Does something to a machine's power.
    Power {
        /// Its name.
        machine: String,
        /// What.
        reset: Reset,
    },
    /// Ends the lab.
    Down,
}

/// A lab as `DIR/lab.json` tells it, for whoever enrols its machines. Holds the password: mode 0600.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Directory {
    /// User of all controllers.
    pub username: String,
    /// Password of all controllers.
    pub password: String,
    /// The machines.
    pub machines: Vec<DirectoryEntry>,
}

/// A machine in a [`Directory`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DirectoryEntry {
    /// The machine.
    #[serde(flatten)]
    pub machine: MachineSpec,
    /// Address of its Redfish service.
    pub bmc_url: String,
    /// Path of its system in that service.
    pub system: String,
}

/// A machine as `list` shows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Listed {
    /// State.
    #[serde(flatten)]
    pub snapshot: Snapshot,
    /// Hardware addresses.
    pub macs: Vec<String>,
    /// Address of its controller.
    pub bmc: String,
}

/// What `lab.json` holds.
pub(crate) fn describe(lab: &Lab, credentials: &Credentials) -> Directory {
    let entry = |machine: &MachineSpec| DirectoryEntry {
        bmc_url: lab.specification.bmc.url(machine.bmc_address),
        system: format!("/redfish/v1/Systems/{}", machine.uuid),
        machine: machine.clone(),
    };
    Directory {
        username: credentials.username.clone(),
        password: credentials.password.clone(),
        machines: lab.specification.machines.iter().map(entry).collect(),
    }
}

fn socket_path(state: &Path) -> PathBuf {
    state.join("testenv.sock")
}

/// Makes the socket, for the owner only.
pub(crate) fn listen(state: &Path) -> Result<UnixListener, LabError> {
    let path = socket_path(state);
    let cannot = || LabError::io(format!("make the socket {}", path.display()));
    remove(state);
    let listener = UnixListener::bind(&path).map_err(cannot())?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(cannot())?;
    Ok(listener)
}

/// Removes the socket; one that is gone already is fine.
pub(crate) fn remove(state: &Path) {
    match fs::remove_file(socket_path(state)) {
        Ok(()) | Err(_) => {}
    }
}

/// Answers all that call.
pub(crate) async fn attend(listener: UnixListener, machines: Vec<Arc<Machine>>, end: Arc<Notify>) {
    let machines: Arc<[Arc<Machine>]> = machines.into();
    while let Ok((stream, _)) = listener.accept().await {
        let (machines, end) = (Arc::clone(&machines), Arc::clone(&end));
        tokio::spawn(async move {
            if let Err(error) = converse(stream, &machines, &end).await {
                tracing::debug!(%error, "a caller has hung up");
            }
        });
    }
}

async fn converse(
    mut stream: UnixStream,
    machines: &[Arc<Machine>],
    end: &Notify,
) -> std::io::Result<()> {
    let (read, mut write) = stream.split();
    let mut lines = tokio::io::BufReader::new(read).lines();
    while let Some(line) = lines.next_line().await? {
        let answer = match serde_json::from_str::<Request>(&line) {
            Ok(request) => answer(request, machines, end),
            Err(error) => json!({"error": format!("not a request: {error}")}),
        };
        write.write_all(format!("{answer}\n").as_bytes()).await?;
    }
    Ok(())
}

fn answer(request: Request, machines: &[Arc<Machine>], end: &Notify) -> Value {
    let find = |name: &str| {
        let found = machines.iter().find(|machine| machine.spec.name == name);
        found.ok_or_else(|| LabError::NoMachine {
            machine: name.to_owned(),
        })
    };
    let outcome = match request {
        Request::List => Ok(
            json!({"machines": machines.iter().map(|machine| listed(machine)).collect::<Vec<_>>()}),
        ),
        Request::Console { machine, lines } => {
            find(&machine).map(|machine| json!({"lines": last_lines(&machine.console(), lines)}))
        }
        Request::Power { machine, reset } => find(&machine)
            .and_then(|machine| machine.reset(reset))
            .map(|()| json!({"done": true})),
        Request::Down => {
            end.notify_one();
            Ok(json!({"done": true}))
        }
    };
    outcome.unwrap_or_else(|error| json!({"error": with_causes(&error)}))
}

fn listed(machine: &Machine) -> Listed {
    Listed {
        snapshot: machine.snapshot(),
        macs: machine
            .spec
            .nics
            .iter()
            .map(|nic| nic.mac.clone())
            .collect(),
        bmc: machine.spec.bmc_address.to_string(),
    }
}

/// The last lines of a console, as plain text: without the sequences that colour a terminal.
pub fn last_lines(console: &Path, count: usize) -> Vec<String> {
    let bytes = fs::read(console).unwrap_or_default();
    let text = plain(&String::from_utf8_lossy(&bytes));
    let lines: Vec<_> = text
        .lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty())
        .collect();
    lines[lines.len().saturating_sub(count)..]
        .iter()
        .map(|line| (*line).to_owned())
        .collect()
}

/// Removes control sequences of terminals.
fn plain(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\u{1b}' => match characters.next() {
                // A sequence ends with a letter or another character from `@` on.
                Some('[') => drop(characters.by_ref().find(|c| ('@'..='~').contains(c))),
                // A command to the terminal ends with BEL or with ESC and a backslash.
                Some(']' | 'P') => drop(characters.by_ref().find(|c| matches!(c, '\u{7}' | '\\'))),
                Some(_) | None => {}
            },
            '\r' => {}
            other => kept.push(other),
        }
    }
    kept
}

/// Asks the lab in a state directory to end; whether it does is seen by its process.
pub(crate) async fn ask_to_end(state: &Path) -> std::io::Result<()> {
    let mut stream = UnixStream::connect(socket_path(state)).await?;
    let line = serde_json::to_string(&Request::Down).unwrap_or_default();
    stream.write_all(format!("{line}\n").as_bytes()).await?;
    let mut answers = tokio::io::BufReader::new(stream).lines();
    answers.next_line().await.map(drop)
}

/// A client of the lab in a state directory.
#[derive(Debug)]
pub struct Client {
    state: PathBuf,
}

impl Client {
    /// A client of the lab in `state`.
    pub fn new(state: &Path) -> Self {
        Self {
            state: fs::canonicalize(state).unwrap_or_else(|_| state.to_owned()),
        }
    }

    fn ask(&self, request: &Request) -> Result<Value, LabError> {
        let gone = || LabError::NotRunning {
            state: self.state.clone(),
        };
        let mut stream = BlockingStream::connect(socket_path(&self.state)).map_err(|_| gone())?;
        let line = serde_json::to_string(request).unwrap_or_default();
        stream
            .write_all(format!("{line}\n").as_bytes())
            .map_err(|_| gone())?;
        let mut answer = String::new();
        BufReader::new(stream)
            .read_line(&mut answer)
            .map_err(|_| gone())?;
        let answer: Value = serde_json::from_str(&answer).map_err(|_| gone())?;
        match answer.get("error").and_then(Value::as_str) {
            Some(said) => Err(LabError::Refused {
                said: said.to_owned(),
            }),
            None => Ok(answer),
        }
    }

    /// The machines.
    pub fn list(&self) -> Result<Vec<Listed>, LabError> {
        let answer = self.ask(&Request::List)?;
        serde_json::from_value(answer["machines"].clone()).map_err(|error| LabError::Refused {
            said: error.to_string(),
        })
    }

    /// Does something to a machine's power, as a finger on its button.
    pub fn power(&self, machine: &str, reset: Reset) -> Result<(), LabError> {
        self.ask(&Request::Power {
            machine: machine.to_owned(),
            reset,
        })
        .map(|_| ())
    }

    /// The last lines of a machine's console; also those of a lab that has ended.
    pub fn console(&self, machine: &str, lines: usize) -> Result<Vec<String>, LabError> {
        let path = console_path(&self.state, machine);
        if path.exists() {
            return Ok(last_lines(&path, lines));
        }
        let answer = self.ask(&Request::Console {
            machine: machine.to_owned(),
            lines,
        })?;
        Ok(serde_json::from_value(answer["lines"].clone()).unwrap_or_default())
    }

    /// Addresses and password for whoever enrols the machines.
    pub fn directory(&self) -> Result<Directory, LabError> {
        let path = self.state.join("lab.json");
        let text = fs::read(&path).map_err(|_| LabError::NotRunning {
            state: self.state.clone(),
        })?;
        serde_json::from_slice(&text).map_err(|error| LabError::Specification {
            path,
            reason: error.to_string(),
        })
    }

    /// Ends the lab and removes what it left: control groups and sockets. Disks and consoles stay.
    ///
    /// Also good after a lab that was killed. Tells whether one was running.
    pub fn down(&self) -> Result<bool, LabError> {
        if !self.state.exists() {
            return Ok(false);
        }
        let was_running = self.ask(&Request::Down).is_ok();
        let until = Instant::now() + ENDING;
        while lock(&self.state)?.is_none() {
            if Instant::now() > until {
                return Err(LabError::Running {
                    state: self.state.clone(),
                });
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Groups::of(&lab_id(&self.state))?.remove()?;
        release_disks(&self.state.join("disks"))?;
        remove(&self.state);
        Ok(was_running)
    }
}

impl Listed {
    /// Whether the machine is off.
    pub fn is_off(&self) -> bool {
        self.snapshot.power == Power::Off
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consoles_are_shown_as_plain_text() {
        let coloured = "\u{1b}[!p\u{1b}]104\u{1b}\\[\u{1b}[0;32m  OK  \u{1b}[0m] Started it.\r\n\u{1b}[K\r\nlast\u{1b}]0;title\u{7}\r\n";
        assert_eq!(plain(coloured), "[  OK  ] Started it.\n\nlast\n");
    }
}
