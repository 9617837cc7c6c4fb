//! Signatures of the CloudFormation API: version 2, as upstream's agents and signed URLs use them.
//!
//! Pure: takes the parts of a request and a secret. A signature covers the method, the host, the
//! path (decoded, because upstream signs it so) and every query parameter but itself.

use base64::Engine as _;
use hmac::{Hmac, Mac};
use sha1::Sha1;
use sha2::Sha256;

use crate::orchestration::query::encode;

/// What a signature covers.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    /// The method in capitals.
    pub verb: &'a str,
    /// Host and port as in the `Host` header.
    pub host: &'a str,
    /// The path, decoded.
    pub path: &'a str,
    /// The query parameters, decoded.
    pub params: &'a [(String, String)],
}

impl Signed<'_> {
    /// The signature that this request should carry. None: a method of signing that is not known.
    pub fn signature(&self, secret: &str) -> Option<String> {
        let text = self.text();
        let digest = match self.param("SignatureMethod").unwrap_or("HmacSHA256") {
            "HmacSHA256" => mac::<Hmac<Sha256>>(secret, &text)?,
            "HmacSHA1" => mac::<Hmac<Sha1>>(secret, &text)?,
            _ => return None,
        };
        Some(base64::engine::general_purpose::STANDARD.encode(digest))
    }

    /// Whether the request carries the right signature.
    pub fn is_signed_with(&self, secret: &str) -> bool {
        let Some(given) = self.param("Signature") else {
            return false;
        };
        let version = self.param("SignatureVersion") == Some("2");
        let wanted = self.signature(secret);
        version && wanted.is_some_and(|wanted| same(wanted.as_bytes(), given.as_bytes()))
    }

    /// A parameter's value.
    pub fn param(&self, name: &str) -> Option<&str> {
        let found = self.params.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    fn text(&self) -> String {
        let mut pairs: Vec<(&str, &str)> = self
            .params
            .iter()
            .filter(|(key, _)| key != "Signature")
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        pairs.sort_unstable();
        let pairs: Vec<String> = pairs
            .iter()
            .map(|(key, value)| format!("{}={}", encode(key), encode(value)))
            .collect();
        let host = self.host.to_lowercase();
        [self.verb, &host, self.path, &pairs.join("&")].join("\n")
    }
}

fn mac<M: Mac + hmac::digest::KeyInit>(secret: &str, text: &str) -> Option<Vec<u8>> {
    let mut mac = <M as hmac::digest::KeyInit>::new_from_slice(secret.as_bytes()).ok()?;
    mac.update(text.as_bytes());
    Some(mac.finalize().into_bytes().to_vec())
}

/// Compares without telling by the time it takes where the difference is.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |all, (x, y)| all | (x ^ y)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        let own = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
        list.iter().map(own).collect()
    }

    /// The example of Amazon's "Signature version 2 signing process" page.
    #[test]
    fn amazons_example_has_amazons_signature() {
        let params = pairs(&[
            ("AWSAccessKeyId", "AKIAIOSFODNN7EXAMPLE"),
            ("Action", "DescribeJobFlows"),
            ("SignatureMethod", "HmacSHA256"),
            ("SignatureVersion", "2"),
            ("Timestamp", "2011-10-03T15:19:30"),
            ("Version", "2009-03-31"),
        ]);
        let signed = Signed {
            verb: "GET",
            host: "elasticmapreduce.amazonaws.com",
            path: "/",
            params: &params,
        };
        assert_eq!(
            signed
                .signature("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
                .as_deref(),
            Some("i91nKc4PWAt0JJIdXwz9HxZCJDdiy6cf/Mj6vPxyYIs=")
        );
    }

    /// As the engine signs an address: over its decoded path.
    #[test]
    fn a_signed_address_is_good_for_itself_only() {
        let params = pairs(&[
            ("Timestamp", "1970-01-01T00:00:00Z"),
            ("SignatureMethod", "HmacSHA256"),
            ("AWSAccessKeyId", "key"),
            ("SignatureVersion", "2"),
            ("Signature", "jyCNhek5eJRLrKgtV+1NfDbWVR8b3bDO8QumyNrmPYM="),
        ]);
        let path = "/cloudformation/v1/signal/arn:openstack:heat::p:stacks/s/i/resources/r";
        let check = |verb, path: &str, secret| {
            let signed = Signed {
                verb,
                host: "SEED:8000",
                path,
                params: &params,
            };
            signed.is_signed_with(secret)
        };
        assert!(check("POST", path, "sesame"));
        assert!(!check("PUT", path, "sesame"));
        assert!(!check("POST", &format!("{path}x"), "sesame"));
        assert!(!check("POST", path, "other"));
    }
}
