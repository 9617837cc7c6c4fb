//! The program `heat-config`: runs the deployments of this node.

fn main() -> std::process::ExitCode {
    arguments::main(heat_config::run)
}
