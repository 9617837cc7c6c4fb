//! Partition tables, file systems made from trees, boot loaders, config drives, sparse copies.
