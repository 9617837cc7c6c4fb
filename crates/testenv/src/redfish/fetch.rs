//! Fetches an image into the virtual drive.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use tokio::io::AsyncWriteExt;

/// An image that is larger is refused: no controller takes it.
const LARGEST: u64 = 8 << 30;

/// Silence of the server that is taken for its death.
const SILENCE: Duration = Duration::from_secs(30);

/// Copies the image at `url` to `target`.
pub async fn fetch(url: &str, target: &Path) -> Result<(), String> {
    let client = reqwest::Client::builder()
        .connect_timeout(Duration::from_secs(10))
        .read_timeout(SILENCE)
        .no_proxy()
        // Controllers do not check certificates of media servers unless told to (`VerifyCertificate`).
        .tls_danger_accept_invalid_certs(true)
        .build()
        .map_err(|error| causes(&error))?;
    let response = client
        .get(url)
        .send()
        .await
        .and_then(reqwest::Response::error_for_status);
    let mut response = response.map_err(|error| causes(&error.without_url()))?;
    let beside = target.with_extension("part");
    let mut file = tokio::fs::File::create(&beside)
        .await
        .map_err(|error| causes(&error))?;
    let mut size = 0;
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| causes(&error.without_url()))?
    {
        size += chunk.len() as u64;
        if size > LARGEST {
            return Err("it is too large".to_owned());
        }
        file.write_all(&chunk)
            .await
            .map_err(|error| causes(&error))?;
    }
    file.flush().await.map_err(|error| causes(&error))?;
    tokio::fs::rename(&beside, target)
        .await
        .map_err(|error| causes(&error))
}

fn causes(error: &dyn Error) -> String {
    crate::machine::with_causes(error)
}
