//! Nodes and their life: one idempotent handler per transition, deadlines, cleaning, deploying.
