//! The road from inside the machine: the medium that it boots once, its orders, its reports.
//!
//! Nothing here waits for a machine. A report is written into the node's work and the scheduler goes on from
//! there. The secret of the running work opens its orders and nothing else.

use std::path::{Path, PathBuf};

use disk::iso::{Content, IsoImage};
use jiff::Timestamp;
use serde_json::{Value, json};
use subtle::ConstantTimeEq;

use crate::deploy::{
    AgentImage, AgentOrders, AgentReport, CleanOrders, Image, MediumSettings, WriteOrders,
    base64_of,
};
use crate::error::MetalError;
use crate::metal::{Baremetal, get};
use crate::node::{Node, NodeId};
use crate::rows;
use crate::settings::AgentSettings;
use crate::steps::StepError;
use crate::verbs::{next_sign, show};
use crate::work::{AgentResult, Purpose, Step, Work};

/// Label of the medium.
const LABEL: &str = "deploy-agent";

impl Baremetal {
    /// What the agent of a node is to do. That it asks is a sign of life.
    pub async fn agent_orders(&self, id: NodeId, token: &str) -> Result<AgentOrders, MetalError> {
        let (node, work) = self.agent_work(id, token).await?;
        if node.progress().is_none() {
            self.agent_asks(id, token).await?;
        }
        let disk = |order: Option<Value>| {
            order
                .or_else(|| node.instance_info.get("root_device").cloned())
                .or_else(|| node.properties.get("root_device").cloned())
                .unwrap_or(Value::Null)
        };
        if work.purpose == Purpose::CleanMetadata {
            let wipe_disks = match node.properties.get("wipe_disks") {
                Some(Value::Array(disks)) => disks.clone(),
                Some(_) | None => Vec::new(),
            };
            return Ok(AgentOrders::Clean(CleanOrders {
                clean: "metadata".into(),
                disk: disk(None),
                wipe_disks,
            }));
        }
        let order = self.read(move |read| rows::order(read, id)).await?;
        let order = order.ok_or(MetalError::NotTheAgent)?;
        let api = self.agent_base()?;
        let url = format!("{api}/v1/deploy/{id}/image");
        Ok(AgentOrders::Write(WriteOrders {
            image: AgentImage {
                extents_url: format!("{url}/extents"),
                url,
                sha256: order.image.sha256,
                size: order.image.size,
            },
            disk: disk(order.disk),
            config_drive: order.config_drive.as_deref().map(base64_of),
            root_grow: order.root_grow,
        }))
    }

    async fn agent_asks(&self, id: NodeId, token: &str) -> Result<(), MetalError> {
        let report = AgentReport {
            phase: Some("orders".into()),
            ..AgentReport::default()
        };
        self.agent_report(id, token, report).await
    }

    /// The image that the agent of a node may read.
    pub async fn agent_image(&self, id: NodeId, token: &str) -> Result<Image, MetalError> {
        let (_, work) = self.agent_work(id, token).await?;
        let order = self.read(move |read| rows::order(read, id)).await?;
        match (work.purpose, order) {
            (Purpose::Deploy, Some(order)) => Ok(order.image),
            (Purpose::Deploy | Purpose::CleanMetadata, _) => Err(MetalError::NotTheAgent),
        }
    }

    /// Takes what the agent says: a sign of life prolongs the deadline, a result ends the waiting.
    pub async fn agent_report(
        &self,
        id: NodeId,
        token: &str,
        report: AgentReport,
    ) -> Result<(), MetalError> {
        let metal = self.clone();
        let token = token.to_owned();
        self.write(move |tx| {
            let mut node = get(tx, id)?;
            let now = metal.now();
            let Some(work) = node.work.as_mut().filter(|work| is_agent(work, &token)) else {
                return Err(MetalError::NotTheAgent);
            };
            if work.result.is_some() {
                // Said again because the answer was lost.
                return Ok(());
            }
            match report.result.as_deref() {
                Some("ok") => work.result = Some(AgentResult::Done),
                Some(_) => {
                    let why = report.error.clone();
                    work.result = Some(AgentResult::Failed(
                        why.unwrap_or_else(|| "it did not say why".into()),
                    ));
                }
                None => {}
            }
            if work.result.is_some() {
                work.not_before = now;
            }
            metal.heard(&mut node, &report);
            rows::update_node(tx, &node)
        })
        .await
    }

    /// Notes a sign of life.
    fn heard(&self, node: &mut Node, report: &AgentReport) {
        let now = self.now();
        let moved = moved(node, report, now);
        if let Some(work) = &mut node.work
            && matches!(work.step(), Some(Step::AwaitAgent))
        {
            work.seen_off = false;
            work.deadline = next_sign(self.settings(), now, moved, work.purpose);
        }
        let progress = json!({
            "phase": report.phase, "done": report.done, "total": report.total,
            "at": now.to_string(), "moved": moved.to_string(),
        });
        node.driver_internal_info
            .insert("progress".into(), progress);
        show(node, now);
        self.touch(node);
    }

