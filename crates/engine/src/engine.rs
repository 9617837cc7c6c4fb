//! The engine as its server sees it.

use std::sync::Arc;

use changes::StackChanges;
use cloud::Cloud;
use hot::{Environment, Files, Template};
use jiff::Timestamp;
use store::Store;

use crate::api::{
    Action, Caller, Config, CreateStack, Deployment, DeploymentChange, Event, EventQuery,
    NewConfig, NewDeployment, NodeReport, Page, Report, Resource, ResourceQuery, ServerMetadata,
    Snapshot, Stack, StackId, StackOutput, StackPreview, StackQuery, UpdateStack, UserScope,
};
use crate::clock::Clock;
use crate::error::EngineError;
use crate::users::StackUsers;

/// Where nodes reach the server, as they must be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// The base of node documents: `{base}/{server id}/{secret}`.
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
    setup: Arc<Setup>,
}

fn missing<T>(what: &str) -> Result<T, EngineError> {
    Err(EngineError::NotSupported {
        what: what.to_owned(),
    })
}

#[expect(
    unused_variables,
    reason = "the bodies follow; the signatures are what others build on"
)]
impl Engine {
    /// The engine's tables.
    pub const MIGRATIONS: store::Migrations = store::Migrations {
        room: "engine",
        steps: &[],
    };

    /// Opens the engine and goes on with all that was in progress.
    pub async fn open(setup: Setup) -> Result<Engine, EngineError> {
        Ok(Engine {
            setup: Arc::new(setup),
        })
    }

    /// Where nodes reach the server.
    pub fn endpoints(&self) -> &Endpoints {
        &self.setup.endpoints
    }

    /// Makes a stack. Returns when it is recorded; resources follow.
    pub async fn create(&self, caller: &Caller, want: CreateStack) -> Result<Stack, EngineError> {
        missing("create")
    }

    /// What [`Engine::create`] would make.
    pub async fn preview_create(
        &self,
        caller: &Caller,
        want: CreateStack,
    ) -> Result<StackPreview, EngineError> {
        missing("preview")
    }

    /// Changes a stack. Returns when that is recorded. An update that runs is taken over.
    pub async fn update(
        &self,
        caller: &Caller,
        stack: StackId,
        want: UpdateStack,
    ) -> Result<(), EngineError> {
        missing("update")
    }

    /// What [`Engine::update`] would do.
    pub async fn preview_update(
        &self,
        caller: &Caller,
        stack: StackId,
        want: UpdateStack,
    ) -> Result<StackChanges, EngineError> {
        missing("preview")
    }

    /// Deletes a stack. Returns when that is recorded.
    pub async fn delete(&self, stack: StackId) -> Result<(), EngineError> {
        missing("delete")
    }

    /// Ends an update that runs: back to what was before, or left as it is.
    pub async fn cancel_update(&self, stack: StackId, rollback: bool) -> Result<(), EngineError> {
        missing("cancel_update")
    }

    /// Suspends, resumes or checks a stack.
    pub async fn act(&self, stack: StackId, action: Action) -> Result<(), EngineError> {
        missing("action")
    }

    /// Finds a stack by id or, in a project, by name. Deleted ones are found by id only.
    pub async fn find(
        &self,
        project: Option<&str>,
        name_or_id: &str,
    ) -> Result<Stack, EngineError> {
        missing("find")
    }

    /// A stack as it is shown.
    pub async fn stack(&self, stack: StackId, resolve_outputs: bool) -> Result<Stack, EngineError> {
        missing("stack")
    }

    /// Many stacks.
    pub async fn stacks(&self, query: StackQuery) -> Result<Page<Stack>, EngineError> {
        missing("stacks")
    }

    /// The template of a stack.
    pub async fn template(&self, stack: StackId) -> Result<Template, EngineError> {
        missing("template")
    }

    /// The environment of a stack; hidden parameters masked.
    pub async fn environment(&self, stack: StackId) -> Result<Environment, EngineError> {
        missing("environment")
    }

    /// The files of a stack.
    pub async fn files(&self, stack: StackId) -> Result<Files, EngineError> {
        missing("files")
    }

    /// The outputs of a stack; values are null unless `resolve`.
    pub async fn outputs(
        &self,
        stack: StackId,
        resolve: bool,
    ) -> Result<Vec<StackOutput>, EngineError> {
        missing("outputs")
    }

    /// One output of a stack.
    pub async fn output(&self, stack: StackId, name: &str) -> Result<StackOutput, EngineError> {
        missing("output")
    }

    /// The resources of a stack.
    pub async fn resources(
        &self,
        stack: StackId,
        query: ResourceQuery,
    ) -> Result<Vec<Resource>, EngineError> {
        missing("resources")
    }

    /// One resource with its attributes, those in `with_attributes` too even if costly.
    pub async fn resource(
        &self,
        stack: StackId,
        resource: &str,
        with_attributes: &[String],
    ) -> Result<Resource, EngineError> {
        missing("resource")
    }

    /// Marks a resource, named or by physical id, as broken or whole again.
    pub async fn mark_unhealthy(
        &self,
        stack: StackId,
        resource: &str,
        unhealthy: bool,
        reason: Option<String>,
    ) -> Result<(), EngineError> {
        missing("mark_unhealthy")
    }

    /// The metadata of a resource; of a server with its deployments.
    pub async fn resource_metadata(
        &self,
        stack: StackId,
        resource: &str,
    ) -> Result<serde_json::Value, EngineError> {
        missing("metadata")
    }

