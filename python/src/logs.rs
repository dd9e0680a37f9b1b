//! Events of the engine for `logging`.
//!
//! Threads of the engine must not wait for the interpreter. So each event goes into a bounded
//! queue, and one thread hands them to the loggers `deltafold.*`.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};

use pyo3::prelude::*;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

/// Events that wait. Beyond that, events are dropped and counted.
const WAITING: usize = 4_096;

struct Line {
    level: Level,
    target: String,
    text: String,
}

struct Queue {
    lines: SyncSender<Line>,
}

static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Number of events that were dropped because the queue was full.
#[pyfunction]
pub(crate) fn dropped_logs() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// Passes events up to a level on to `logging`: `off`, `error`, `warn`, `info`, `debug`, `trace`,
/// or directives such as `deltafold=debug,aws_config=error`. False if another part of the process
/// takes them already.
#[pyfunction]
pub(crate) fn pass_logs_on(py: Python<'_>, directives: &str) -> PyResult<bool> {
    let filter = EnvFilter::try_new(directives)
        .map_err(|error| crate::call::invalid(py, format!("level: {error}; give a level such as `info`")))?;
    let (lines, waiting) = sync_channel::<Line>(WAITING);
    if tracing_subscriber::registry().with(Queue { lines }.with_filter(filter)).try_init().is_err() {
        return Ok(false);
    }
    let work = move || {
        for line in waiting {
            // An exception of a handler is the handler's own.
            let _ = Python::attach(|py| hand_over(py, &line));
        }
    };
    std::thread::Builder::new().name("deltafold-logs".to_owned()).spawn(work)?;
    Ok(true)
}

fn hand_over(py: Python<'_>, line: &Line) -> PyResult<()> {
    let level = match line.level {
        Level::ERROR => 40,
        Level::WARN => 30,
        Level::INFO => 20,
        Level::DEBUG => 10,
        Level::TRACE => 5,
    };
    let name = line.target.replace("::", ".");
    let logger = py.import("logging")?.call_method1("getLogger", (name,))?;
    logger.call_method1("log", (level, "%s", &line.text)).map(drop)
}

impl<S: Subscriber> Layer<S> for Queue {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut text = Text::default();
        event.record(&mut text);
        let metadata = event.metadata();
        let line = Line { level: *metadata.level(), target: metadata.target().to_owned(), text: text.0 };
        if let Err(TrySendError::Full(_)) = self.lines.try_send(line) {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The message of an event, and its fields.
#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let space = if self.0.is_empty() { "" } else { " " };
        // Writing to a text does not fail.
        let _ = match field.name() {
            "message" => write!(self.0, "{space}{value:?}"),
            name => write!(self.0, "{space}{name}={value:?}"),
        };
    }
}
