//! Counts and the digest of a volume's live needles.

use twox_hash::XxHash3_128;

use crate::format::needle::NeedleHeader;

/// What is alive in a volume, kept up to date by every put and delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Needles that are not deleted.
    pub live_needles: u64,
    /// Bytes of their whole records.
    pub live_bytes: u64,
    /// Deleted keys whose tombstones are still kept.
    pub tombstones: u64,
    /// The sum of the live needles' [`content`] hashes. The order of operations does not
    /// matter, so replicas with equal content have equal digests.
    pub digest: u128,
    /// False once a needle was deleted whose header could not be read, so that its part
    /// of the sum is unknown. Verifying or compacting the volume makes it exact again.
    pub digest_exact: bool,
}

impl Default for Totals {
    fn default() -> Self {
        Self { live_needles: 0, live_bytes: 0, tombstones: 0, digest: 0, digest_exact: true }
    }
}

impl Totals {
    /// Notes a needle that is alive now.
    pub fn add(&mut self, record_bytes: u64, content: u128) {
        self.live_needles += 1;
        self.live_bytes += record_bytes;
        self.digest = self.digest.wrapping_add(content);
    }

    /// Notes that a needle is no longer alive; `content` is `None` where its header is unreadable.
    pub fn remove(&mut self, record_bytes: u64, content: Option<u128>) {
        self.live_needles = self.live_needles.saturating_sub(1);
        self.live_bytes = self.live_bytes.saturating_sub(record_bytes);
        match content {
            Some(content) => self.digest = self.digest.wrapping_sub(content),
            None => self.digest_exact = false,
        }
    }
}

/// A hash of what a needle is, wherever its record stands: key, cookie, sizes and checksum.
pub fn content(header: &NeedleHeader) -> u128 {
    let mut bytes = [0; 24];
    let fields = [
        &header.key.get().to_le_bytes()[..],
        &header.cookie.get().to_le_bytes(),
        &header.data_size.to_le_bytes(),
        &header.meta_size.to_le_bytes(),
        &header.body_crc.to_le_bytes(),
    ];
    for (place, byte) in bytes.iter_mut().zip(fields.into_iter().flatten()) {
        *place = *byte;
    }
    XxHash3_128::oneshot(&bytes)
}
