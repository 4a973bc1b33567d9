//! `postrider`: see `postrider --help`.

/// Messages are made on one thread and let go of on another, two hundred pieces to a delivery: the system's own
/// allocator takes a seventh of all its CPU for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    postrider_cli::run()
}
