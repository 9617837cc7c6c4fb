//! Fernet tokens: who, for what, until when, sealed with a key of the state directory.
//!
//! Nothing of a token is kept in the database, so restarts do not end them. The key file holds one key a line:
//! the first seals, all open. To rotate, put a new line on top; remove old lines a token lifetime later.

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fernet::{Fernet, MultiFernet};

use crate::{SeedError, files};

/// Version of the payload.
const VERSION: u8 = 1;

/// How the user proved who it is, in the order of upstream's lists.
pub(crate) const METHODS: [&str; 4] = [
    "password",
    "token",
    "application_credential",
    "ec2credential",
];

/// What a token is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    Unscoped,
    System,
    Domain(String),
    Project(String),
}

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claims {
    pub(crate) user: String,
    pub(crate) target: Target,
    /// Bits of [`METHODS`].
    pub(crate) methods: u8,
    /// Microseconds since 1970.
    pub(crate) issued: i64,
    pub(crate) expires: i64,
    /// Its own audit id, and the one of the first token of its chain.
    pub(crate) audit: Vec<[u8; 16]>,
    pub(crate) app_credential: Option<String>,
}

impl Claims {
    /// Audit ids as clients see them.
    pub(crate) fn audit_ids(&self) -> Vec<String> {
        self.audit
            .iter()
            .map(|id| URL_SAFE_NO_PAD.encode(id))
            .collect()
    }

    /// Methods as clients see them.
    pub(crate) fn method_names(&self) -> Vec<String> {
        let held = |bit: usize| self.methods & (1 << bit) != 0;
        METHODS
            .iter()
            .enumerate()
            .filter(|(bit, _)| held(*bit))
            .map(|(_, name)| (*name).to_owned())
            .collect()
    }

    fn pack(&self) -> Vec<u8> {
        let mut out = vec![VERSION, self.methods];
        out.extend(self.issued.to_be_bytes());
        out.extend(self.expires.to_be_bytes());
        out.push(u8::try_from(self.audit.len()).unwrap_or(u8::MAX));
        out.extend(self.audit.iter().flatten());
        pack_text(&mut out, &self.user);
        match &self.target {
            Target::Unscoped => out.push(0),
            Target::System => out.push(1),
            Target::Domain(id) => {
                out.push(2);
                pack_text(&mut out, id);
            }
            Target::Project(id) => {
                out.push(3);
                pack_text(&mut out, id);
            }
        }
        if let Some(id) = &self.app_credential {
            pack_text(&mut out, id);
        }
        out
    }

    fn unpack(mut bytes: &[u8]) -> Option<Self> {
        let rest = &mut bytes;
        if take::<1>(rest)? != [VERSION] {
            return None;
        }
        let [methods] = take::<1>(rest)?;
        let issued = i64::from_be_bytes(take(rest)?);
        let expires = i64::from_be_bytes(take(rest)?);
        let [count] = take::<1>(rest)?;
        let audit = (0..count)
            .map(|_| take::<16>(rest))
            .collect::<Option<Vec<_>>>()?;
        let user = take_text(rest)?;
        let target = match take::<1>(rest)? {
            [0] => Target::Unscoped,
            [1] => Target::System,
            [2] => Target::Domain(take_text(rest)?),
            [3] => Target::Project(take_text(rest)?),
            _ => return None,
        };
        let app_credential = if rest.is_empty() {
            None
        } else {
            Some(take_text(rest)?)
        };
        rest.is_empty().then_some(Self {
            user,
            target,
            methods,
            issued,
            expires,
            audit,
            app_credential,
        })
    }
}

