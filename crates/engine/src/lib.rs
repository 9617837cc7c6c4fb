//! Keeps stacks: executes their changes on a [`cloud::Cloud`], holds their metadata, takes signals.
//!
//! One graph per root stack; nested stacks are parts of it. Every step is a row that is claimed
//! before the cloud is called and finished after, so the engine can be killed at any point and goes
//! on when it is opened again. It names no driver and speaks no HTTP.

mod advance;
mod api;
mod clock;
mod core;
mod deployments;
mod engine;
mod error;
mod events;
mod facts;
mod failure;
mod load;
mod metadata;
mod model;
mod ops;
mod places;
mod plugins;
mod preview;
mod record;
mod report;
mod show;
mod signal;
mod snapshots;
mod sweep;
mod tick;
mod users;
mod wanted;

pub use api::{
    Action, Caller, Config, CreateStack, Deployment, DeploymentChange, Event, EventQuery, Field,
    NewConfig, NewDeployment, NodeReport, Page, PreviewedResource, Report, Resource, ResourceQuery,
    ScriptRun, ServerMetadata, Snapshot, Stack, StackId, StackOutput, StackPreview, StackQuery,
    Status, UpdateStack, UserScope,
};
pub use clock::{Clock, SystemClock};
pub use engine::{Endpoints, Engine, Setup};
pub use error::EngineError;
pub use users::{StackUsers, UserError};
