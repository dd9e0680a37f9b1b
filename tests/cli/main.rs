//! The real program, run as a user runs it: what it prints for people and for scripts, its exit codes, and what it says to do next.

mod append;
mod cloud;
mod commands;
mod cost;
mod damage;
mod demo;
mod home;
#[cfg(feature = "mapping")]
mod map;
mod output;
#[cfg(all(feature = "s3", feature = "dynamodb", feature = "sqs"))]
mod queue;
mod revision;
