//! The program `os-apply-config`.

fn main() -> std::process::ExitCode {
    arguments::main(os_apply_config::run)
}
