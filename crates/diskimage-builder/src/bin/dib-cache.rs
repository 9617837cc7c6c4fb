//! `dib-cache`: looks around and calls the library, by the name under which it was called.

use std::process::ExitCode;

fn main() -> ExitCode {
    let (around, arguments) = diskimage_builder::surroundings::look();
    diskimage_builder::tools::main(&around, &arguments)
        .unwrap_or_else(|| diskimage_builder::front::main(&around, &arguments))
}
