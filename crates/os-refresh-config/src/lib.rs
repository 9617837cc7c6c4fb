//! Runs the phases that bring a node to its configuration.