/// Ids are mostly 32 hexadecimal digits: 16 bytes instead keep the token small enough for a header.
fn pack_text(out: &mut Vec<u8>, text: &str) {
    let short = hex::decode(text)
        .ok()
        .filter(|raw| raw.len() == 16 && hex::encode(raw) == text);
    match short {
        Some(raw) => {
            out.push(0);
            out.extend(raw);
        }
        None => {
            let bytes = &text.as_bytes()[..text.len().min(255)];
            out.push(u8::try_from(bytes.len()).unwrap_or(u8::MAX));
            out.extend(bytes);
        }
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

fn take_text(rest: &mut &[u8]) -> Option<String> {
    match take::<1>(rest)? {
        [0] => Some(hex::encode(take::<16>(rest)?)),
        [length] => {
            let (text, tail) = rest.split_at_checked(length.into())?;
            *rest = tail;
            String::from_utf8(text.to_vec()).ok()
        }
    }
}

/// The keys.
pub(crate) struct Keys(MultiFernet);

impl Keys {
    /// Reads the key file, made with one key if it is not there.
    pub(crate) fn open(path: &Path) -> Result<Self, SeedError> {
        let state = |source| SeedError::State {
            path: path.to_owned(),
            source,
        };
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let text = format!("{}\n", Fernet::generate_key());
                files::write_private(path, text.as_bytes()).map_err(state)?;
                text
            }
            Err(error) => return Err(state(error)),
        };
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let keys: Option<Vec<_>> = lines.map(Fernet::new).collect();
        match keys {
            Some(keys) if !keys.is_empty() => Ok(Self(MultiFernet::new(keys))),
            _ => Err(SeedError::Key {
                path: path.to_owned(),
            }),
        }
    }

    /// Makes a token.
    pub(crate) fn seal(&self, claims: &Claims) -> String {
        self.seal_bytes(&claims.pack())
    }

    /// Reads a token; `None` for what we did not make.
    pub(crate) fn unseal(&self, token: &str) -> Option<Claims> {
        Claims::unpack(&self.unseal_bytes(token)?)
    }

    /// Seals anything.
    pub(crate) fn seal_bytes(&self, bytes: &[u8]) -> String {
        // Padding only costs room in headers, and some proxies mind the equals sign.
        self.0.encrypt(bytes).trim_end_matches('=').to_owned()
    }

    /// Opens what [`Keys::seal_bytes`] sealed.
    pub(crate) fn unseal_bytes(&self, token: &str) -> Option<Vec<u8>> {
        if token.len() > 4096 {
            return None;
        }
        let mut padded = token.trim_end_matches('=').to_owned();
        while !padded.len().is_multiple_of(4) {
            padded.push('=');
        }
        self.0.decrypt(&padded).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims() -> Claims {
        Claims {
            user: "0123456789abcdef0123456789abcdef".into(),
            target: Target::Project("fedcba9876543210fedcba9876543210".into()),
            methods: 0b0110,
            issued: 1_700_000_000_123_456,
            expires: 1_700_000_900_000_000,
            audit: vec![[7; 16], [9; 16]],
            app_credential: Some("00112233445566778899aabbccddeeff".into()),
        }
    }

    #[test]
    fn tokens_come_back_and_fit_a_header() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let token = Keys::open(&path).unwrap().seal(&claims());
        assert!(token.len() <= 255, "{}", token.len());
        assert_eq!(Keys::open(&path).unwrap().unseal(&token), Some(claims()));
        let mut other = claims();
        other.target = Target::Domain("default".into());
        other.app_credential = None;
        let keys = Keys::open(&path).unwrap();
        assert_eq!(keys.unseal(&keys.seal(&other)), Some(other));
    }

    #[test]
    fn a_new_key_on_top_keeps_old_tokens() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let token = Keys::open(&path).unwrap().seal(&claims());
        let old = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{}\n{old}", Fernet::generate_key())).unwrap();
        assert!(Keys::open(&path).unwrap().unseal(&token).is_some());
        fs::write(&path, Fernet::generate_key()).unwrap();
        assert!(Keys::open(&path).unwrap().unseal(&token).is_none());
    }

    #[test]
    fn garbage_is_no_token() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::open(&dir.path().join("token")).unwrap();
        for text in [
            "",
            "garbage",
            "gAAAAAxxxxxxxxxxxxxxxx",
            &"a".repeat(300),
            "ä",
        ] {
            assert!(keys.unseal(text).is_none());
        }
        for cut in 0..claims().pack().len() {
            let _ = Claims::unpack(&claims().pack()[..cut]);
        }
    }

    #[test]
    fn methods_keep_their_order() {
        assert_eq!(claims().method_names(), ["token", "application_credential"]);
    }
}
