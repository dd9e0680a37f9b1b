//! Waits that a person can see.

use std::time::Duration;

use crate::output::Output;
use crate::output::units::duration;

/// A FIFO queue remembers a deduplication id this long, whatever happens to the message.
pub(crate) const DEDUPLICATION: Duration = Duration::from_secs(300);

/// Waits, and prints the reason once.
#[expect(clippy::disallowed_methods, reason = "a person asked to wait; nothing is decided by it")]
pub(crate) async fn wait(output: Output, span: Duration, why: &str) {
    if !span.is_zero() {
        output.note(format!("waiting {}: {why}", duration(span)));
        tokio::time::sleep(span).await;
    }
}
