//! Metadata and templates become configuration files.
