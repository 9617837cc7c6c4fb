//! The node binary; it acts as the agent whose name it was called by.

fn main() {}
