//! TLS of the listeners: rustls with ring.

use std::path::Path;
use std::sync::Arc;

use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{InconsistentKeys, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::SeedError;
use crate::settings::TlsFiles;

/// Reads the certificate and its key.
pub(crate) fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, SeedError> {
    let cert = |source: Source, advice: &str| wrong("certificate", &files.cert, advice, source);
    let chain: Vec<_> = CertificateDer::pem_file_iter(&files.cert)
        .and_then(Iterator::collect)
        .map_err(|error| cert(error.into(), READABLE_CERT))?;
    if chain.is_empty() {
        return Err(cert("it holds no certificate".into(), READABLE_CERT));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| wrong("key", &files.key, READABLE_KEY, error.into()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = provider
        .key_provider
        .load_private_key(key)
        .map_err(|error| wrong("key", &files.key, READABLE_KEY, error.into()))?;
    let pair = CertifiedKey::new(chain, key);
    match pair.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
        Err(error @ rustls::Error::InconsistentKeys(_)) => {
            let advice = format!(
                "give --tls-cert and --tls-key of one pair: {} is the key of another certificate, or the \
                 server's own certificate is not the first in the file",
                files.key.display()
            );
            return Err(cert(error.into(), &advice));
        }
        Err(error) => return Err(cert(error.into(), READABLE_CERT)),
    }
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| {
            cert(
                error.into(),
                "this is a defect of the seed: please report it",
            )
        })?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(pair)));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

const READABLE_CERT: &str = "give --tls-cert a readable PEM file with the server's certificate first and those \
    of its issuers after it (`openssl x509 -in FILE -noout -subject` must read it)";
const READABLE_KEY: &str = "give --tls-key a readable PEM file with an RSA, ECDSA or Ed25519 key without a password \
    (`openssl pkey -in FILE -noout` must read it)";

type Source = Box<dyn std::error::Error + Send + Sync>;

fn wrong(what: &'static str, path: &Path, advice: &str, source: Source) -> SeedError {
    SeedError::Tls {
        what,
        path: path.to_owned(),
        advice: advice.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn files(cert: &Path, key: &Path) -> TlsFiles {
        TlsFiles {
            ca: cert.to_owned(),
            cert: cert.to_owned(),
            key: key.to_owned(),
        }
    }

    #[track_caller]
    fn refused(files: &TlsFiles) -> (String, String) {
        let error = acceptor(files).err().unwrap();
        (error.to_string(), error.hint().unwrap())
    }

    #[test]
    fn a_file_that_is_no_use_is_named_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let pair = |name: &str| {
            let made = rcgen::generate_simple_self_signed(["seed".to_owned()]).unwrap();
            let given = files(
                &dir.path().join(format!("{name}.crt")),
                &dir.path().join(format!("{name}.key")),
            );
            fs::write(&given.cert, made.cert.pem()).unwrap();
            fs::write(&given.key, made.signing_key.serialize_pem()).unwrap();
            given
        };
        let (one, other) = (pair("one"), pair("other"));
        assert!(acceptor(&one).is_ok());

        let mixed = files(&one.cert, &other.key);
        let (message, hint) = refused(&mixed);
        assert!(
            message.contains("the certificate") && message.contains("one.crt"),
            "{message}"
        );
        assert!(
            hint.contains("of one pair") && hint.contains("other.key"),
            "{hint}"
        );

        let empty = dir.path().join("empty");
        fs::write(&empty, "").unwrap();
        for wrong in [&empty, &other.key, &dir.path().join("missing")] {
            let given = files(wrong, &one.key);
            let (message, hint) = refused(&given);
            assert!(message.contains(&*wrong.to_string_lossy()), "{message}");
            assert!(hint.contains("--tls-cert"), "{hint}");
        }
        for wrong in [&empty, &other.cert, &dir.path().join("missing")] {
            let given = files(&one.cert, wrong);
            let (message, hint) = refused(&given);
            assert!(message.contains("the key"), "{message}");
            assert!(message.contains(&*wrong.to_string_lossy()), "{message}");
            assert!(hint.contains("--tls-key"), "{hint}");
        }
    }
}
