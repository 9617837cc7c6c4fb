//! The program `heat-config-notify`: sends the signal of one deployment.

fn main() -> std::process::ExitCode {
    arguments::main(heat_config::notify)
}
