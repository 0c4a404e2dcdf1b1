//! The terminal program.

fn main() -> std::process::ExitCode {
    heavytail::cli::run()
}
