//! `postrider`: see `postrider --help`.

fn main() -> std::process::ExitCode {
    postrider_cli::run()
}
