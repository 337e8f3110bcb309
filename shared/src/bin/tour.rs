//! Runs the five programs in turn and says what they found together.

fn main() -> std::process::ExitCode {
    shared::tour::main()
}
