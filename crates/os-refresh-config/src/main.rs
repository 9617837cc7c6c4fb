//! The program `os-refresh-config`.

fn main() -> std::process::ExitCode {
    arguments::main(os_refresh_config::run)
}
