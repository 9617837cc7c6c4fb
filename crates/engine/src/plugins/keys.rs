//! `OS::Nova::KeyPair`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cloud::{KeyPair, KeyPairSpec};
use hot::Value;
use rand::RngCore;
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use super::{Outcome, Started, Work, gone, seen, text};
use crate::api::Action;
use crate::failure::Failure;
use crate::model::Row;

pub(super) fn start(row: &mut Row) -> Result<Started, Failure> {
    if row.action == Action::Create
        && text(&row.properties, "public_key").is_none()
        && row.note("public_key").is_none()
    {
        generate(row)?;
    }
    Ok(match row.action {
        Action::Create | Action::Adopt | Action::Update | Action::Delete => Started::Call,
        _ => Started::Done,
    })
}

pub(super) async fn step(work: &Work) -> Result<Outcome, Failure> {
    let (name, order) = (work.physical(), work.order());
    if work.row.action == Action::Delete {
        return gone(work.cloud().remove_key_pair(&name, &order).await);
    }
    let properties = &work.row.properties;
    let want = KeyPairSpec {
        name: text(properties, "name")
            .unwrap_or(&work.row.physical_name)
            .to_owned(),
        public_key: public_key(&work.row).unwrap_or_default().to_owned(),
        user: text(properties, "user").map(str::to_owned),
    };
    let answer = work.cloud().ensure_key_pair(&name, &want, &order).await;
    seen(answer, "key_pair", |pair: &KeyPair| pair.name.clone())
}

pub(super) fn attribute(row: &Row, name: &str) -> Option<Value> {
    match name {
        "public_key" => public_key(row).map(Value::text),
        // Heat says nothing in place of a key that was given, or not to be kept.
        "private_key" => Some(Value::text(row.note("private_key").unwrap_or_default())),
        "show" => row.notes.get("key_pair").map(Value::from_json),
        _ => None,
    }
}

fn public_key(row: &Row) -> Option<&str> {
    text(&row.properties, "public_key").or_else(|| row.note("public_key"))
}

/// Makes a pair for one who gave no key. The private half is kept only where that is asked for.
fn generate(row: &mut Row) -> Result<(), Failure> {
    if text(&row.properties, "type") == Some("x509") {
        let message = "certificates are not generated here: give `public_key`, or leave `type` out";
        return Err(Failure::new("NotSupported", message));
    }
    let mut seed = [0; 32];
    let mut check = [0; 4];
    rand::rng().fill_bytes(&mut seed);
    rand::rng().fill_bytes(&mut check);
    let comment = text(&row.properties, "name").unwrap_or(&row.physical_name);
    let pair = Pair::of(&seed, check, comment)?;
    let keep = row.properties.get("save_private_key");
    if keep.is_some_and(|keep| *keep == Value::Bool(true)) {
        row.notes
            .insert("private_key".to_owned(), pair.private.into());
    }
    row.notes
        .insert("public_key".to_owned(), pair.public.into());
    Ok(())
}

/// An Ed25519 key pair as OpenSSH writes it.
struct Pair {
    public: String,
    private: String,
}

impl Pair {
    /// The pair of a seed. `check` tells a reader that it deciphered the file rightly; this one is not enciphered.
    fn of(seed: &[u8; 32], check: [u8; 4], comment: &str) -> Result<Pair, Failure> {
        const KIND: &[u8] = b"ssh-ed25519";
        let key = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|error| {
            Failure::new("Error", format!("a key pair could not be made: {error}"))
        })?;
        let public = key.public_key().as_ref();
        let blob = [field(KIND), field(public)].concat();
        let mut private = [
            &check[..],
            &check,
            &blob,
            &field(&[seed, public].concat()),
            &field(comment.as_bytes()),
        ]
        .concat();
        // Filled up to the block of the cipher `none`.
        private.extend((1..).take(private.len().next_multiple_of(8) - private.len()));
        let file = [
            &b"openssh-key-v1\0"[..],
            &field(b"none"),
            &field(b"none"),
            &field(b""),
            &1_u32.to_be_bytes(),
            &field(&blob),
            &field(&private),
        ]
        .concat();
        let text = STANDARD.encode(file);
        let mut lines = vec!["-----BEGIN OPENSSH PRIVATE KEY-----"];
        // Base64 is ASCII, so a line may end anywhere.
        lines.extend(
            (0..text.len())
                .step_by(LINE)
                .map(|at| &text[at..text.len().min(at + LINE)]),
        );
        lines.push("-----END OPENSSH PRIVATE KEY-----\n");
        Ok(Pair {
            public: format!("ssh-ed25519 {} {comment}", STANDARD.encode(&blob)),
            private: lines.join("\n"),
        })
    }
}

/// Letters in a line of a key file.
const LINE: usize = 70;

/// Bytes after their number, as SSH writes them.
fn field(bytes: &[u8]) -> Vec<u8> {
    // Keys and names are far shorter than what fits.
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes()[..], bytes].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_written_as_openssh_writes_it() {
        // The first key of RFC 8032; what `ssh-keygen -y` reads from the private half.
        let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
        let seed: [u8; 32] = hex::decode(seed).unwrap().try_into().unwrap();
        let pair = Pair::of(&seed, [1, 2, 3, 4], "me").unwrap();
        let public = "ssh-ed25519 \
            AAAAC3NzaC1lZDI1NTE5AAAAINdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea me";
        assert_eq!(pair.public, public);
        let private = "
-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW
QyNTUxOQAAACDXWpgBgrEKt9VL/tPJZAc6DuFy89qmIyWvAhpo9wdRGgAAAIgBAgMEAQID
BAAAAAtzc2gtZWQyNTUxOQAAACDXWpgBgrEKt9VL/tPJZAc6DuFy89qmIyWvAhpo9wdRGg
AAAECdYbGd7/1aYLqESvSS7CzEREnFaXsyaRlwO6wDHK5/YNdamAGCsQq31Uv+08lkBzoO
4XLz2qYjJa8CGmj3B1EaAAAAAm1lAQID
-----END OPENSSH PRIVATE KEY-----
";
        assert_eq!(pair.private, private.trim_start());
    }
}
