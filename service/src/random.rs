//! Random names.

/// `N` random bytes in hex. Names only have to tell things apart; secrets must not be made with this.
pub(crate) fn hex<const N: usize>() -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let bytes: [u8; N] = rand::random();
    let nibbles = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    nibbles.filter_map(|nibble| DIGITS.get(usize::from(nibble))).collect()
}
