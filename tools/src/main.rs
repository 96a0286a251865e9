//! The hayrick command.

fn main() {}
