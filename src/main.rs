//! The command `karat`: parse, run, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    karat::cli::main()
}
