//! Ordered hook directories: the contract that image builds and nodes share.
