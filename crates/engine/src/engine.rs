//! The engine as its server sees it.

use std::sync::Arc;

use changes::StackChanges;
use cloud::Cloud;
use hot::{Environment, Files, Frame, Template};
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use store::Store;

use crate::api::{
    Action, Caller, Config, CreateStack, Deployment, DeploymentChange, Event, EventQuery,
    NewConfig, NewDeployment, NodeReport, Page, Report, Resource, ResourceQuery, ServerMetadata,
    Snapshot, Stack, StackId, StackOutput, StackPreview, StackQuery, UpdateStack, UserScope,
};
use crate::clock::Clock;
use crate::core::{Core, Handle};
use crate::error::EngineError;
use crate::model::{Node, Root};
use crate::users::StackUsers;
use crate::{load, metadata, plugins, preview, record, show};

/// Where nodes reach the server, as they must be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// The base of node documents: `{base}/{node}/{secret}`. The node is the key that
    /// [`Engine::metadata`] takes beside a server's id.
    pub metadata: String,
    /// Keystone v3: `http://192.0.2.1:5000/v3`.
    pub auth: String,
    /// Orchestration without the project: `http://192.0.2.1:8004/v1`.
    pub orchestration: String,
    /// The CloudFormation side: `http://192.0.2.1:8000/v1`.
    pub cloudformation: String,
    /// Name of the region.
    pub region: String,
}

/// What an engine is made from.
#[derive(Clone)]
pub struct Setup {
    /// The database, opened with [`Engine::MIGRATIONS`] among its rooms.
    pub store: Store,
    /// The cloud.
    pub cloud: Arc<dyn Cloud>,
    /// The keeper of accounts.
    pub users: Arc<dyn StackUsers>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Where nodes reach the server.
    pub endpoints: Endpoints,
}

/// The engine. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    handle: Arc<Handle>,
}

impl Engine {
    /// The engine's tables.
    pub const MIGRATIONS: store::Migrations = record::MIGRATIONS;

    /// Opens the engine and goes on with all that was in progress.
    pub async fn open(setup: Setup) -> Result<Engine, EngineError> {
        let core = Core::new(setup);
        let owner = core.owner.clone();
        // From here on an engine that had these stacks before writes nothing to them any more.
        let read = core
            .setup
            .store
            .write(move |tx| -> Result<Vec<Root>, EngineError> {
                tx.execute(
                    "UPDATE engine_stack SET owner = ?1 WHERE parent IS NULL AND deleted IS NULL",
                    store::params![owner],
                )?;
                let ids = load::live(tx)?;
                ids.into_iter().map(|id| load::root(tx, id)).collect()
            });
        let roots = read.await?;
        core.listen();
        for mut root in roots {
            if let Err(error) = show::open_frames(&core, &mut root) {
                tracing::error!(stack = %root.node.id, %error, "a stack's template does not open any more");
            }
            let active = root.active;
            let live = core.adopt(root);
            if active {
                core.drive(&live);
            }
        }
        Ok(Engine {
            handle: Arc::new(Handle(core)),
        })
    }

    fn core(&self) -> &Arc<Core> {
        &self.handle.0
    }

    /// Where nodes reach the server.
    pub fn endpoints(&self) -> &Endpoints {
        &self.core().setup.endpoints
    }

    /// Makes a stack. Returns when it is recorded; resources follow.
    pub async fn create(&self, caller: &Caller, want: CreateStack) -> Result<Stack, EngineError> {
        let id = self.core().create(caller, want).await?;
        self.core().show(id, true).await
    }

    /// What [`Engine::create`] would make.
    pub async fn preview_create(
        &self,
        caller: &Caller,
        want: CreateStack,
    ) -> Result<StackPreview, EngineError> {
        let root = self.core().draft(caller, want)?;
        let mut shown = show::stack(&root, &root.node, None);
        let mut resources = Vec::new();
        if let Some(frame) = &root.node.frame {
            shown.parameters = frame.parameters();
            resources = preview::resources(&root.node, frame)?;
        }
        Ok(StackPreview {
            stack: shown,
            resources,
        })
    }

    /// Changes a stack. Returns when that is recorded. An update that runs is taken over.
    pub async fn update(
        &self,
        _caller: &Caller,
        stack: StackId,
        want: UpdateStack,
    ) -> Result<(), EngineError> {
        self.core().update(stack, want).await
    }

