//! Addresses that whoever holds them may call: signed as EC2 signs, version 2.

use hmac::{Hmac, Mac};
use jiff::Timestamp;
use sha2::Sha256;

/// What a signed address is made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Signed<'a> {
    /// Base of the CloudFormation endpoint.
    pub base: &'a str,
    /// `signal` or `waitcondition`.
    pub kind: &'a str,
    /// `POST` or `PUT`.
    pub verb: &'a str,
    /// The ARN of the resource.
    pub arn: &'a str,
    pub access: &'a str,
    pub secret: &'a str,
    pub made: Timestamp,
}

impl Signed<'_> {
    pub fn url(&self) -> String {
        let (scheme, rest) = self.base.split_once("://").unwrap_or(("http", self.base));
        let (host, root) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let made = self.made.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let mut params = [
            ("AWSAccessKeyId", self.access),
            ("SignatureMethod", "HmacSHA256"),
            ("SignatureVersion", "2"),
            ("Timestamp", &made),
        ];
        params.sort_unstable();
        let query: Vec<String> = params
            .iter()
            .map(|(key, value)| format!("{key}={}", quote(value, false)))
            .collect();
        let query = query.join("&");
        let path = format!("{root}/{}/{}", self.kind, self.arn);
        let text = [self.verb, &host.to_lowercase(), &path, &query].join("\n");
        let signature = sign(self.secret, &text);
        format!(
            "{scheme}://{host}{root}/{}/{}?{query}&Signature={}",
            self.kind,
            quote(self.arn, true),
            quote(&signature, false)
        )
    }
}

fn sign(secret: &str, text: &str) -> String {
    use base64::Engine as _;
    // A MAC takes keys of any length, so there is always one.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
        return String::new();
    };
    mac.update(text.as_bytes());
    base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes())
}

/// Percent signs for all but what RFC 3986 leaves alone, and slashes on request.
fn quote(text: &str, keep_slash: bool) -> String {
    let mut quoted = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                quoted.push(char::from(byte));
            }
            b'/' if keep_slash => quoted.push('/'),
            _ => quoted.push_str(&format!("%{byte:02X}")),
        }
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arn_is_quoted_but_its_slashes() {
        let url = Signed {
            base: "http://192.0.2.1:8000/v1",
            kind: "signal",
            verb: "POST",
            arn: "arn:openstack:heat::p:stacks/s/1/resources/r",
            access: "a",
            secret: "b",
            made: Timestamp::UNIX_EPOCH,
        }
        .url();
        assert!(url.starts_with(
            "http://192.0.2.1:8000/v1/signal/arn%3Aopenstack%3Aheat%3A%3Ap%3Astacks/s/1/resources/r?"
        ));
        assert!(
            url.contains("&Timestamp=1970-01-01T00%3A00%3A00Z&Signature="),
            "{url}"
        );
    }
}
