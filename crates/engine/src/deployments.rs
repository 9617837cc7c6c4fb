//! Software configurations and deployments in the tables, those of the API and those of stacks.

use jiff::Timestamp;
use serde_json::{Map as JsonMap, Value as Json, json};
use store::{Read, Row as Record, params};
use uuid::Uuid;

use crate::api::{Caller, Config, Deployment, DeploymentChange, NewConfig, NewDeployment};
use crate::core::Core;
use crate::error::EngineError;
use crate::load::{json, time, uuid};
use crate::model::Notes;
use crate::record;

const CONFIG: &str = "SELECT id, project, created, body FROM engine_config";
const DEPLOYMENT: &str =
    "SELECT id, project, user_project, server, config, inputs, outputs, action,
    status, reason, created, updated FROM engine_deployment";

fn config_of(mut record: Record) -> Result<Config, EngineError> {
    let mut body = json(&record.take::<String>(3)?, "a software configuration")?;
    let mut take = |key: &str| body.get_mut(key).map(Json::take).unwrap_or_default();
    let fields = |list: Json| match list {
        Json::Array(items) => items
            .into_iter()
            .filter_map(|item| match item {
                Json::Object(field) => Some(field),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    };
    let text = |value: Json| value.as_str().unwrap_or_default().to_owned();
    let config = NewConfig {
        name: text(take("name")),
        group: text(take("group")),
        config: take("config"),
        inputs: fields(take("inputs")),
        outputs: fields(take("outputs")),
        options: match take("options") {
            Json::Object(options) => options,
            _ => JsonMap::new(),
        },
    };
    Ok(Config {
        id: uuid(&record.take::<String>(0)?),
        project: record.take(1)?,
        created: time(record.take(2)?),
        config,
    })
}

fn deployment_of(mut record: Record) -> Result<Deployment, EngineError> {
    let map = |text: String| -> Result<Notes, EngineError> {
        match json(&text, "a deployment")? {
            Json::Object(map) => Ok(map),
            _ => Ok(Notes::new()),
        }
    };
    Ok(Deployment {
        id: uuid(&record.take::<String>(0)?),
        project: record.take(1)?,
        stack_user_project: record.take(2)?,
        server_id: record.take(3)?,
        config_id: record.take::<Option<String>>(4)?.map(|id| uuid(&id)),
        input_values: map(record.take(5)?)?,
        output_values: map(record.take(6)?)?,
        action: record.take(7)?,
        status: record.take(8)?,
        status_reason: record.take(9)?,
        created: time(record.take(10)?),
        updated: record.take::<Option<i64>>(11)?.map(time),
    })
}

fn no_config(id: &str) -> EngineError {
    EngineError::NotFound {
        what: "The Software Config",
        name: id.to_owned(),
    }
}

fn no_deployment(id: &str) -> EngineError {
    EngineError::NotFound {
        what: "The Software Deployment",
        name: id.to_owned(),
    }
}

/// A configuration of a project; none: of any.
pub(crate) fn config(
    tx: &Read<'_>,
    project: Option<&str>,
    id: &str,
) -> Result<Config, EngineError> {
    let found = tx.query_one(&format!("{CONFIG} WHERE id = ?1"), params![id])?;
    let found = found.map(config_of).transpose()?;
    let found = found.filter(|config| project.is_none_or(|project| config.project == project));
    found.ok_or_else(|| no_config(id))
}

fn deployment(tx: &Read<'_>, project: Option<&str>, id: &str) -> Result<Deployment, EngineError> {
    let found = tx.query_one(&format!("{DEPLOYMENT} WHERE id = ?1"), params![id])?;
    let found = found.map(deployment_of).transpose()?;
    let found = found.filter(|one| {
        project.is_none_or(|project| {
            one.project == project || one.stack_user_project.as_deref() == Some(project)
        })
    });
    found.ok_or_else(|| no_deployment(id))
}

/// The configurations on a server as its hooks read them, sorted by name.
pub(crate) fn of_server(
    tx: &Read<'_>,
    project: Option<&str>,
    server: &str,
) -> Result<Vec<Json>, EngineError> {
    let rows = tx.query(
        "SELECT c.id, c.project, c.created, c.body, d.project, d.user_project
         FROM engine_deployment d JOIN engine_config c ON c.id = d.config
         WHERE d.server = ?1",
        params![server],
    )?;
    let mut configs = Vec::new();
    for record in rows {
        let (owner, users): (String, Option<String>) = (record.get(4)?, record.get(5)?);
        let may_see = |project: &str| owner == project || users.as_deref() == Some(project);
        if project.is_none_or(may_see) {
            configs.push(config_of(record)?);
        }
    }
    configs.sort_by(|a, b| a.config.name.cmp(&b.config.name).then(a.id.cmp(&b.id)));
    Ok(configs.into_iter().map(shown).collect())
}

fn shown(config: Config) -> Json {
    json!({
        "id": config.id.to_string(),
        "name": config.config.name,
        "group": config.config.group,
        "creation_time": config.created.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "config": config.config.config,
        "inputs": config.config.inputs,
        "outputs": config.config.outputs,
        "options": config.config.options,
    })
}

impl Core {
    pub async fn create_config(
        &self,
        caller: &Caller,
        config: NewConfig,
    ) -> Result<Config, EngineError> {
        let made = Config {
            id: Uuid::new_v4(),
            project: caller.project.clone(),
            created: self.now(),
            config,
        };
        let kept = made.clone();
        let write = self
            .setup
            .store
            .write(move |tx| record::put_config(tx, &kept));
        write.await?;
        Ok(made)
    }

    pub async fn read_config(
        &self,
        project: Option<&str>,
        id: &str,
    ) -> Result<Config, EngineError> {
        let (project, id) = (project.map(str::to_owned), id.to_owned());
        let read = move |tx: &Read<'_>| config(tx, project.as_deref(), &id);
        self.setup.store.read(read).await
    }

    pub async fn list_configs(
        &self,
        project: Option<&str>,
        limit: Option<usize>,
        marker: Option<&str>,
    ) -> Result<Vec<Config>, EngineError> {
        let (project, marker) = (project.map(str::to_owned), marker.map(str::to_owned));
        let limit = limit
            .and_then(|limit| i64::try_from(limit).ok())
            .unwrap_or(-1);
        let read = move |tx: &Read<'_>| -> Result<Vec<Config>, EngineError> {
            let sql = format!(
                "{CONFIG} WHERE (?1 IS NULL OR project = ?1)
                 AND seq > coalesce((SELECT seq FROM engine_config WHERE id = ?2), 0)
                 ORDER BY seq LIMIT ?3"
            );
            let rows = tx.query(&sql, params![project, marker, limit])?;
            rows.into_iter().map(config_of).collect()
        };
        self.setup.store.read(read).await
    }

    pub async fn drop_config(&self, project: Option<&str>, id: &str) -> Result<(), EngineError> {
        let (project, id) = (project.map(str::to_owned), id.to_owned());
        let write = self.setup.store.write(move |tx| {
            config(tx, project.as_deref(), &id)?;
            let used = tx.query_one(
                "SELECT id FROM engine_deployment WHERE config = ?1",
                params![&id],
            )?;
            if used.is_some() {
                let why = format!(
                    "Software config with id {id} can not be deleted as it is referenced by software \
                     deployments."
                );
                return Err(EngineError::Invalid { why });
            }
            tx.execute("DELETE FROM engine_config WHERE id = ?1", params![&id])?;
            Ok(())
        });
        write.await
    }

    pub async fn create_deployment(
        &self,
        caller: &Caller,
        want: NewDeployment,
    ) -> Result<Deployment, EngineError> {
        let word = |given: String, default: &str| {
            if given.is_empty() {
                default.to_owned()
            } else {
                given
            }
        };
        let made = Deployment {
            id: want.id.unwrap_or_else(Uuid::new_v4),
            project: caller.project.clone(),
            stack_user_project: want.stack_user_project_id,
            server_id: want.server_id,
            config_id: want.config_id,
            input_values: want.input_values,
            output_values: Notes::new(),
            action: word(want.action, "INIT"),
            status: word(want.status, "COMPLETE"),
            status_reason: want.status_reason.unwrap_or_default(),
            created: self.now(),
            updated: None,
        };
        let kept = made.clone();
        let write = self
            .setup
            .store
            .write(move |tx| -> Result<(), EngineError> {
                if let Some(id) = kept.config_id {
                    config(tx, None, &id.to_string())?;
                }
                Ok(record::put_deployment(tx, &kept, None)?)
            });
        write.await?;
        self.bells.ring(std::slice::from_ref(&made.server_id));
        Ok(made)
    }

    pub async fn read_deployment(
        &self,
        project: Option<&str>,
        id: &str,
    ) -> Result<Deployment, EngineError> {
        let (project, id) = (project.map(str::to_owned), id.to_owned());
        let read = move |tx: &Read<'_>| deployment(tx, project.as_deref(), &id);
        self.setup.store.read(read).await
    }

    pub async fn list_deployments(
        &self,
        project: Option<&str>,
        server: Option<&str>,
    ) -> Result<Vec<Deployment>, EngineError> {
        let (project, server) = (project.map(str::to_owned), server.map(str::to_owned));
        let read = move |tx: &Read<'_>| -> Result<Vec<Deployment>, EngineError> {
            let sql = format!(
                "{DEPLOYMENT} WHERE (?1 IS NULL OR project = ?1 OR user_project = ?1)
                 AND (?2 IS NULL OR server = ?2) ORDER BY created, id"
            );
            let rows = tx.query(&sql, params![project, server])?;
            rows.into_iter().map(deployment_of).collect()
        };
        self.setup.store.read(read).await
    }

    pub async fn change_deployment(
        &self,
        project: Option<&str>,
        id: &str,
        change: DeploymentChange,
    ) -> Result<Deployment, EngineError> {
        let (project, id) = (project.map(str::to_owned), id.to_owned());
        let now = self.now();
        let write = self
            .setup
            .store
            .write(move |tx| -> Result<Deployment, EngineError> {
                let mut one = deployment(tx, project.as_deref(), &id)?;
                apply(&mut one, change, now);
                if let Some(config_id) = one.config_id {
                    config(tx, None, &config_id.to_string())?;
                }
                record::put_deployment(tx, &one, None)?;
                Ok(one)
            });
        let changed = write.await?;
        self.bells.ring(std::slice::from_ref(&changed.server_id));
        Ok(changed)
    }

    pub async fn drop_deployment(
        &self,
        project: Option<&str>,
        id: &str,
    ) -> Result<(), EngineError> {
        let (project, id) = (project.map(str::to_owned), id.to_owned());
        let write = self
            .setup
            .store
            .write(move |tx| -> Result<String, EngineError> {
                let one = deployment(tx, project.as_deref(), &id)?;
                tx.execute("DELETE FROM engine_deployment WHERE id = ?1", params![&id])?;
                Ok(one.server_id)
            });
        let server = write.await?;
        self.bells.ring(&[server]);
        Ok(())
    }

    pub async fn configs_of_server(
        &self,
        project: Option<&str>,
        server: &str,
    ) -> Result<Vec<Json>, EngineError> {
        let (project, server) = (project.map(str::to_owned), server.to_owned());
        let read = move |tx: &Read<'_>| of_server(tx, project.as_deref(), &server);
        self.setup.store.read(read).await
    }
}

fn apply(one: &mut Deployment, change: DeploymentChange, now: Timestamp) {
    one.config_id = change.config_id.or(one.config_id);
    if let Some(inputs) = change.input_values {
        one.input_values = inputs;
    }
    if let Some(outputs) = change.output_values {
        one.output_values = outputs;
    }
    for (field, given) in [
        (&mut one.action, change.action),
        (&mut one.status, change.status),
        (&mut one.status_reason, change.status_reason),
    ] {
        if let Some(given) = given {
            *field = given;
        }
    }
    one.updated = Some(now);
}