    /// What [`Engine::update`] would do.
    pub async fn preview_update(
        &self,
        _caller: &Caller,
        stack: StackId,
        want: UpdateStack,
    ) -> Result<StackChanges, EngineError> {
        self.core().preview_update(stack, want).await
    }

    /// Deletes a stack. Returns when that is recorded.
    pub async fn delete(&self, stack: StackId) -> Result<(), EngineError> {
        self.core().delete(stack).await
    }

    /// Ends an update that runs: back to what was before, or left as it is.
    pub async fn cancel_update(&self, stack: StackId, rollback: bool) -> Result<(), EngineError> {
        self.core().cancel(stack, rollback).await
    }

    /// Returns when nothing is at work on a stack any more, or it is gone.
    pub async fn settled(&self, stack: StackId) {
        self.core().settled(stack).await;
    }

    /// Returns when something happened to any stack after `seen` (first: 0); gives what to ask with next.
    pub async fn happens(&self, seen: u64) -> u64 {
        self.core().happens(seen).await
    }

    /// Suspends, resumes or checks a stack.
    pub async fn act(&self, stack: StackId, action: Action) -> Result<(), EngineError> {
        self.core().act(stack, action).await
    }

    /// Finds a stack by id or, in a project, by name. Deleted ones are found by id only.
    pub async fn find(
        &self,
        project: Option<&str>,
        name_or_id: &str,
    ) -> Result<Stack, EngineError> {
        self.core().find(project, name_or_id).await
    }

    /// A stack as it is shown.
    pub async fn stack(&self, stack: StackId, resolve_outputs: bool) -> Result<Stack, EngineError> {
        self.core().show(stack, resolve_outputs).await
    }

    /// Many stacks.
    pub async fn stacks(&self, query: StackQuery) -> Result<Page<Stack>, EngineError> {
        self.core().list(query).await
    }

    /// The template of a stack.
    pub async fn template(&self, stack: StackId) -> Result<Template, EngineError> {
        self.core()
            .look(stack, |_, node| Ok(frame(node)?.input().template.clone()))
    }

    /// The environment of a stack; hidden parameters masked.
    pub async fn environment(&self, stack: StackId) -> Result<Environment, EngineError> {
        self.core().look(stack, |_, node| Ok(shown(frame(node)?)))
    }

    /// The files of a stack.
    pub async fn files(&self, stack: StackId) -> Result<Files, EngineError> {
        self.core()
            .look(stack, |_, node| Ok(frame(node)?.input().files.clone()))
    }

    /// The outputs of a stack; values are null unless `resolve`.
    pub async fn outputs(
        &self,
        stack: StackId,
        resolve: bool,
    ) -> Result<Vec<StackOutput>, EngineError> {
        self.core().list_outputs(stack, resolve)
    }

    /// One output of a stack.
    pub async fn output(&self, stack: StackId, name: &str) -> Result<StackOutput, EngineError> {
        let outputs = self.core().list_outputs(stack, true)?;
        let found = outputs.into_iter().find(|output| output.name == name);
        found.ok_or_else(|| EngineError::NotFound {
            what: "Specified output key",
            name: name.to_owned(),
        })
    }

    /// The resources of a stack.
    pub async fn resources(
        &self,
        stack: StackId,
        query: ResourceQuery,
    ) -> Result<Vec<Resource>, EngineError> {
        self.core().list_resources(stack, &query)
    }

    /// One resource with its attributes, those in `with_attributes` too even if costly.
    pub async fn resource(
        &self,
        stack: StackId,
        resource: &str,
        with_attributes: &[String],
    ) -> Result<Resource, EngineError> {
        self.core().show_resource(stack, resource, with_attributes)
    }

    /// Marks a resource, named or by physical id, as broken or whole again.
    pub async fn mark_unhealthy(
        &self,
        stack: StackId,
        resource: &str,
        unhealthy: bool,
        reason: Option<String>,
    ) -> Result<(), EngineError> {
        self.core().mark(stack, resource, unhealthy, reason).await
    }

