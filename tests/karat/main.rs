//! Everything that the crate promises, seen from outside.

mod apk;
mod baselines;
mod cache;
mod central_types;
mod channels;
mod cli;
mod codec;
mod compare;
mod contracts;
mod decoders;
mod disks;
mod house;
mod layers;
mod making;
mod memory;
mod merging;
mod mutate;
mod outputs;
mod registry;
mod sources;
mod tar;
mod tools;
mod trees;
mod versions;
mod volumes;
mod wrappings;
