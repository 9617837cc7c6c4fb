//! One type for everything that must not be seen: passwords, tokens, keys.
//!
//! It is wiped when dropped, prints as `***`, and cannot be serialised: whoever writes it out says `expose()`,
//! which is easy to search for. Knows nothing of what the secrets are for. A [`Mask`] covers those that turn up in texts of others.

mod mask;

use std::fmt;

use rand::TryRngCore;
use serde::{Deserialize, Deserializer};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

pub use mask::{COVER, Document, Mask, Part, sounds_secret};

/// A text that is never printed.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a text into keeping.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// Makes a fresh secret of `bytes` random bytes, written in hexadecimal.
    ///
    /// # Panics
    /// Where the operating system has no randomness; nothing secret can be made then.
    pub fn generate(bytes: usize) -> Self {
        let mut raw = Zeroizing::new(vec![0u8; bytes]);
        rand::rngs::OsRng
            .try_fill_bytes(&mut raw)
            .expect("the operating system gives random bytes");
        let mut text = String::with_capacity(bytes * 2);
        for byte in raw.iter() {
            const DIGITS: &[u8; 16] = b"0123456789abcdef";
            text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        Self::new(text)
    }

    /// Shows the text. Never log what this returns.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Compares in time that does not depend on where the texts differ.
    pub fn matches(&self, other: &str) -> bool {
        self.0.as_bytes().ct_eq(other.as_bytes()).into()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.matches(other.expose())
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn is_never_printed() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "*** Some(***)");
    }

    #[test]
    fn generated_ones_differ() {
        let (a, b) = (Secret::generate(16), Secret::generate(16));
        assert_eq!(a.expose().len(), 32);
        assert!(!a.matches(b.expose()));
        assert!(a.matches(a.clone().expose()));
        assert!(a == a.clone() && a != b);
    }
}