    /// The metadata of a resource; of a server with its deployments.
    pub async fn resource_metadata(
        &self,
        stack: StackId,
        resource: &str,
    ) -> Result<serde_json::Value, EngineError> {
        let (metadata, server) = self.core().look(stack, |_, node| {
            let row = show::row(node, resource)?;
            let is_server = plugins::is_server(row);
            let server = row.physical_id.clone().filter(|_| is_server);
            Ok((metadata::own_metadata(row), server))
        })?;
        match server {
            Some(server) => Ok(self.core().document(&server).await?.document),
            None => Ok(metadata),
        }
    }

    /// Gives a resource a signal. The body is HEAT_SIGNAL's: an object of a deployment's outputs, or
    /// of a wait condition's `status`, `id`, `data`, `reason`.
    pub async fn signal(
        &self,
        stack: StackId,
        resource: &str,
        body: Option<serde_json::Value>,
    ) -> Result<(), EngineError> {
        // Heat tells nobody that a signal was not in order.
        self.core().signal(stack, resource, body).await.map(|_| ())
    }

    /// Gives a wait condition handle a CloudFormation signal (`Status`, `Reason`, `Data`, `UniqueId`).
    pub async fn signal_wait_condition(
        &self,
        stack: StackId,
        resource: &str,
        body: serde_json::Value,
    ) -> Result<(), EngineError> {
        match self.core().signal(stack, resource, Some(body)).await? {
            None => Ok(()),
            Some(why) => Err(EngineError::Invalid { why }),
        }
    }

    /// The events of a stack.
    pub async fn events(
        &self,
        stack: StackId,
        query: EventQuery,
    ) -> Result<Vec<Event>, EngineError> {
        self.core().list_events(stack, query).await
    }

    /// One event with the properties of its resource.
    pub async fn event(
        &self,
        stack: StackId,
        resource: &str,
        id: &str,
    ) -> Result<Event, EngineError> {
        self.core().show_event(stack, resource, id).await
    }

    /// Keeps a configuration.
    pub async fn create_config(
        &self,
        caller: &Caller,
        config: NewConfig,
    ) -> Result<Config, EngineError> {
        self.core().create_config(caller, config).await
    }

    /// A configuration of a project; none: of any.
    pub async fn config(&self, project: Option<&str>, id: &str) -> Result<Config, EngineError> {
        self.core().read_config(project, id).await
    }

    /// The configurations of a project (none: of all), oldest first.
    pub async fn configs(
        &self,
        project: Option<&str>,
        limit: Option<usize>,
        marker: Option<&str>,
    ) -> Result<Vec<Config>, EngineError> {
        self.core().list_configs(project, limit, marker).await
    }

    /// Deletes a configuration that no deployment uses.
    pub async fn delete_config(&self, project: Option<&str>, id: &str) -> Result<(), EngineError> {
        self.core().drop_config(project, id).await
    }

    /// Puts a configuration onto a server.
    pub async fn create_deployment(
        &self,
        caller: &Caller,
        deployment: NewDeployment,
    ) -> Result<Deployment, EngineError> {
        self.core().create_deployment(caller, deployment).await
    }

    /// A deployment of a project; none: of any.
    pub async fn deployment(
        &self,
        project: Option<&str>,
        id: &str,
    ) -> Result<Deployment, EngineError> {
        self.core().read_deployment(project, id).await
    }

    /// The deployments of a project (none: of all), of one server if asked.
    pub async fn deployments(
        &self,
        project: Option<&str>,
        server_id: Option<&str>,
    ) -> Result<Vec<Deployment>, EngineError> {
        self.core().list_deployments(project, server_id).await
    }

    /// Changes a deployment.
    pub async fn update_deployment(
        &self,
        project: Option<&str>,
        id: &str,
        change: DeploymentChange,
    ) -> Result<Deployment, EngineError> {
        self.core().tell_deployment(project, id, change).await
    }

    /// Takes a configuration off a server.
    pub async fn delete_deployment(
        &self,
        project: Option<&str>,
        id: &str,
    ) -> Result<(), EngineError> {
        self.core().drop_deployment(project, id).await
    }

    /// The configurations of a server's deployments, as its hooks read them; an unknown server has
    /// none. With a project: those that users of that project may see.
    pub async fn server_deployments(
        &self,
        project: Option<&str>,
        server_id: &str,
    ) -> Result<Vec<serde_json::Value>, EngineError> {
        self.core().configs_of_server(project, server_id).await
    }

