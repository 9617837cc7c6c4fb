//! One document at one address, which a server may hold back until it changes.
//!
//! The first answer with an `ETag` shows that the server knows versions. From then on a request with `If-None-Match`
//! and `Prefer: wait` is kept open between passes ([`Source::hold`]); a pass uses what it brought. A server that does
//! not hold requests, or does not know versions, is polled as upstream does.

use super::{Collected, Context, Refusal, timeout};
use crate::http::{Answer, Ask, Http, HttpError, Trust};
use crate::settings::SettingsError;
use metadata::Value;
use reqwest::Method;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How long a server may hold a request.
const HOLD: Duration = Duration::from_secs(300);
/// An answer without news before this time shows that the server did not hold the request.
const HELD_AT_LEAST: Duration = Duration::from_secs(5);
/// So many of those in a row, and the server is polled.
const MAX_UNHELD: u32 = 3;

/// Where the document is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub url: String,
    pub trust: Trust,
    pub timeout: Duration,
    /// Whether it came from the config drive: then the server is known to speak as ours.
    from_drive: bool,
}

/// What is remembered of the source between passes.
#[derive(Default)]
pub(crate) struct Source {
    pub address: Option<Address>,
    known: Option<Known>,
    held: Option<JoinHandle<(Duration, Result<Answer, HttpError>)>>,
    unheld: u32,
    /// Whether the known version has just come by the held request, and no pass has used it yet.
    fresh: bool,
}

/// A version of the document.
struct Known {
    etag: String,
    document: Value,
}

/// How a held request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    /// There is something new.
    News,
    /// There was nothing new for as long as the server waits.
    Nothing,
    /// The server could not be asked.
    Failed,
}

impl Source {
    /// Keeps a request open, if the server is known to hold them.
    pub(crate) fn hold(&mut self, http: &Http) {
        let (Some(address), Some(known)) = (&self.address, &self.known) else {
            return;
        };
        if self.held.is_some() || self.unheld >= MAX_UNHELD {
            return;
        }
        let seconds = HOLD.as_secs();
        let ask = Ask::get(&address.url, address.timeout)
            .held(HOLD)
            .header("if-none-match", &known.etag)
            .header("prefer", format!("wait={seconds}"))
            .trust(address.trust.clone());
        let http = http.clone();
        self.held = Some(tokio::spawn(async move {
            let start = Instant::now();
            let answer = http.send(ask).await;
            (start.elapsed(), answer)
        }));
    }

    /// Waits until the held request ends; forever if there is none.
    pub(crate) async fn ended(&mut self) -> Held {
        let Some(held) = &mut self.held else {
            return std::future::pending().await;
        };
        let ended = held.await;
        self.held = None;
        match ended {
            Ok((took, Ok(answer))) if answer.status == 304 => {
                let early = took < HELD_AT_LEAST;
                self.unheld = if early { self.unheld + 1 } else { 0 };
                Held::Nothing
            }
            Ok((_, Ok(answer))) => {
                self.unheld = 0;
                match answer
                    .successful()
                    .map_err(Refusal::unavailable)
                    .and_then(|answer| self.learn(&answer))
                {
                    Ok(_) => {
                        self.fresh = true;
                        Held::News
                    }
                    Err(_) => self.forget(),
                }
            }
            Ok((_, Err(_))) | Err(_) => self.forget(),
        }
    }

    /// After a failure the next pass asks plainly, and says what is wrong.
    fn forget(&mut self) -> Held {
        self.known = None;
        Held::Failed
    }

    /// Takes the document out of an answer, and remembers its version.
    fn learn(&mut self, answer: &Answer) -> Result<Value, Refusal> {
        let url = &answer.url;
        let document = metadata::parse(&answer.text())
            .map_err(|error| Refusal::unavailable(format!("{url} gave no JSON: {error}")))?;
        if document.as_map().is_none() {
            return Err(Refusal::unavailable(format!("{url} gave no JSON object")));
        }
        self.known = answer.header("etag").map(|etag| Known {
            etag: etag.to_owned(),
            document: document.clone(),
        });
        Ok(document)
    }

    /// Whether changes arrive by a request that is held open, as far as is known now.
    pub(crate) fn is_held(&self) -> bool {
        self.known.is_some() && self.unheld < MAX_UNHELD
    }

    /// The version of the document that was collected last, as the server names it.
    pub(crate) fn version(&self) -> Option<&str> {
        self.known
            .as_ref()
            .map(|known| known.etag.trim_start_matches("W/").trim_matches('"'))
    }
}

/// Finds the address in the settings, else on the config drive.
fn address(context: &mut Context<'_>) -> Result<Option<Address>, SettingsError> {
    let settings = context.settings;
    let timeout = timeout(settings, "request")?;
    let file = settings
        .filled("request", "ca_certificate")?
        .map(|path| Trust::File(path.into()));
    if let Some(url) = settings.address("request", "metadata_url")? {
        let trust = file.unwrap_or_else(|| context.drive.trust(&url));
        return Ok(Some(Address {
            url,
            trust,
            timeout,
            from_drive: false,
        }));
    }
    Ok(context.drive.metadata().map(|(url, trust)| {
        let trust = file.unwrap_or(trust);
        Address {
            url,
            trust,
            timeout,
            from_drive: true,
        }
    }))
}

pub(super) async fn collect(context: &mut Context<'_>) -> Result<Collected, Refusal> {
    let found = address(context)?;
    let source = &mut context.state.request;
    if source.address != found {
        // Another server: nothing that was known holds any more.
        *source = Source {
            address: found,
            ..Source::default()
        };
    }
    let Some(address) = source.address.clone() else {
        return Err(Refusal::unavailable("No metadata_url configured."));
    };
    let fresh = std::mem::take(&mut source.fresh);
    let document = match &source.known {
        // The request that is held open would have brought anything newer.
        Some(known) if fresh || source.held.is_some() => known.document.clone(),
        _ => fetch(source, context.http, &address).await?,
    };
    let keys = context.settings.texts("DEFAULT", "deployment_key")?;
    Ok(Collected::split("request", document, &keys))
}

async fn fetch(source: &mut Source, http: &Http, address: &Address) -> Result<Value, Refusal> {
    let mut ask = Ask::get(&address.url, address.timeout).trust(address.trust.clone());
    match &source.known {
        Some(known) => ask = ask.header("if-none-match", &known.etag),
        // Upstream asks with HEAD first, and some servers count on seeing it. Its status does not matter.
        None if !address.from_drive => {
            http.send(ask.clone().method(Method::HEAD))
                .await
                .map_err(Refusal::unavailable)?;
        }
        None => {}
    }
    let answer = http.send(ask).await.map_err(Refusal::unavailable)?;
    if let (304, Some(known)) = (answer.status, &source.known) {
        return Ok(known.document.clone());
    }
    let answer = answer.successful().map_err(|error| {
        source.known = None;
        Refusal::unavailable(error)
    })?;
    source.learn(&answer)
}
