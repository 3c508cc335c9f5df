//! The command `karat`.

fn main() {}
