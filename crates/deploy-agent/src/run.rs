//! From the medium to the result: network, orders, work, report.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::beat::Beat;
use crate::error::{AgentError, with_causes};
use crate::http::Client;
use crate::orders::{CleanOrders, Medium, Orders, Report, WriteOrders};
use crate::{clean, disks, network, say, write};

/// Progress is told this often: often enough to see that the machine lives.
const TELLING: Duration = Duration::from_secs(1);

/// How long the seed may be away, counted from the first request that failed.
const PATIENCE: Duration = Duration::from_secs(600);

/// The seed, as this machine sees it.
struct Seed {
    client: Client,
    url: String,
}

/// Does what the medium at `path` says.
pub fn run(path: &Path) -> Result<(), AgentError> {
    let bad = |why: String| AgentError::Medium {
        path: path.display().to_string(),
        why,
    };
    let text = std::fs::read(path).map_err(|error| bad(error.to_string()))?;
    let medium: Medium = serde_json::from_slice(&text).map_err(|error| bad(error.to_string()))?;
    let mut seed = Seed {
        client: Client::new(&medium.token, medium.ca.as_deref())?,
        url: format!(
            "{}/v1/deploy/{}",
            medium.api.trim_end_matches('/'),
            medium.node
        ),
    };
    // Only the first process of a machine is responsible for its network.
    if std::process::id() == 1 {
        network::connect()?;
    }
    say(&format!("asking {} for orders", seed.url));
    let orders = seed.orders()?;
    let beats = Client::new(&medium.token, medium.ca.as_deref())?;
    let phase = match &orders {
        Orders::Write(_) => "prepare",
        Orders::Clean(_) => "clean",
    };
    let beat = Beat::begin(beats, seed.url.clone(), phase);
    let outcome = match &orders {
        Orders::Write(orders) => seed.write(orders, &beat),
        Orders::Clean(orders) => clean(orders),
    };
    match outcome {
        Ok(()) => {
            seed.tell(&Report {
                result: Some("ok"),
                ..Report::default()
            })?;
            say("done");
            Ok(())
        }
        Err(error) => {
            let said = with_causes(&error);
            seed.tell(&Report {
                result: Some("error"),
                error: Some(&said),
                ..Report::default()
            })?;
            Err(error)
        }
    }
}

fn clean(orders: &CleanOrders) -> Result<(), AgentError> {
    if orders.clean != "metadata" {
        let why = format!(
            "`{}` is no way of cleaning that this agent knows",
            orders.clean
        );
        return Err(AgentError::Answer {
            url: "the orders".to_owned(),
            why,
        });
    }
    let all = disks::all();
    let hints = std::iter::once(&orders.disk).chain(&orders.wipe_disks);
    // All are found before the first is touched: wrong hints must not leave half of the work done.
    let chosen: Vec<_> = hints
        .map(|hints| disks::choose(&all, hints))
        .collect::<Result<_, _>>()?;
    chosen.iter().try_for_each(clean::wipe)
}

impl Seed {
    fn orders(&mut self) -> Result<Orders, AgentError> {
        let url = self.url.clone();
        let bytes = self.patiently(|client| client.get(&url))?;
        serde_json::from_slice(&bytes).map_err(|error| AgentError::Answer {
            url,
            why: error.to_string(),
        })
    }

    fn write(&mut self, orders: &WriteOrders, beat: &Beat) -> Result<(), AgentError> {
        let target = write::target(orders)?;
        let (url, mut told) = (self.url.clone(), Instant::now());
        write::write(
            &mut self.client,
            orders,
            &target,
            beat,
            &mut |client, done, total| {
                beat.done(done, total);
                if told.elapsed() < TELLING && done < total {
                    return;
                }
                told = Instant::now();
                say(&format!("{} of {} MiB", done >> 20, total >> 20));
                // A report of progress that is lost is followed by another one.
                match post(client, &url, &beat.report()) {
                    Ok(()) | Err(_) => {}
                }
            },
        )
    }

    /// Says how it went, again and again if need be: the work would be done in vain.
    fn tell(&mut self, report: &Report<'_>) -> Result<(), AgentError> {
        let url = self.url.clone();
        self.patiently(|client| post(client, &url, report))
    }

    fn patiently<T>(
        &mut self,
        mut call: impl FnMut(&mut Client) -> Result<T, AgentError>,
    ) -> Result<T, AgentError> {
        let end = Instant::now() + PATIENCE;
        let mut pause = Duration::from_millis(100);
        loop {
            match call(&mut self.client) {
                Ok(answer) => return Ok(answer),
                Err(error) if Instant::now() + pause > end => return Err(error),
                Err(error) => say(&with_causes(&error)),
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    }
}

pub(crate) fn post(client: &mut Client, url: &str, report: &Report<'_>) -> Result<(), AgentError> {
    let json = serde_json::to_vec(report)
        .map_err(|error| AgentError::io("write a report")(std::io::Error::other(error)))?;
    client.post(url, &json)
}
