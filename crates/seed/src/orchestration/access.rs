//! Who may do what.
//!
//! Users of a project may do everything in it, readers may read, administrators may do everything
//! everywhere. Users that a stack made for its servers, deployments and wait conditions may read
//! the metadata of their own resource and signal it, and a server's user may signal the
//! deployments on that server. Whatever is not theirs is not there.

use engine::{Stack, UserScope};
use openstack_api::Token;

use super::Orchestration;
use super::fault::Fault;
use super::routes::{Call, StackPath};

/// The role of users that belong to stacks.
const STACK_USER: &str = "heat_stack_user";

/// Who asks.
pub struct Asker {
    /// As the engine knows callers.
    pub caller: engine::Caller,
    /// Whether it is an administrator.
    pub admin: bool,
    reader_only: bool,
    stack_user: Option<StackUser>,
}

/// A user that a stack made.
struct StackUser {
    /// What it was made for; none: the stack forgot it already.
    scope: Option<UserScope>,
    /// The project that owns that stack.
    owner: Option<String>,
}

impl Asker {
    /// Looks at who asks.
    pub async fn of(api: &Orchestration, token: &Token) -> Result<Asker, Fault> {
        let project = token.project_id().ok_or_else(Fault::other_project)?;
        let caller = engine::Caller {
            project: project.to_owned(),
            user_id: token.user.id.clone(),
            user_name: token.user.name.clone(),
        };
        let admin = token.is_admin();
        let stack_user = if token.has_role(STACK_USER) && !admin {
            Some(StackUser::find(api, &caller.user_id).await?)
        } else {
            None
        };
        Ok(Asker {
            caller,
            admin,
            reader_only: token.roles.iter().all(|role| role.name == "reader"),
            stack_user,
        })
    }

    /// Whether the project in the path is one for this asker. An administrator's is not looked at.
    pub fn may_use_path_of(&self, project: &str) -> Result<(), Fault> {
        let owner = self
            .stack_user
            .as_ref()
            .and_then(|user| user.owner.as_deref());
        if self.admin || project == self.caller.project || owner == Some(project) {
            return Ok(());
        }
        Err(Fault::other_project())
    }

    /// Whether the asker may try a call at all.
    pub fn may_try(&self, call: &Call) -> Result<(), Fault> {
        let refused = match call {
            Call::Services => !self.admin,
            call if self.stack_user.is_some() => !call.is_for_stack_users(),
            call => self.reader_only && call.writes(),
        };
        if refused {
            return Err(Fault::forbidden(call.rule()));
        }
        Ok(())
    }

    /// The project whose things are seen; none: all projects'.
    pub fn sees(&self) -> Option<&str> {
        (!self.admin).then_some(self.caller.project.as_str())
    }

    /// Refuses a stack user the metadata of any resource but its own.
    pub fn may_read_metadata(&self, stack: &Stack, resource: &str) -> Result<(), Fault> {
        match &self.stack_user {
            None => Ok(()),
            Some(user) if user.owns(stack, resource) => Ok(()),
            Some(_) => Err(Fault::forbidden("resource:metadata")),
        }
    }

    /// Refuses a stack user signals to any resource but its own and the deployments on its server.
    pub async fn may_signal(
        &self,
        api: &Orchestration,
        stack: &Stack,
        resource: &str,
    ) -> Result<(), Fault> {
        let Some(user) = &self.stack_user else {
            return Ok(());
        };
        if user.owns(stack, resource) || user.has_deployment(api, stack, resource).await {
            return Ok(());
        }
        Err(Fault::forbidden("resource:signal"))
    }
}

impl StackUser {
    async fn find(api: &Orchestration, user_id: &str) -> Result<StackUser, Fault> {
        let scope = api.engine.user_scope(user_id).await.map_err(Fault::from)?;
        let owner = match &scope {
            Some(scope) => api.engine.stack(scope.stack, false).await.ok(),
            None => None,
        };
        let owner = owner.map(|stack| stack.project);
        Ok(StackUser { scope, owner })
    }

    fn owns(&self, stack: &Stack, resource: &str) -> bool {
        let scope = self.scope.as_ref();
        scope.is_some_and(|scope| scope.stack == stack.id && scope.resource == resource)
    }

