//! A cloud in memory, with latencies, faults and thousands of nodes.
