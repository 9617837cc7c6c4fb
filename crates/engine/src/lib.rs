//! Keeps stacks and carries out their changes on a cloud; metadata, signals, events.
