//! How slow a client may be.

use std::time::Duration;

/// The least number of bytes a second that a client must send of a body, or read of an answer, on
/// average over the time in which the server waited for it. It has a grace period first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MinRate(pub u64);

impl MinRate {
    /// How long the next piece may take: no longer than `silence`, and no longer than what is left
    /// of a grace of one `silence` and the time that `bytes` may take at this rate, of which
    /// `waited` is over.
    pub(crate) fn patience(self, silence: Duration, waited: Duration, bytes: u64) -> Duration {
        let Some(seconds) = bytes.checked_div(self.0) else { return silence };
        let allowed = silence.saturating_add(Duration::from_secs(seconds));
        silence.min(allowed.saturating_sub(waited))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trickle_uses_up_its_grace() {
        let (rate, silence) = (MinRate(1024), Duration::from_secs(30));
        let patience = |waited, bytes| rate.patience(silence, Duration::from_secs(waited), bytes);
        assert_eq!(patience(0, 0), silence);
        assert_eq!(patience(20, 20), Duration::from_secs(10));
        assert_eq!(patience(31, 31), Duration::ZERO);
        assert_eq!(patience(31, 31 << 10), silence);
        assert_eq!(patience(500, 480 << 10), Duration::from_secs(10));
        assert_eq!(patience(u64::MAX, u64::MAX), Duration::ZERO);
        assert_eq!(MinRate(0).patience(silence, Duration::MAX, 0), silence);
    }
}