    /// The file of the medium whose address holds this secret.
    pub async fn medium(&self, secret: &str) -> Result<PathBuf, MetalError> {
        let known = secret.len() == 64 && secret.bytes().all(|byte| byte.is_ascii_hexdigit());
        let agent = self.settings().agent.as_ref().filter(|_| known);
        let agent = agent.ok_or(MetalError::NotTheAgent)?;
        let path = medium_path(&agent.folder, secret);
        match tokio::fs::try_exists(&path).await {
            Ok(true) => Ok(path),
            Ok(false) | Err(_) => Err(MetalError::NotTheAgent),
        }
    }

    async fn agent_work(&self, id: NodeId, token: &str) -> Result<(Node, Work), MetalError> {
        // A node that is not known answers like a wrong secret: nothing is told to strangers.
        let node = self.node(id).await.map_err(|error| match error {
            MetalError::NotFound { .. } => MetalError::NotTheAgent,
            other => other,
        })?;
        match node.work.clone().filter(|work| is_agent(work, token)) {
            Some(work) => Ok((node, work)),
            None => Err(MetalError::NotTheAgent),
        }
    }

    pub(crate) fn agent_settings(&self) -> Result<&AgentSettings, StepError> {
        self.settings()
            .agent
            .as_ref()
            .ok_or_else(|| StepError::last("this server has no deploy agent to boot it with"))
    }

    fn agent_base(&self) -> Result<String, MetalError> {
        let agent = self.settings().agent.as_ref();
        let agent = agent.ok_or(MetalError::NotTheAgent)?;
        Ok(agent.api.as_str().trim_end_matches('/').to_owned())
    }

    /// Makes the medium of this work; gives the address by which the BMC fetches it.
    pub(crate) async fn make_medium(&self, node: &Node, work: &Work) -> Result<String, StepError> {
        let agent = self.agent_settings()?.clone();
        let media = agent.media.as_str().trim_end_matches('/');
        let url = format!("{media}/v1/media/{}/{}.iso", work.media, node.uuid);
        let settings = MediumSettings {
            api: agent.api.as_str().trim_end_matches('/').to_owned(),
            node: node.uuid.to_string(),
            token: work.token.clone(),
            ca: agent.ca.clone(),
        };
        let path = medium_path(&agent.folder, &work.media);
        let written =
            tokio::task::spawn_blocking(move || write_medium(&agent.binary, &settings, &path))
                .await;
        match written {
            Ok(Ok(())) => Ok(url),
            Ok(Err(why)) => Err(StepError::last(why)),
            Err(_) => Err(StepError::last("making the deploy medium broke off")),
        }
    }

    /// Removes the medium of this work.
    pub(crate) fn forget_medium(&self, work: &Work) {
        let Some(agent) = &self.settings().agent else {
            return;
        };
        let path = medium_path(&agent.folder, &work.media);
        if let Err(error) = std::fs::remove_file(&path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(path = %path.display(), %error, "a deploy medium could not be removed");
        }
    }
}

/// When the agent got on last: one that only says again where it is lives, but does nothing.
fn moved(node: &Node, report: &AgentReport, now: Timestamp) -> Timestamp {
    let before = node.progress().filter(|before| {
        before["phase"] == json!(report.phase) && before["done"] == json!(report.done)
    });
    let since = before.and_then(|before| before["moved"].as_str()?.parse().ok());
    since.unwrap_or(now)
}

fn is_agent(work: &Work, token: &str) -> bool {
    let boots_agent = work.steps.contains(&Step::AwaitAgent);
    boots_agent && work.token.as_bytes().ct_eq(token.as_bytes()).into()
}

fn medium_path(folder: &Path, secret: &str) -> PathBuf {
    folder.join(format!("{secret}.iso"))
}

/// Writes the medium beside and renames it: a BMC never sees half of one.
fn write_medium(binary: &Path, settings: &MediumSettings, path: &Path) -> Result<(), String> {
    use std::os::unix::fs::OpenOptionsExt;
    let cannot = |what: &str, error: &dyn std::error::Error| {
        format!("cannot {what}: {}", crate::error::chain(error))
    };
    if !binary.is_file() {
        return Err(format!(
            "the deploy agent `{}` is not there",
            binary.display()
        ));
    }
    let text = serde_json::to_vec(settings).map_err(|e| cannot("write deploy.json", &e))?;
    let mut iso = IsoImage::new(LABEL).map_err(|e| cannot("make the deploy medium", &e))?;
    iso.file("init", 0o755, Content::File(binary.to_owned()))
        .map_err(|e| cannot("put the deploy agent into the medium", &e))?;
    iso.file("deploy.json", 0o600, Content::Bytes(text))
        .map_err(|e| cannot("put deploy.json into the medium", &e))?;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|e| cannot("make the folder of media", &e))?;
    }
    let beside = path.with_extension("part");
    let mut file = std::fs::File::options()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&beside)
        .map_err(|e| cannot("write the deploy medium", &e))?;
    iso.write_to(&mut file)
        .map_err(|e| cannot("write the deploy medium", &e))?;
    std::fs::rename(&beside, path).map_err(|e| cannot("write the deploy medium", &e))
}
