//! Turns passwords into what is kept of them.
//!
//! What people choose goes through scrypt (16 MiB, some 50 ms): a stolen database does not give weak passwords
//! away. What we generate ourselves has 128 random bits or more, which nobody can guess however cheap a try
//! is; it goes through salted SHA-256, so that thousands of nodes cost nothing.

use rand::TryRngCore;
use scrypt::Params;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Cost of scrypt: 2^14 blocks of 1 KiB.
const LOG_N: u8 = 14;
const R: u32 = 8;
const P: u32 = 1;

/// Why a password could not be turned into a hash.
#[derive(Debug, thiserror::Error)]
#[error("the password cannot be hashed")]
pub(crate) struct HashError;

fn salt() -> Result<[u8; 16], HashError> {
    let mut salt = [0; 16];
    rand::rngs::OsRng
        .try_fill_bytes(&mut salt)
        .map_err(|_| HashError)?;
    Ok(salt)
}

fn derive(password: &str, salt: &[u8], log_n: u8, r: u32, p: u32) -> Result<[u8; 32], HashError> {
    let mut out = [0; 32];
    let params = Params::new(log_n, r, p, out.len()).map_err(|_| HashError)?;
    scrypt::scrypt(password.as_bytes(), salt, &params, &mut out).map_err(|_| HashError)?;
    Ok(out)
}

fn digest(secret: &str, salt: &[u8]) -> [u8; 32] {
    Sha256::new()
        .chain_update(salt)
        .chain_update(secret.as_bytes())
        .finalize()
        .into()
}

/// What is kept of a password that a person chose. Takes long: not for threads that serve.
pub(crate) fn hash_chosen(password: &str) -> Result<String, HashError> {
    let salt = salt()?;
    let hash = derive(password, &salt, LOG_N, R, P)?;
    Ok(format!(
        "scrypt${LOG_N}${R}${P}${}${}",
        hex::encode(salt),
        hex::encode(hash)
    ))
}

/// What is kept of a secret that was generated with at least 128 random bits.
pub(crate) fn hash_generated(secret: &str) -> Result<String, HashError> {
    let salt = salt()?;
    Ok(format!(
        "sha256${}${}",
        hex::encode(salt),
        hex::encode(digest(secret, &salt))
    ))
}

/// Whether checking against this hash takes long.
pub(crate) fn is_costly(kept: &str) -> bool {
    kept.starts_with("scrypt$")
}

/// Whether `password` is the one that `kept` was made of. False for what is no hash of ours.
pub(crate) fn verify(password: &str, kept: &str) -> bool {
    verdict(password, kept).unwrap_or(false)
}

fn verdict(password: &str, kept: &str) -> Option<bool> {
    let parts: Vec<&str> = kept.split('$').collect();
    let (hash, wanted) = match parts.as_slice() {
        ["scrypt", log_n, r, p, salt, hash] => {
            let salt = hex::decode(salt).ok()?;
            (
                derive(
                    password,
                    &salt,
                    log_n.parse().ok()?,
                    r.parse().ok()?,
                    p.parse().ok()?,
                )
                .ok()?,
                hash,
            )
        }
        ["sha256", salt, hash] => (digest(password, &hex::decode(salt).ok()?), hash),
        _ => return None,
    };
    Some(hash.as_slice().ct_eq(&hex::decode(wanted).ok()?).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_verify() {
        for kept in [
            hash_chosen("pä😀ss").unwrap(),
            hash_generated("pä😀ss").unwrap(),
        ] {
            assert!(verify("pä😀ss", &kept));
            assert!(!verify("pass", &kept));
            assert!(!kept.contains("pä"));
        }
        assert_ne!(hash_generated("x").unwrap(), hash_generated("x").unwrap());
    }

    #[test]
    fn garbage_never_verifies() {
        for kept in [
            "",
            "x",
            "sha256$zz$00",
            "scrypt$99$8$1$00$00",
            "scrypt$14$8$1$00",
            "sha256$00$",
        ] {
            assert!(!verify("", kept), "{kept}");
        }
    }
}
