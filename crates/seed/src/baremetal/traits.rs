//! Traits of nodes.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use baremetal::{MetalError, Node};
use http::{StatusCode, header};
use openstack_api::{ApiError, JsonBody};
use serde_json::{Value, json};

use super::ask::Ask;
use super::rights::Act;
use super::schema::{is_trait, traits_of};
use super::{Api, fault};

/// A node has no more.
const MOST: usize = 50;

type Done = Result<StatusCode, ApiError>;

pub(super) async fn list(
    ask: Ask,
    State(api): State<Api>,
    Path(ident): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let node = api.node(&ask, &ident, Act::See).await?;
    Ok(Json(json!({"traits": node.traits})))
}

pub(super) async fn replace(
    ask: Ask,
    State(api): State<Api>,
    Path(ident): Path<String>,
    JsonBody(body): JsonBody<Value>,
) -> Done {
    let given = body.get("traits").ok_or_else(|| {
        ApiError::bad_request("A list of traits must be given in the body, as `traits`.")
    })?;
    let traits = traits_of(given)?;
    change(&ask, &api, &ident, move |node| {
        node.traits = traits;
        Ok(())
    })
    .await
}

pub(super) async fn clear(ask: Ask, State(api): State<Api>, Path(ident): Path<String>) -> Done {
    change(&ask, &api, &ident, |node| {
        node.traits.clear();
        Ok(())
    })
    .await
}

pub(super) async fn add(
    ask: Ask,
    State(api): State<Api>,
    Path((ident, name)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    if !is_trait(&name) {
        return Err(ApiError::bad_request(format!(
            "Invalid trait {name}: `CUSTOM_` and upper case letters, digits and `_`, or a standard trait, is expected."
        )));
    }
    let location = format!("{}/v1/nodes/{ident}/traits/{name}", ask.base);
    let done = change(&ask, &api, &ident, move |node| {
        if !node.traits.contains(&name) {
            node.traits.push(name);
        }
        Ok(())
    })
    .await?;
    Ok((done, [(header::LOCATION, location)]).into_response())
}

pub(super) async fn remove(
    ask: Ask,
    State(api): State<Api>,
    Path((ident, name)): Path<(String, String)>,
) -> Done {
    change(&ask, &api, &ident, move |node| {
        let before = node.traits.len();
        node.traits.retain(|own| *own != name);
        if node.traits.len() == before {
            return Err(MetalError::NotFound {
                kind: "Trait",
                id: name,
            });
        }
        Ok(())
    })
    .await
}

async fn change(
    ask: &Ask,
    api: &Api,
    ident: &str,
    change: impl FnOnce(&mut Node) -> Result<(), MetalError> + Send + 'static,
) -> Done {
    let node = api.node(ask, ident, Act::Change).await?;
    let limited = move |node: &mut Node| {
        change(node)?;
        if node.traits.len() > MOST {
            return Err(MetalError::Invalid(format!(
                "Node {} can have at most {MOST} traits.",
                node.uuid
            )));
        }
        Ok(())
    };
    api.metal
        .update_node(node.uuid, limited)
        .await
        .map_err(fault::of)?;
    Ok(StatusCode::NO_CONTENT)
}
