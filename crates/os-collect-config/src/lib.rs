//! Metadata sources become a cache of documents, and a command runs when they change.
