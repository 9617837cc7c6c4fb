//! Nodes as processes: the real agents, each with its own directories, writing one file by a template.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

/// How often files are looked at: a fraction of what is measured.
const LOOK: Duration = Duration::from_millis(5);

/// Agents that end with their holder.
pub(crate) struct Agents {
    processes: Vec<Child>,
    directory: tempfile::TempDir,
}

impl Agents {
    /// Starts an `os-collect-config` for each address; it runs `os-refresh-config`, and that `os-apply-config`, all of
    /// `programs`.
    pub(crate) fn start(programs: &Path, urls: &[String]) -> anyhow::Result<Agents> {
        let programs = programs.canonicalize().context("--agents")?;
        let mut agents = Agents {
            processes: Vec::new(),
            directory: tempfile::tempdir()?,
        };
        for (index, url) in urls.iter().enumerate() {
            let node = agents.directory.path().join(index.to_string());
            furnish(&node, &programs)?;
            agents.processes.push(agent(&node, &programs, url)?);
        }
        Ok(agents)
    }

    /// Returns when every node has written the word, with the time that each of them took.
    pub(crate) async fn know(
        &self,
        word: &str,
        began: Instant,
        patience: Duration,
    ) -> anyhow::Result<Vec<Duration>> {
        let path = |index: usize| {
            self.directory
                .path()
                .join(index.to_string())
                .join("root/word")
        };
        let mut waiting: Vec<PathBuf> = (0..self.processes.len()).map(path).collect();
        let mut times = Vec::new();
        while !waiting.is_empty() {
            ensure!(
                began.elapsed() < patience,
                "{} nodes wait on",
                waiting.len()
            );
            waiting.retain(|path| {
                let there = std::fs::read_to_string(path).is_ok_and(|text| text.trim() == word);
                if there {
                    times.push(began.elapsed());
                }
                !there
            });
            tokio::time::sleep(LOOK).await;
        }
        Ok(times)
    }
}

impl Drop for Agents {
    fn drop(&mut self) {
        for process in &mut self.processes {
            // Their files go with the directory.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Lays out what an image would hold.
fn furnish(node: &Path, programs: &Path) -> anyhow::Result<()> {
    for phase in ["pre-configure", "configure", "post-configure", "migration"] {
        std::fs::create_dir_all(node.join(format!("refresh/{phase}.d")))?;
    }
    for directory in ["templates", "root"] {
        std::fs::create_dir(node.join(directory))?;
    }
    std::fs::write(node.join("templates/word"), "{{word}}\n")?;
    let hook = node.join("refresh/configure.d/20-os-apply-config");
    let script = format!(
        "#!/bin/sh\nexec {}/os-apply-config --templates {node}/templates --output {node}/root\n",
        programs.display(),
        node = node.display()
    );
    std::fs::write(&hook, script)?;
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755))?;
    Ok(())
}

fn agent(node: &Path, programs: &Path, url: &str) -> anyhow::Result<Child> {
    let path = std::env::var("PATH").unwrap_or_default();
    let log = std::fs::File::create(node.join("log"))?;
    let program = programs.join("os-collect-config");
    let refresh = format!(
        "{}/os-refresh-config --lockfile {}/lock",
        programs.display(),
        node.display()
    );
    let started = Command::new(&program)
        .args(["--request-metadata-url", url, "--command", &refresh])
        .arg("--cachedir")
        .arg(node.join("cache"))
        .arg("--backup-cachedir")
        .arg(node.join("backup"))
        .arg("--config-drive")
        .arg(node.join("none"))
        .arg("request")
        .env("PATH", format!("{}:{path}", programs.display()))
        .env("OS_REFRESH_CONFIG_BASE_DIR", node.join("refresh"))
        .env("OS_APPLY_CONFIG_STATE", node.join("applied"))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn();
    started.with_context(|| format!("cannot start {}", program.display()))
}