    async fn has_deployment(&self, api: &Orchestration, stack: &Stack, resource: &str) -> bool {
        let Some(scope) = &self.scope else {
            return false;
        };
        let Ok(found) = api.engine.resource(stack.id, resource, &[]).await else {
            return false;
        };
        let deployment = api.engine.deployment(None, &found.physical_id).await;
        let server = scope.physical_id.as_str();
        !server.is_empty() && deployment.is_ok_and(|deployment| deployment.server_id == server)
    }
}

impl Orchestration {
    /// The stack that a path names, if the asker may know of it.
    pub(crate) async fn at(&self, asker: &Asker, at: &StackPath) -> Result<Stack, Fault> {
        let unknown = || Fault::no_stack(&at.name);
        let stack = self.by_id(asker, &at.id).await?.ok_or_else(unknown)?;
        if stack.name != at.name {
            return Err(unknown());
        }
        Ok(stack)
    }

    /// The stack of a name, id or ARN, if the asker may know of it.
    pub(crate) async fn named(&self, asker: &Asker, what: &str) -> Result<Stack, Fault> {
        let unknown = || Fault::no_stack(what);
        if let Some(path) = stack_of_arn(what) {
            return self.at(asker, &path).await.map_err(|_| unknown());
        }
        if uuid::Uuid::try_parse(what).is_ok()
            && let Some(stack) = self.by_id(asker, what).await?
        {
            return Ok(stack);
        }
        let owner = asker
            .stack_user
            .as_ref()
            .and_then(|user| user.owner.as_deref());
        let project = owner.unwrap_or(&asker.caller.project);
        let found = self.engine.find(Some(project), what).await;
        let stack = found.map_err(|error| Fault::renamed(error, what))?;
        if !asker.knows(&stack) {
            return Err(unknown());
        }
        Ok(stack)
    }

    async fn by_id(&self, asker: &Asker, id: &str) -> Result<Option<Stack>, Fault> {
        if uuid::Uuid::try_parse(id).is_err() {
            return Ok(None);
        }
        match self.engine.find(None, id).await {
            Ok(stack) if asker.knows(&stack) => Ok(Some(stack)),
            Ok(_) | Err(engine::EngineError::StackNotFound { .. }) => Ok(None),
            Err(error) => Err(Fault::from(error)),
        }
    }
}

impl Asker {
    fn knows(&self, stack: &Stack) -> bool {
        self.admin
            || match &self.stack_user {
                None => stack.project == self.caller.project,
                Some(_) => stack.user_project == self.caller.project,
            }
    }
}

impl Call {
    /// Whether it changes something.
    fn writes(&self) -> bool {
        !matches!(
            self,
            Call::ListStacks
                | Call::DetailStacks
                | Call::PreviewStack
                | Call::Lookup { .. }
                | Call::ShowStack(_)
                | Call::PreviewUpdate(_)
                | Call::PreviewPatch(_)
                | Call::Template(_)
                | Call::Environment(_)
                | Call::Files(_)
                | Call::Outputs(_)
                | Call::Output(..)
                | Call::Snapshots(_)
                | Call::Snapshot(..)
                | Call::Resources(_)
                | Call::Resource(..)
                | Call::Metadata(..)
                | Call::Events(_)
                | Call::ResourceEvents(..)
                | Call::Event(..)
                | Call::Validate
                | Call::ResourceTypes
                | Call::ResourceType(_)
                | Call::TypeTemplate(_)
                | Call::TemplateVersions
                | Call::Functions(_)
                | Call::Configs
                | Call::Config(_)
                | Call::Deployments
                | Call::Deployment(_)
                | Call::ServerDeployments(_)
                | Call::NodeReports
                | Call::NodeReport(_)
                | Call::BuildInfo
                | Call::Services
        )
    }
}

/// The stack that an ARN names: `arn:openstack:heat::<project>:stacks/<name>/<id>`.
pub fn stack_of_arn(arn: &str) -> Option<StackPath> {
    let (_, path) = arn
        .strip_prefix("arn:openstack:heat::")?
        .split_once(":stacks/")?;
    let mut words = path.split('/');
    let (name, id) = (words.next()?, words.next()?);
    Some(StackPath {
        name: name.to_owned(),
        id: id.to_owned(),
    })
}