    /// The node document of a server.
    pub async fn metadata(&self, server_id: &str) -> Result<ServerMetadata, EngineError> {
        self.core().document(server_id).await
    }

    /// The node document as soon as its etag is not `etag`; none when it still is at `until`.
    pub async fn wait_metadata(
        &self,
        server_id: &str,
        etag: &str,
        until: Timestamp,
    ) -> Result<Option<Arc<ServerMetadata>>, EngineError> {
        self.core().wait_document(server_id, etag, until).await
    }

    /// Whether `secret` is the one in the metadata URL of a server. Compares in constant time.
    pub async fn may_read_metadata(
        &self,
        server_id: &str,
        secret: &str,
    ) -> Result<bool, EngineError> {
        let found = self.core().metadata_secret(server_id);
        Ok(found.is_some_and(|wanted| {
            // Digests have one length and tell nothing of where the texts differ.
            let digest = |text: &str| Sha256::digest(text.as_bytes());
            digest(&wanted) == digest(secret)
        }))
    }

    /// What the stack user of this id was made for.
    pub async fn user_scope(&self, user_id: &str) -> Result<Option<UserScope>, EngineError> {
        Ok(self
            .core()
            .scope("id", user_id)
            .await?
            .map(|(scope, _)| scope))
    }

    /// What the EC2 access key of this id was made for, and its secret.
    pub async fn key_scope(
        &self,
        access: &str,
    ) -> Result<Option<(UserScope, cloud::Secret)>, EngineError> {
        let found = self.core().scope("access", access).await?;
        Ok(found.and_then(|(scope, secret)| Some((scope, secret?))))
    }

    /// Keeps what a node says.
    pub async fn report(&self, server_id: &str, report: Report) -> Result<(), EngineError> {
        self.core().keep_report(server_id, report).await
    }

    /// What the nodes of a project, or of all, said last. Who never reported is missing.
    pub async fn node_reports(
        &self,
        project: Option<&str>,
    ) -> Result<Vec<NodeReport>, EngineError> {
        self.core().node_reports(project).await
    }

    /// Records a stack as it is. Returns when that is begun.
    pub async fn snapshot(
        &self,
        stack: StackId,
        name: Option<String>,
    ) -> Result<Snapshot, EngineError> {
        self.core().take_snapshot(stack, name).await
    }

    /// The snapshots of a stack, oldest first; values of hidden parameters masked.
    pub async fn snapshots(&self, stack: StackId) -> Result<Vec<Snapshot>, EngineError> {
        self.core().list_snapshots(stack).await
    }

    /// Forgets a snapshot.
    pub async fn delete_snapshot(&self, stack: StackId, id: &str) -> Result<(), EngineError> {
        self.core().drop_snapshot(stack, id).await
    }

    /// Brings a stack back to a snapshot. Returns when that is recorded.
    pub async fn restore(&self, stack: StackId, id: &str) -> Result<(), EngineError> {
        self.core().restore(stack, id).await
    }

    /// A stack as the document that [`CreateStack::adopt`] takes, secrets included.
    pub async fn export(&self, stack: StackId) -> Result<serde_json::Value, EngineError> {
        self.core().export(stack)
    }

    /// Forgets a stack and leaves all that it made alone; gives the document to take it over with.
    pub async fn abandon(&self, stack: StackId) -> Result<serde_json::Value, EngineError> {
        self.core().abandon(stack).await
    }
}

fn frame(node: &Node) -> Result<&Frame, EngineError> {
    node.frame.as_ref().ok_or_else(|| EngineError::NotFound {
        what: "The template of stack",
        name: node.name.clone(),
    })
}

/// The environment as Heat shows it: the values of hidden parameters masked, and with an entry for
/// each type that is a file.
fn shown(frame: &Frame) -> Environment {
    let mut environment = frame.input().environment.clone();
    for (schema, _) in frame.parameter_schemas() {
        if schema.hidden
            && let Some(value) = environment.parameters.get_mut(&schema.name)
        {
            *value = hot::Value::text("******");
        }
    }
    for resource in frame.resources() {
        let name = &resource.type_name;
        let is_file = matches!(&resource.kind, hot::ResourceKind::Nested(file) if file == name);
        if is_file && !environment.resource_registry.contains_key(name) {
            let itself = hot::Value::text(name);
            environment.resource_registry.insert(name.clone(), itself);
        }
    }
    environment
}
