//! Who may do what. Admins may do everything; others see the nodes that their project owns or has on lease.
//!
//! A node that somebody may not see is not there (404); what somebody may not do with a visible one is 403.

use baremetal::Node;
use openstack_api::ApiError;

use super::ask::Ask;

/// What is to be done with a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// Read it.
    See,
    /// Power, provisioning, the boot device.
    Drive,
    /// Change its record.
    Change,
    /// Create, delete, or change who may use it.
    Rule,
}

/// Refuses everybody but admins.
pub(super) fn admin(ask: &Ask, what: &str) -> Result<(), ApiError> {
    ask.caller.require_admin(&format!("baremetal:{what}"))
}

/// Whether the caller sees a node at all.
pub(super) fn sees(ask: &Ask, node: &Node) -> bool {
    if ask.caller.is_admin() || (ask.caller.is_system() && ask.caller.has_role("reader")) {
        return true;
    }
    let Some(project) = ask.caller.project_id() else {
        return false;
    };
    let theirs = |id: &Option<String>| id.as_deref() == Some(project);
    ask.caller.has_role("reader") && (theirs(&node.owner) || theirs(&node.lessee))
}

/// Refuses what the caller may not do with a node.
pub(super) fn check(ask: &Ask, node: &Node, ident: &str, act: Act) -> Result<(), ApiError> {
    if !sees(ask, node) {
        return Err(ApiError::not_found(format!(
            "Node {ident} could not be found."
        )));
    }
    if ask.caller.is_admin() || act == Act::See {
        return Ok(());
    }
    let owns = node.owner.as_deref() == ask.caller.project_id() && node.owner.is_some();
    let member = ask.caller.has_role("member") && !ask.caller.is_system();
    let allowed = match act {
        Act::See => true,
        Act::Drive | Act::Change => owns && member,
        Act::Rule => false,
    };
    if allowed {
        return Ok(());
    }
    let word = match act {
        Act::See => "get",
        Act::Drive => "set_state",
        Act::Change => "update",
        Act::Rule => "delete",
    };
    Err(ApiError::not_allowed(&format!("baremetal:node:{word}")))
}
