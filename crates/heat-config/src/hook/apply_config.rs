//! The group `apply-config`: writes all files of os-apply-config at this point of the deployments.

use super::{Hooks, ended, run_tool};
use crate::deployment::Deployment;
use metadata::Value;
use std::io;
use std::process::Command;

pub(super) fn run(hooks: &Hooks, _: &Deployment) -> io::Result<Value> {
    let program = hooks.said("HEAT_APPLY_CONFIG_CMD", "os-apply-config");
    let output = run_tool(&mut Command::new(program), "os-agents")?;
    Ok(Value::Map(ended(&output)))
}
