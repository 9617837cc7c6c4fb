//! Partition tables, file systems made from trees, boot loaders, config drives, sparse copies.
//!
//! All of it works on files and devices by reading and writing bytes: nothing is mounted, and no help of
//! the kernel (loop devices, partition scanning, isofs, vfat) is needed. What an image holds, and why, is
//! decided by the callers.

pub mod boot;
pub mod config_drive;
pub mod esp;
pub mod ext4;
pub mod gpt;
pub mod iso;
pub mod loopdev;
pub mod mbr;
pub mod program;
pub mod root;
pub mod sparse;
