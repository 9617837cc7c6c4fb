//! Answers that come later: how a service hands a request over to be held.
//!
//! A request that waits for minutes is not to carry what was needed to understand it. The service answers at once
//! with the wait itself; the connection lets go of everything else and keeps only that.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::response::Response;

/// Marks requests whose connection takes a wait in place of an answer.
#[derive(Clone, Copy)]
pub(crate) struct Holds;

/// A wait that ends with the answer.
pub(crate) struct Later {
    /// Ends when there is something to say.
    pub(crate) answer: Pin<Box<dyn Future<Output = Response> + Send>>,
    /// The answer to one who will not wait any longer.
    pub(crate) early: Box<dyn FnOnce() -> Response + Send>,
}

/// A response carries it, so it must be one that could be cloned.
#[derive(Clone)]
struct Carried(Arc<Mutex<Option<Later>>>);

impl Later {
    /// A response that says nothing yet; to a request that is marked with [`Holds`] only.
    pub(crate) fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        let carried = Carried(Arc::new(Mutex::new(Some(self))));
        response.extensions_mut().insert(carried);
        response
    }

    /// The wait that a response stands for, if it is not an answer yet.
    pub(crate) fn of(response: &mut Response) -> Option<Later> {
        let Carried(carried) = response.extensions_mut().remove()?;
        carried
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}
