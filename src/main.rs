//! Argument parsing, then `cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    sparklease::cli::main()
}
