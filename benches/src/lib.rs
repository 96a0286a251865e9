//! Criterion benches of Hayrick's needle read and write paths.
