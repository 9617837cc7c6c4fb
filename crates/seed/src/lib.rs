//! The seed: a small OpenStack for bare metal in one process. One module per service.