    /// Gives a resource a signal. The body is HEAT_SIGNAL's: an object of a deployment's outputs, or
    /// of a wait condition's `status`, `id`, `data`, `reason`.
    pub async fn signal(
        &self,
        stack: StackId,
        resource: &str,
        body: Option<serde_json::Value>,
    ) -> Result<(), EngineError> {
        missing("signal")
    }

    /// Gives a wait condition handle a CloudFormation signal (`Status`, `Reason`, `Data`, `UniqueId`).
    pub async fn signal_wait_condition(
        &self,
        stack: StackId,
        resource: &str,
        body: serde_json::Value,
    ) -> Result<(), EngineError> {
        missing("signal")
    }

    /// The events of a stack.
    pub async fn events(
        &self,
        stack: StackId,
        query: EventQuery,
    ) -> Result<Vec<Event>, EngineError> {
        missing("events")
    }

    /// One event with the properties of its resource.
    pub async fn event(
        &self,
        stack: StackId,
        resource: &str,
        id: &str,
    ) -> Result<Event, EngineError> {
        missing("event")
    }

    /// Keeps a configuration.
    pub async fn create_config(
        &self,
        caller: &Caller,
        config: NewConfig,
    ) -> Result<Config, EngineError> {
        missing("config")
    }

    /// A configuration of a project; none: of any.
    pub async fn config(&self, project: Option<&str>, id: &str) -> Result<Config, EngineError> {
        missing("config")
    }

    /// The configurations of a project (none: of all), oldest first.
    pub async fn configs(
        &self,
        project: Option<&str>,
        limit: Option<usize>,
        marker: Option<&str>,
    ) -> Result<Vec<Config>, EngineError> {
        missing("configs")
    }

    /// Deletes a configuration that no deployment uses.
    pub async fn delete_config(&self, project: Option<&str>, id: &str) -> Result<(), EngineError> {
        missing("config")
    }

    /// Puts a configuration onto a server.
    pub async fn create_deployment(
        &self,
        caller: &Caller,
        deployment: NewDeployment,
    ) -> Result<Deployment, EngineError> {
        missing("deployment")
    }

    /// A deployment of a project; none: of any.
    pub async fn deployment(
        &self,
        project: Option<&str>,
        id: &str,
    ) -> Result<Deployment, EngineError> {
        missing("deployment")
    }

    /// The deployments of a project (none: of all), of one server if asked.
    pub async fn deployments(
        &self,
        project: Option<&str>,
        server_id: Option<&str>,
    ) -> Result<Vec<Deployment>, EngineError> {
        missing("deployments")
    }

    /// Changes a deployment.
    pub async fn update_deployment(
        &self,
        project: Option<&str>,
        id: &str,
        change: DeploymentChange,
    ) -> Result<Deployment, EngineError> {
        missing("deployment")
    }

    /// Takes a configuration off a server.
    pub async fn delete_deployment(
        &self,
        project: Option<&str>,
        id: &str,
    ) -> Result<(), EngineError> {
        missing("deployment")
    }

    /// The configurations of a server's deployments, as its hooks read them; an unknown server has
    /// none. With a project: those that users of that project may see.
    pub async fn server_deployments(
        &self,
        project: Option<&str>,
        server_id: &str,
    ) -> Result<Vec<serde_json::Value>, EngineError> {
        missing("deployments")
    }

    /// The node document of a server.
    pub async fn metadata(&self, server_id: &str) -> Result<ServerMetadata, EngineError> {
        missing("metadata")
    }

    /// The node document as soon as its etag is not `etag`; none when it still is at `until`.
    pub async fn wait_metadata(
        &self,
        server_id: &str,
        etag: &str,
        until: Timestamp,
    ) -> Result<Option<ServerMetadata>, EngineError> {
        missing("metadata")
    }

    /// Whether `secret` is the one in the metadata URL of a server. Compares in constant time.
    pub async fn may_read_metadata(
        &self,
        server_id: &str,
        secret: &str,
    ) -> Result<bool, EngineError> {
        missing("metadata")
    }

    /// What the stack user of this id was made for.
    pub async fn user_scope(&self, user_id: &str) -> Result<Option<UserScope>, EngineError> {
        missing("users")
    }

    /// What the EC2 access key of this id was made for, and its secret.
    pub async fn key_scope(
        &self,
        access: &str,
    ) -> Result<Option<(UserScope, cloud::Secret)>, EngineError> {
        missing("users")
    }

    /// Keeps what a node says.
    pub async fn report(&self, server_id: &str, report: Report) -> Result<(), EngineError> {
        missing("report")
    }

    /// What a node said last.
    pub async fn node_report(&self, server_id: &str) -> Result<Option<NodeReport>, EngineError> {
        missing("report")
    }

    /// Records a stack as it is.
    pub async fn snapshot(
        &self,
        stack: StackId,
        name: Option<String>,
    ) -> Result<Snapshot, EngineError> {
        missing("snapshot")
    }

    /// The snapshots of a stack.
    pub async fn snapshots(&self, stack: StackId) -> Result<Vec<Snapshot>, EngineError> {
        missing("snapshots")
    }

    /// Forgets a snapshot.
    pub async fn delete_snapshot(&self, stack: StackId, id: &str) -> Result<(), EngineError> {
        missing("snapshot")
    }

    /// Brings a stack back to a snapshot.
    pub async fn restore(&self, stack: StackId, id: &str) -> Result<(), EngineError> {
        missing("restore")
    }
}
