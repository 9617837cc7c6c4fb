//! Images by digest: upload, check, convert once, serve ranges.
