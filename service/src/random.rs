//! Random names.

use std::fmt::Write as _;

/// `N` random bytes in hex. Names only have to tell things apart, so a system without randomness
/// is no reason to refuse service; secrets must not be made with this.
pub(crate) fn hex<const N: usize>() -> String {
    let mut bytes = [0_u8; N];
    let _ = getrandom::fill(&mut bytes);
    bytes.iter().fold(String::with_capacity(N * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
