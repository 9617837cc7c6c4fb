//! Heat Orchestration Templates: parse, environments, functions, conditions, validation. Pure: no async, no I/O, no clock.
