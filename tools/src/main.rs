//! The hayrick command; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    hayrick::main()
}
