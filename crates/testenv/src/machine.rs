//! A machine: its power, what it boots, and the thread that lives through its runs.
//!
//! The management controller only calls the verbs here; none of them waits for the machine.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::boot::{BootPlan, Device, clear, decide, prepare};
use crate::cgroup::Groups;
use crate::container::{End, Start, StopOrder, Switch, run};
use crate::error::LabError;
use crate::network::{plug, unplug};
use crate::spec::{MachineSpec, Specification};

/// How long a machine may take to shut down before it is cut off.
const SHUTDOWN: Duration = Duration::from_secs(90);

/// Consoles are started anew at power-on when they have become longer than this.
const LONGEST_CONSOLE: u64 = 16 << 20;

/// What all machines of a lab share.
#[derive(Debug)]
pub struct Lab {
    /// A name for things that the whole host sees.
    pub id: String,
    /// The state directory.
    pub state: PathBuf,
    /// The specification.
    pub specification: Specification,
    /// Control groups.
    pub groups: Groups,
}

/// Power states, in the words of Redfish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Power {
    /// Off.
    Off,
    /// On.
    On,
    /// Told to shut down, not off yet.
    PoweringOff,
}

/// What can be done to the power, in the words of Redfish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reset {
    /// Switch on.
    On,
    /// Switch on whatever state it is in.
    ForceOn,
    /// Cut the power.
    ForceOff,
    /// Press the power button.
    GracefulShutdown,
    /// Shut down and start again.
    GracefulRestart,
    /// Cut the power and start again.
    ForceRestart,
    /// The same with a pause in between, which a machine without capacitors does not need.
    PowerCycle,
}

/// How long a boot override lasts, in the words of Redfish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Lasting {
    /// There is none.
    #[default]
    Disabled,
    /// For the next start.
    Once,
    /// For all starts.
    Continuous,
}

/// The boot override.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BootOverride {
    /// How long it lasts.
    pub lasting: Lasting,
    /// The device.
    pub device: Option<Device>,
}

/// An image in the virtual drive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    /// Where it came from.
    pub url: String,
    /// The copy of it.
    pub file: PathBuf,
}

#[derive(Debug)]
struct State {
    power: Power,
    boot: BootOverride,
    media: Option<Media>,
    switch: Option<Arc<Switch>>,
    activity: String,
}

/// What decides where a start boots from, as it is at the moment of switching on: what the controller changes
/// afterwards is for the next start.
#[derive(Debug)]
struct BootInput {
    boot: BootOverride,
    media: Option<Media>,
}

impl State {
    /// Uses the boot override up if it is for one start.
    fn take_boot_input(&mut self) -> BootInput {
        let boot = self.boot;
        if boot.lasting == Lasting::Once {
            self.boot = BootOverride::default();
        }
        BootInput {
            boot,
            media: self.media.clone(),
        }
    }
}

/// A machine of the lab.
#[derive(Debug)]
pub struct Machine {
    /// Its place in the specification.
    pub number: usize,
    /// How it is made.
    pub spec: MachineSpec,
    lab: Arc<Lab>,
    state: Mutex<State>,
    moved: Condvar,
}

/// A machine at one moment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Snapshot {
    /// Its name.
    pub name: String,
    /// Its power.
    pub power: Power,
    /// What it does, in words.
    pub activity: String,
}

