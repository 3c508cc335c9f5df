//! Everything that the crate promises, seen from outside.

mod central_types;
mod contracts;
mod decoders;
mod house;
mod memory;
mod mutate;
mod tools;
mod versions;
