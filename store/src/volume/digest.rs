//! Counts and the digest of a volume's live needles.

use twox_hash::XxHash3_128;

use crate::format::needle::NeedleHeader;
use crate::format::superblock::SUPERBLOCK_BYTES;

/// What is alive in a volume, kept up to date by every put and delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Needles that are not deleted.
    pub live_needles: u64,
    /// Bytes of their whole records.
    pub live_bytes: u64,
    /// Deleted keys whose tombstones are still kept.
    pub tombstones: u64,
    /// Bytes of those tombstones' records: each says which name was removed.
    pub tombstone_bytes: u64,
    /// When the newest of them was appended, in nanoseconds since 1970; 0 without any.
    pub newest_tombstone_ns: u64,
    /// The sum of the live needles' [`content`] hashes. The order of operations does not
    /// matter, so replicas with equal content have equal digests.
    pub digest: u128,
    /// False once a needle was deleted whose header could not be read, so that its part
    /// of the sum is unknown. Verifying or compacting the volume makes it exact again.
    pub digest_exact: bool,
}

impl Default for Totals {
    fn default() -> Self {
        Self {
            live_needles: 0,
            live_bytes: 0,
            tombstones: 0,
            tombstone_bytes: 0,
            newest_tombstone_ns: 0,
            digest: 0,
            digest_exact: true,
        }
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

    /// The size of a volume file that holds just this.
    pub const fn used_bytes(&self) -> u64 {
        (SUPERBLOCK_BYTES as u64)
            .saturating_add(self.live_bytes)
            .saturating_add(self.tombstone_bytes)
    }

    /// Like [`Totals::used_bytes`], where tombstones from before `keep_from_ns` may go. While some are
    /// younger, all count as used: what a compaction would leave must not call for another.
    pub const fn needed_bytes(&self, keep_from_ns: u64) -> u64 {
        let kept = Self { tombstone_bytes: 0, ..*self };
        if self.newest_tombstone_ns < keep_from_ns { kept.used_bytes() } else { self.used_bytes() }
    }

    /// Notes a tombstone that is kept.
    pub fn add_tombstone(&mut self, header: &NeedleHeader) {
        self.tombstones += 1;
        self.tombstone_bytes = self.tombstone_bytes.saturating_add(header.record_bytes());
        self.newest_tombstone_ns = self.newest_tombstone_ns.max(header.appended_ns);
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
