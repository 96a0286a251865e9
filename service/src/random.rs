//! Random names.

/// `N` random bytes in hex. Names only have to tell things apart; secrets must not be made with this.
pub(crate) fn hex<const N: usize>() -> String {
    let bytes: [u8; N] = rand::random();
    let nibbles = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    let mut text = String::with_capacity(2 * N);
    text.extend(nibbles.filter_map(|nibble| char::from_digit(nibble.into(), 16)));
    text
}
