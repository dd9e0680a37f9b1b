//! The common code of the tests, benchmarks and fuzzers of Deltafold. `README.md` is its map.
#![expect(clippy::disallowed_methods, reason = "servers and slow stores of tests have clocks and tasks of their own")]

pub mod canonical;
pub mod changing;
pub mod chroma;
#[cfg(all(feature = "s3", feature = "dynamodb"))]
pub mod cloud;
pub mod data;
pub mod export;
pub mod far;
#[cfg(feature = "lambda")]
pub mod lambda;
pub mod ministack;
pub mod model;
#[cfg(feature = "sqs")]
pub mod moves;
pub mod objects;
pub mod pass_on;
#[cfg(feature = "sqs")]
pub mod queues;
pub mod random;
#[cfg(feature = "s3")]
pub mod s3;
pub mod stranger;
#[cfg(feature = "dynamodb")]
pub mod table;
pub mod tinyproxy;
#[cfg(feature = "http")]
pub mod tls;
pub mod venv;
pub mod watched;

// The macros name them.
#[doc(hidden)]
pub use {bytes, deltafold, futures};

/// The clients of AWS with which tests look behind the library.
#[cfg(feature = "lambda")]
pub use {aws_sdk_lambda, aws_sdk_sqs, aws_smithy_http_client};
