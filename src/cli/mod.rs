//! The terminal program: reads files, shows progress, writes results.

mod analyze;
mod arguments;
mod backend;
mod bench;
mod compare;
mod describe;
mod distances;
mod layer;
mod measures;
mod quantize;
mod schemes;
mod selftest;
mod smooth;
mod source;
pub mod speed;
mod writer;

use std::fmt;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use self::arguments::{Arguments, Command};
use crate::error::Error;
use crate::kernel::{Kernel, VARIABLE};

/// Why the program stops early.
#[derive(Debug)]
enum Failure {
    /// The core's error.
    Core(Error),
    /// A file of the model can't be read.
    Read(String),
    /// A result can't be written.
    Write(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Core(error)
    }
}

impl Failure {
    fn read(path: &Path, error: &std::io::Error) -> Self {
        Failure::Read(format!("can't read {path:?}: {error}; check the path and its permissions"))
    }

    fn write(path: &Path, error: &std::io::Error) -> Self {
        Failure::Write(format!("can't write {path:?}: {error}"))
    }

    /// The exit status: 2 the caller is wrong, 3 the file is, 130 cancelled, 1 anything else.
    fn status(&self) -> u8 {
        match self {
            Failure::Core(Error::Options(_)) => 2,
            Failure::Core(Error::Format(_) | Error::Limit(_) | Error::Unsupported(_)) | Failure::Read(_) => 3,
            Failure::Core(Error::Cancelled) => 130,
            Failure::Core(_) | Failure::Write(_) => 1,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Core(error) => error.fmt(f),
            Failure::Read(message) | Failure::Write(message) => f.write_str(message),
        }
    }
}

/// Runs the program on the process's arguments.
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    match execute(arguments.command.unwrap_or_default()) {
        Ok(status) => status,
        Err(failure) => {
            say(&format!("heavytail: {failure}"));
            ExitCode::from(failure.status())
        }
    }
}

fn execute(command: Command) -> Result<ExitCode, Failure> {
    Kernel::from_environment().map_err(|e| Error::Options(format!("the environment variable {VARIABLE}: {e}")))?;
    match command {
        Command::Analyze(arguments) => analyze::run(&arguments),
        Command::Compare(arguments) => compare::run(&arguments),
        Command::Describe(arguments) => describe::run(&arguments),
        Command::Layer(arguments) => layer::run(&arguments),
        Command::Schemes(arguments) => schemes::run(&arguments),
        Command::Quantize(arguments) => quantize::run(&arguments),
        Command::Distances(arguments) => distances::run(&arguments),
        Command::Smooth(arguments) => smooth::smooth(&arguments),
        Command::Sharpen(arguments) => smooth::sharpen(&arguments),
        Command::Selftest => selftest::run(),
        Command::Bench(arguments) => bench::run(&arguments),
    }
}

/// A line on stderr. There is nobody to tell when that has gone: what is being said must not end the program.
fn say(line: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Prints to stdout; a reader that has gone away (`| head`) is no fault of ours.
fn print(text: &str) -> Result<(), Failure> {
    use std::io::Write;
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::write(Path::new("stdout"), &error))
        }
        _ => Ok(()),
    }
}
