//! Elements become images.
