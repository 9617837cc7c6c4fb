//! What all our API clients share: clouds.yaml, authentication, catalog, retries, TLS.
