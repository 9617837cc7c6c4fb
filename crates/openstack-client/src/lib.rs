//! What all our API clients share: clouds.yaml, authentication, catalog, retries, TLS.
//!
//! A [`Client`] belongs to one entry of a clouds file. It logs in when it is made, finds services in the catalog, asks again
//! after a lost connection (only what is safe to repeat), logs in anew once when its token has ended, and turns every
//! refusal into an error that carries the server's own words. It knows no resource of any service.

mod clouds;
mod error;
mod http;

pub use clouds::{CloudEntry, read_clouds};
pub use error::{ClientError, message_of};
pub use http::Client;
