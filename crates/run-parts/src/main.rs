//! The program `dib-run-parts`.

fn main() -> std::process::ExitCode {
    run_parts::main(std::env::args_os().skip(1).collect())
}
