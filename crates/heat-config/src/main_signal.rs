//! The program `os-signal-deployments`: says of deployments for os-apply-config how the refresh went.

fn main() -> std::process::ExitCode {
    arguments::main(heat_config::signal_refreshed)
}
