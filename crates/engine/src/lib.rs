//! Keeps stacks: executes their changes on a [`cloud::Cloud`], holds their metadata, takes signals.
//!
//! One graph per root stack; nested stacks are parts of it. Every step is a row that is claimed
//! before the cloud is called and finished after, so the engine can be killed at any point and goes
//! on when it is opened again. It names no driver and speaks no HTTP.

mod api;
mod clock;
mod engine;
mod error;
mod users;

pub use api::{
    Action, Caller, Config, CreateStack, Deployment, DeploymentChange, Event, EventQuery, Field,
    NewConfig, NewDeployment, NodeReport, Page, PreviewedResource, Report, Resource, ResourceQuery,
    ServerMetadata, Snapshot, Stack, StackId, StackOutput, StackPreview, StackQuery, Status,
    UpdateStack, UserScope,
};
pub use clock::{Clock, SystemClock};
pub use engine::{Endpoints, Engine, Setup};
pub use error::EngineError;
pub use users::{StackUsers, UserError};
