//! The program `os-collect-config`.

fn main() -> std::process::ExitCode {
    os_collect_config::main()
}
