//! The binary `postrider` again, built with the tests so that they always run what was just compiled.

fn main() -> std::process::ExitCode {
    postrider_cli::run()
}
