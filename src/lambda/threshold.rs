//! The threshold for an early fold of a log.

/// Decides for one collection of one instance.
#[derive(Debug)]
pub(super) struct Threshold {
    segments: u64,
    /// The length of the log at the last request for a fold; 0 after the fold.
    asked: u64,
}

impl Threshold {
    pub(super) fn new(segments: u64) -> Self {
        Self { segments: segments.max(1), asked: 0 }
    }

    /// Whether to fold a log of this many segments. After one true answer, the next comes when the
    /// log has grown by half the threshold or was folded.
    pub(super) fn reached(&mut self, segments: u64) -> bool {
        if segments < self.segments {
            self.asked = 0;
            return false;
        }
        let reached = self.asked == 0 || segments < self.asked || segments >= self.asked + self.segments.div_ceil(2);
        if reached {
            self.asked = segments;
        }
        reached
    }

    /// The request failed, so ask again next time.
    pub(super) fn forget(&mut self) {
        self.asked = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_once_for_each_half_more() {
        let mut threshold = Threshold::new(8);
        let said: Vec<u64> = (0..=20).filter(|segments| threshold.reached(*segments)).collect();
        assert_eq!(said, [8, 12, 16, 20]);
        assert!(!threshold.reached(3), "it was folded");
        assert!(threshold.reached(9));
        assert!(threshold.reached(8), "folded and grown again meanwhile");
        threshold.forget();
        assert!(threshold.reached(8));
    }
}