impl Machine {
    /// A machine that is off, with its disks.
    pub fn new(lab: &Arc<Lab>, number: usize) -> Result<Arc<Self>, LabError> {
        let spec = lab.specification.machines[number].clone();
        let state = State {
            power: Power::Off,
            boot: BootOverride::default(),
            media: None,
            switch: None,
            activity: "off".to_owned(),
        };
        let machine = Self {
            number,
            spec,
            lab: Arc::clone(lab),
            state: Mutex::new(state),
            moved: Condvar::new(),
        };
        for (index, disk) in machine.spec.disks.iter().enumerate() {
            make_disk(&machine.disk(index), disk.size_mib << 20)?;
        }
        Ok(Arc::new(machine))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file that holds a disk.
    pub fn disk(&self, index: usize) -> PathBuf {
        self.lab
            .state
            .join("disks")
            .join(format!("{}-disk{index}.raw", self.spec.name))
    }

    /// The file that the console is written to.
    pub fn console(&self) -> PathBuf {
        console_path(&self.lab.state, &self.spec.name)
    }

    /// Where the copy of an inserted image lies.
    pub fn media_file(&self) -> PathBuf {
        self.lab
            .state
            .join("media")
            .join(format!("{}.iso", self.spec.name))
    }

    /// The machine at this moment.
    pub fn snapshot(&self) -> Snapshot {
        let state = self.state();
        Snapshot {
            name: self.spec.name.clone(),
            power: state.power,
            activity: state.activity.clone(),
        }
    }

    /// The power state.
    pub fn power(&self) -> Power {
        self.state().power
    }

    /// The boot override.
    pub fn boot_override(&self) -> BootOverride {
        self.state().boot
    }

    /// Sets the boot override.
    pub fn set_boot_override(&self, boot: BootOverride) {
        self.state().boot = boot;
    }

    /// The image in the virtual drive.
    pub fn media(&self) -> Option<Media> {
        self.state().media.clone()
    }

    /// Puts an image into the virtual drive, or takes it out.
    pub fn set_media(&self, media: Option<Media>) {
        self.state().media = media;
    }

    /// Does something to the power. What is so already stays so.
    pub fn reset(self: &Arc<Self>, reset: Reset) -> Result<(), LabError> {
        let now = Instant::now();
        let (cut_at, again) = match reset {
            Reset::On | Reset::ForceOn => return self.switch_on(),
            Reset::ForceOff => (now, false),
            Reset::GracefulShutdown => (now + SHUTDOWN, false),
            Reset::GracefulRestart => (now + SHUTDOWN, true),
            Reset::ForceRestart | Reset::PowerCycle => (now, true),
        };
        let mut state = self.state();
        let Some(switch) = state.switch.clone() else {
            drop(state);
            return if again { self.switch_on() } else { Ok(()) };
        };
        if !again {
            state.power = Power::PoweringOff;
        }
        switch.order(StopOrder { cut_at, again });
        Ok(())
    }

    fn switch_on(self: &Arc<Self>) -> Result<(), LabError> {
        let mut state = self.state();
        if state.switch.is_some() {
            return Ok(());
        }
        let switch = Arc::new(Switch::new()?);
        let machine = Arc::clone(self);
        let first = Arc::clone(&switch);
        let input = state.take_boot_input();
        std::thread::Builder::new()
            .name(self.spec.name.clone())
            .spawn(move || machine.live(first, input))
            .map_err(LabError::io(format!("start machine `{}`", self.spec.name)))?;
        state.switch = Some(switch);
        state.power = Power::On;
        state.activity = "starting".to_owned();
        Ok(())
    }

    /// Waits until the machine is off.
    pub fn wait_off(&self) {
        let mut state = self.state();
        while state.switch.is_some() {
            state = self
                .moved
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// From switching on to being off, through all restarts.
    fn live(&self, mut switch: Arc<Switch>, mut input: BootInput) {
        loop {
            let outcome = self.start_once(&switch, &input);
            let again = match outcome {
                Ok(end) => self.goes_on(end, &switch),
                Err(error) => {
                    self.say(&format!(
                        "the machine cannot start: {}",
                        with_causes(&error)
                    ));
                    tracing::error!(machine = %self.spec.name, error = %with_causes(&error), "a machine cannot start");
                    self.hang("cannot start", &switch)
                }
            };
            let next = if again { Switch::new().ok() } else { None };
            let mut state = self.state();
            if let Some(next) = next {
                switch = Arc::new(next);
                input = state.take_boot_input();
                state.switch = Some(Arc::clone(&switch));
                state.power = Power::On;
                state.activity = "restarting".to_owned();
                continue;
            }
            state.switch = None;
            state.power = Power::Off;
            state.activity = "off".to_owned();
            self.moved.notify_all();
            return;
        }
    }

    /// Decides whether the machine starts again; an order that came late wins over its own wish.
    fn goes_on(&self, end: End, switch: &Switch) -> bool {
        let wish = match end {
            End::Off => false,
            End::Restart => true,
            End::Stopped { again } => again,
            End::Hung { status } => {
                self.say(&format!(
                    "the first process of the machine ended with status {status}"
                ));
                return self.hang("its first process has failed", switch);
            }
        };
        let last = match (wish, end) {
            (true, _) => "restarting",
            (false, End::Off) => "switched itself off",
            (false, _) => "switched off",
        };
        self.say(last);
        wish
    }

    /// Stays on, doing nothing, until told otherwise.
    fn hang(&self, why: &str, switch: &Switch) -> bool {
        self.state().activity = format!("stopped: {why}");
        switch.wait().is_ok_and(|order| order.again)
    }

    fn start_once(&self, switch: &Switch, input: &BootInput) -> Result<End, LabError> {
        let plan = self.plan(input);
        let directory = Path::new("/run/testenv").join(&self.spec.name);
        self.say(&match &plan {
            BootPlan::Media { .. } => "starting from Cd".to_owned(),
            BootPlan::Disk { .. } => "starting from Hdd".to_owned(),
            BootPlan::Nothing { why } => format!("no bootable medium ({})", why.join("; ")),
        });
        if matches!(plan, BootPlan::Nothing { .. }) {
            self.state().activity = "no bootable medium".to_owned();
            let again = switch.wait()?.again;
            return Ok(End::Stopped { again });
        }
        clear(&directory)?;
        let outcome = self.run_plan(&plan, &directory, switch);
        // Everything is taken away, whatever happened; the first error is the one to tell.
        let cleared = clear(&directory);
        let unplugged = unplug(self.number, &self.spec);
        let end = outcome?;
        cleared.and(unplugged).map(|()| end)
    }

    fn run_plan(
        &self,
        plan: &BootPlan,
        directory: &Path,
        switch: &Switch,
    ) -> Result<End, LabError> {
        let Some(prepared) = prepare(plan, directory)? else {
            return Ok(End::Off);
        };
        let group = self
            .lab
            .groups
            .make(&self.spec.name, self.spec.memory_mib)?;
        // The disk that holds the running system is not shown: nothing may write below a mounted file system.
        let first = usize::from(prepared.system);
        let disks = (first..self.spec.disks.len())
            .map(|index| (self.disk(index), format!("/dev/disk{index}")));
        let start = Start {
            unique_name: format!("{}-{}", self.lab.id, self.spec.name),
            host_name: &self.spec.name,
            prepared: &prepared,
            network: plug(&self.lab.specification, self.number, &self.spec)?,
            disks: disks.collect(),
        };
        self.state().activity = if prepared.system {
            "running from Hdd"
        } else {
            "running from Cd"
        }
        .to_owned();
        let console = self.open_console()?;
        let end = run(&start, &group, &console, switch);
        group.remove()?;
        end
    }

    /// What the machine starts from: the override's device first, then the others.
    fn plan(&self, input: &BootInput) -> BootPlan {
        let BootInput { boot, media } = input;
        let mut order = vec![Device::Hdd, Device::Cd];
        if let (Lasting::Once | Lasting::Continuous, Some(device)) = (boot.lasting, boot.device) {
            order.retain(|other| *other != device);
            order.insert(0, device);
        }
        let disks: Vec<_> = (0..self.spec.disks.len())
            .map(|index| self.disk(index))
            .collect();
        decide(
            &order,
            media.as_ref().map(|media| media.file.as_path()),
            &disks,
        )
    }

    fn open_console(&self) -> Result<File, LabError> {
        let path = self.console();
        let cannot = || LabError::io(format!("write the console {}", path.display()));
        let long = fs::metadata(&path).is_ok_and(|found| found.len() > LONGEST_CONSOLE);
        if long {
            File::create(&path).map_err(cannot())?;
        }
        File::options()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(cannot())
    }

    /// Writes a line of the firmware to the console.
    fn say(&self, words: &str) {
        let said = self
            .open_console()
            .map(|mut file| writeln!(file, "[{}] {words}", self.spec.name));
        if !matches!(said, Ok(Ok(()))) {
            tracing::warn!(machine = %self.spec.name, words, "the console cannot be written");
        }
    }
}

/// Where the console of a machine is written to.
pub fn console_path(state: &Path, machine: &str) -> PathBuf {
    state.join("console").join(format!("{machine}.log"))
}

/// An error and its causes in one line.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        said = format!("{said}: {inner}");
        cause = inner.source();
    }
    said
}

/// Makes a disk, or lets a disk that is there grow. What is on it stays.
fn make_disk(path: &Path, size: u64) -> Result<(), LabError> {
    let cannot = || LabError::io(format!("make the disk {}", path.display()));
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(cannot())?;
    if file.metadata().map_err(cannot())?.len() < size {
        file.set_len(size).map_err(cannot())?;
    }
    Ok(())
}
