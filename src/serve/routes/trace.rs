//! The trace context of a request: the header `traceparent` of W3C.

/// The trace that a request belongs to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Trace<'a> {
    pub(super) trace_id: &'a str,
    pub(super) parent_id: &'a str,
}

/// Reads `version-trace_id-parent_id-flags`. Any other text is not a trace.
pub(super) fn parse(text: &str) -> Option<Trace<'_>> {
    let mut fields = text.split('-');
    let version = hex(fields.next()?, 2)?;
    let (trace_id, parent_id) = (hex(fields.next()?, 32)?, hex(fields.next()?, 16)?);
    hex(fields.next()?, 2)?;
    let is_zero = |id: &str| id.bytes().all(|byte| byte == b'0');
    // Later versions may have more fields.
    let fits = version != "ff" && (version != "00" || fields.next().is_none());
    (fits && !is_zero(trace_id) && !is_zero(parent_id)).then_some(Trace { trace_id, parent_id })
}

fn hex(text: &str, length: usize) -> Option<&str> {
    let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    (text.len() == length && text.bytes().all(is_hex)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_trace_context_is_taken() {
        let (trace_id, parent_id) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
        let whole = format!("00-{trace_id}-{parent_id}-01");
        assert_eq!(parse(&whole), Some(Trace { trace_id, parent_id }));
        assert!(parse(&format!("01-{trace_id}-{parent_id}-01-more")).is_some());
        for wrong in [
            String::new(),
            format!("00-{trace_id}-{parent_id}"),
            format!("00-{trace_id}-{parent_id}-01-more"),
            format!("ff-{trace_id}-{parent_id}-01"),
            format!("00-{}-{parent_id}-01", trace_id.to_uppercase()),
            format!("00-{}-{parent_id}-01", "0".repeat(32)),
            format!("00-{trace_id}-{}-01", "0".repeat(16)),
            "00-\u{1b}[31m-x-01".to_owned(),
        ] {
            assert_eq!(parse(&wrong), None, "{wrong}");
        }
    }
}
