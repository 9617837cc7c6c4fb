//! What all our API servers share: error bodies, paging, microversions, request ids, tokens, secrets.
//!
//! A service builds its `axum` routes, lets handlers return [`ApiError`], and hands the router to
//! [`Service::wrap`], which checks tokens before any path is looked up, renders errors in the service's own
//! [`Dialect`], gives each request an id and turns a panic into a 500. This crate knows no service's
//! resources and keeps no state; who a token belongs to is answered by a [`TokenCheck`].

mod error;
mod extract;
mod id;
mod microversion;
mod paging;
mod service;
pub mod time;
mod token;

pub use error::{ApiError, Dialect};
pub use extract::{BodyLimit, JsonBody, Origin, Params, parse_bool};
pub use id::{new_id, new_uuid};
pub use microversion::{HeaderStyle, Microversion, Microversions, Since};
pub use paging::{Page, PageLimits};
pub use secret::Secret;
pub use service::Service;
pub use token::{Caller, CheckError, Named, Scope, Token, TokenCheck};
