//! The start: reads the environment, sets up the log, and asks the service for events.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use lambda_runtime::{LambdaEvent, Runtime, service_fn};
use lambda_runtime_api_client::PooledClient;
use lambda_runtime_api_client::body::Body;
use serde_json::json;
use serde_json::value::RawValue;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::config::Config;
use super::handler::Handler;

/// Variables that the service sets for its programs.
const SERVICE: [&str; 4] = [
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_VERSION",
];

/// The whole program.
pub fn main() -> ExitCode {
    log();
    if let Some(missing) = SERVICE.iter().find(|name| variable(name).is_none()) {
        // Only a person at a terminal reads this.
        let _ = writeln!(
            std::io::stderr(),
            "This program is started by AWS Lambda, which sets {missing}; `deltafold ingest`, `deltafold compact` and `deltafold serve` do the same work elsewhere."
        );
        return ExitCode::from(2);
    }
    // A function of this size has one core at most. Long computations go to other threads.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "the program cannot wait for anything");
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(async {
        match Config::read(variable) {
            Ok(config) => serve(config).await,
            Err(reason) => refuse(&reason).await,
        }
    })
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Logs JSON lines on standard output. `DELTAFOLD_LOG` selects them, as in `warn,deltafold=debug`.
/// Without it, the log level of the function's settings counts.
fn log() {
    let wanted = variable("DELTAFOLD_LOG").and_then(|wanted| wanted.parse::<Targets>().ok());
    let level = || wanted_at(variable("AWS_LAMBDA_LOG_LEVEL").as_deref()).parse().ok();
    let wanted = wanted.or_else(level).unwrap_or_default();
    let lines = tracing_subscriber::fmt::layer().json().flatten_event(true).with_span_list(false);
    tracing_subscriber::registry().with(lines).with(wanted).init();
}

/// The filter for a log level of AWS Lambda. Libraries stay quiet below `TRACE`.
fn wanted_at(level: Option<&str>) -> &'static str {
    match level {
        Some("TRACE") => "trace",
        Some("DEBUG") => "warn,deltafold=debug",
        Some("WARN") => "warn",
        Some("ERROR" | "FATAL") => "error",
        _ => "warn,deltafold=info",
    }
}

async fn serve(config: Config) -> ExitCode {
    let handler = match Handler::of(config) {
        Ok(handler) => Arc::new(handler),
        Err(reason) => return refuse(&reason).await,
    };
    let service = service_fn(move |event: LambdaEvent<Box<RawValue>>| {
        let handler = handler.clone();
        async move { handler.invoked(event).await }
    });
    match Runtime::new(service).run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error, "the service gives no more events");
            ExitCode::FAILURE
        }
    }
}

/// Reports to the service and to the log that the function cannot work with its settings.
async fn refuse(reason: &str) -> ExitCode {
    tracing::error!(reason, "the function cannot work as it is set up");
    let told = async {
        let body = json!({ "errorType": "Deltafold.Config", "errorMessage": reason, "stackTrace": [] }).to_string();
        let request = http::Request::post("/2018-06-01/runtime/init/error")
            .header("Lambda-Runtime-Function-Error-Type", "Deltafold.Config")
            .body(Body::from(body))?;
        PooledClient::builder().build().call(request).await
    };
    if let Err(error) = told.await {
        tracing::warn!(error, "the service did not hear of it");
    }
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_log_level_of_a_function_asks_for_its_lines() {
        for (level, wanted) in [
            (None, "warn,deltafold=info"),
            (Some("INFO"), "warn,deltafold=info"),
            (Some("TRACE"), "trace"),
            (Some("DEBUG"), "warn,deltafold=debug"),
            (Some("WARN"), "warn"),
            (Some("ERROR"), "error"),
            (Some("FATAL"), "error"),
        ] {
            assert_eq!(wanted_at(level), wanted, "{level:?}");
            assert!(wanted.parse::<Targets>().is_ok(), "{wanted}");
        }
    }
}
