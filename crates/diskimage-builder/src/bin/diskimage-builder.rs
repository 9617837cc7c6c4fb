//! `diskimage-builder`: looks around and calls the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    let (around, arguments) = diskimage_builder::surroundings::look();
    diskimage_builder::multi::main(&around, &arguments)
}
