//! Which version of the API Keystone speaks, and where.

use super::{Account, TIMEOUT, text};
use crate::http::{Ask, Http};
use metadata::Value;

/// The root of an API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Root {
    /// Of the third version.
    V3(String),
    /// Of the second version; Keystone says that it has no third one.
    V2(String),
    /// Keystone lists nothing: where each version would be.
    Guessed {
        /// The third.
        v3: String,
        /// The second, if that was configured.
        v2: Option<String>,
    },
}

/// Finds the root: as configured, else as Keystone says, else by a guess.
pub(super) async fn root(http: &Http, account: &Account) -> Root {
    let configured = account.auth_url.trim_end_matches('/');
    if configured.ends_with("/v3") {
        return Root::V3(configured.to_owned());
    }
    let bare = configured.strip_suffix("/v2.0");
    let base = bare.unwrap_or(configured);
    let ask = Ask::get(format!("{base}/"), TIMEOUT).trust(account.trust.clone());
    // A version list comes with status 300.
    let answer = http.send(ask).await.ok();
    let answer = answer.filter(|answer| (200..=300).contains(&answer.status));
    answer
        .and_then(|answer| listed(&metadata::parse(&answer.text()).ok()?))
        .unwrap_or_else(|| Root::Guessed {
            v3: format!("{base}/v3"),
            v2: bare.map(|_| configured.to_owned()),
        })
}

/// The newest of the versions that a list names.
fn listed(document: &Value) -> Option<Root> {
    let versions = document.get("versions")?;
    let versions = versions.get("values").unwrap_or(versions).as_list()?;
    let found = |start: &str| {
        let version = versions
            .iter()
            .find(|version| text(version, "id").is_some_and(|id| id.starts_with(start)))?;
        let links = version.get("links")?.as_list()?;
        let own = links
            .iter()
            .find(|link| text(link, "rel") == Some("self"))?;
        text(own, "href").map(|href| href.trim_end_matches('/').to_owned())
    };
    found("v3")
        .map(Root::V3)
        .or_else(|| found("v2").map(Root::V2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(id: &str) -> String {
        format!(
            r#"{{"id": "{id}", "links": [{{"rel": "self", "href": "http://k/{}/"}}]}}"#,
            &id[..2]
        )
    }

    #[track_caller]
    fn check(ids: &[&str], expect: Option<Root>) {
        let values: Vec<String> = ids.iter().map(|id| version(id)).collect();
        let text = format!(r#"{{"versions": {{"values": [{}]}}}}"#, values.join(","));
        assert_eq!(listed(&metadata::parse(&text).unwrap()), expect);
    }

    #[test]
    fn the_newest_version_is_taken() {
        check(&["v2.0", "v3.14"], Some(Root::V3("http://k/v3".to_owned())));
        check(&["v2.0"], Some(Root::V2("http://k/v2".to_owned())));
        check(&["v1"], None);
        check(&[], None);
    }
}
