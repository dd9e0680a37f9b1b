//! Progress of work that takes longer than a second: on standard error, and only on a terminal.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Output, complain, units};

/// The progress line shows after this much work.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whether the progress line is on the terminal.
static DRAWN: AtomicBool = AtomicBool::new(false);

/// Clears the progress line when the program ends without dropping it.
pub(crate) fn clear_progress() {
    if DRAWN.load(Ordering::Relaxed) {
        complain("\r\u{1b}[2K");
    }
}

/// A running count of records and bytes.
pub(crate) struct Progress {
    bar: ProgressBar,
    noun: &'static str,
    started: Instant,
    shown: bool,
    wanted: bool,
}

#[expect(clippy::disallowed_methods, reason = "shown to people, and decides nothing")]
fn now() -> Instant {
    Instant::now()
}

impl Progress {
    /// Progress of `what`. `total` is the last position of [`at`](Self::at), if known. `noun` names
    /// the counted items.
    pub(crate) fn new(output: Output, what: &'static str, noun: &'static str, total: Option<u64>) -> Self {
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden());
        let template =
            if total.is_some() { "{prefix} {bar:30} {percent:>3}%  {msg}" } else { "{prefix} {spinner} {msg}" };
        bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_prefix(what);
        let wanted = !output.json && std::io::stderr().is_terminal();
        Self { bar, noun, started: now(), shown: false, wanted }
    }

    /// Reports the items done, and the position on the way to `total`.
    pub(crate) fn at(&mut self, position: u64, items: u64, bytes: u64) {
        if !self.wanted {
            return;
        }
        let elapsed = self.elapsed();
        if !self.shown && elapsed >= PATIENCE {
            self.shown = true;
            DRAWN.store(true, Ordering::Relaxed);
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        if self.shown {
            self.bar.set_position(position);
            self.bar.set_message(self.rates(items, bytes, elapsed));
        }
    }

    /// The time since the beginning.
    pub(crate) fn elapsed(&self) -> Duration {
        now().duration_since(self.started)
    }

    /// `1,500 records, 2.1 MiB, 30,000 records/s, 42.0 MiB/s`.
    pub(crate) fn rates(&self, items: u64, bytes: u64, elapsed: Duration) -> String {
        let a_second = |amount: u64| (amount as f64 / elapsed.as_secs_f64().max(0.001)) as u64;
        format!(
            "{}, {}, {} {}s/s, {}/s",
            units::counted(items, self.noun),
            units::bytes(bytes),
            units::count(a_second(items)),
            self.noun,
            units::bytes(a_second(bytes))
        )
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        DRAWN.store(false, Ordering::Relaxed);
    }
}
