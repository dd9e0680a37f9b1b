//! The deployment: its template and its Pulumi program, and the program for AWS Lambda as the
//! service runs it, on a server with injected faults and on ministack, an emulator.
//!
//! Long tests begin first, as their names do: the emulator leaves time for the rest.
#![cfg_attr(
    feature = "lambda",
    expect(clippy::unwrap_used, reason = "a test panics where something is not as it must be")
)]

#[cfg(feature = "lambda")]
mod lambda;
#[cfg(all(feature = "lambda", target_os = "linux"))]
#[expect(clippy::disallowed_methods, reason = "the test waits for processes of its own")]
mod pipeline;
mod template;
#[cfg(feature = "lambda")]
#[expect(clippy::disallowed_methods, reason = "a client's connection is a task of its own")]
mod url;
