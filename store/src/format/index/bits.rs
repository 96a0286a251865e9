//! Rows of bits: bit 0 is the lowest one of the first byte. Behind its end a row is zero.

const WORD_BITS: usize = 64;

/// The `width` bits at `at`, of which there may be 64.
pub fn get(row: &[u8], at: usize, width: u32) -> u64 {
    let from = row.get(at / 8..).unwrap_or_default();
    let window = match from.first_chunk::<16>() {
        Some(bytes) => u128::from_le_bytes(*bytes),
        None => from.iter().rev().fold(0, |window, byte| window << 8 | u128::from(*byte)),
    };
    #[expect(clippy::cast_possible_truncation, reason = "at most 64 bits are asked for")]
    let bits = (window >> (at % 8)) as u64;
    bits & mask(width)
}

/// Puts the `width` lowest bits of `value` at `at`, where the row is zero.
pub fn put(row: &mut [u8], at: usize, width: u32, value: u64) {
    let window = u128::from(value & mask(width)) << (at % 8);
    let touched = (at % 8 + width as usize).div_ceil(8);
    let bytes = row.iter_mut().skip(at / 8).take(touched);
    bytes.zip(window.to_le_bytes()).for_each(|(byte, bits)| *byte |= bits);
}

/// The `width` lowest bits, of which there may be 64.
pub fn mask(width: u32) -> u64 {
    u64::MAX.checked_shr(u64::BITS.saturating_sub(width)).unwrap_or(0)
}

/// How many bits `value` takes; 0 takes none.
pub fn width(value: u64) -> u32 {
    u64::BITS - value.leading_zeros()
}

/// Where the zero is that has `number` others before it, in a row of whole words.
pub fn nth_zero(row: &[u8], number: usize) -> Option<usize> {
    let mut left = number;
    for (at, word) in words(row).enumerate() {
        let zeros = word.count_zeros() as usize;
        if left < zeros {
            return Some(at * WORD_BITS + nth_one_of_word(!word, left));
        }
        left -= zeros;
    }
    None
}

/// How many zeros a row of whole words has.
pub fn count_zeros(row: &[u8]) -> usize {
    words(row).map(|word| word.count_zeros() as usize).sum()
}

/// How many ones follow each other from `at` on.
pub fn run_of_ones(row: &[u8], at: usize) -> usize {
    let mut run = 0;
    loop {
        let ones = get(row, at + run, u64::BITS).trailing_ones() as usize;
        run += ones;
        if ones < WORD_BITS {
            return run;
        }
    }
}

/// Where the ones are in a row of whole words.
pub fn ones(row: &[u8]) -> impl Iterator<Item = usize> {
    words(row).enumerate().flat_map(|(at, word)| {
        std::iter::successors(Some(word), |left| Some(left & left.wrapping_sub(1)))
            .take_while(|left| *left != 0)
            .map(move |left| at * WORD_BITS + left.trailing_zeros() as usize)
    })
}

/// How many ones a row of whole words has.
pub fn count_ones(row: &[u8]) -> usize {
    words(row).map(|word| word.count_ones() as usize).sum()
}

/// Where the last one is in a row of whole words.
pub fn last_one(row: &[u8]) -> Option<usize> {
    let (at, word) = words(row).enumerate().filter(|(_, word)| *word != 0).last()?;
    Some(at * WORD_BITS + word.ilog2() as usize)
}

fn words(row: &[u8]) -> impl Iterator<Item = u64> {
    row.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word))
}

/// First the byte with it, then the bit.
fn nth_one_of_word(word: u64, number: usize) -> usize {
    let (mut left, mut at) = (number, 0);
    for byte in word.to_le_bytes() {
        let ones = byte.count_ones() as usize;
        if left < ones {
            break;
        }
        left -= ones;
        at += 8;
    }
    let rest = (0..left).fold(word >> at, |rest, _| rest & rest.wrapping_sub(1));
    at + rest.trailing_zeros() as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row_of(bits: &[bool]) -> Vec<u8> {
        let mut row = vec![0; bits.len().div_ceil(WORD_BITS) * 8];
        bits.iter().enumerate().for_each(|(at, bit)| put(&mut row, at, 1, u64::from(*bit)));
        row
    }

    proptest! {
        #[test]
        fn fields_of_any_width_come_back(
            fields in proptest::collection::vec((any::<u64>(), 0..=64_u32), 0..50),
        ) {
            let bits: usize = fields.iter().map(|(_, width)| *width as usize).sum();
            let mut row = vec![0; bits.div_ceil(8)];
            let mut at = 0;
            for (value, width) in &fields {
                put(&mut row, at, *width, *value);
                at += *width as usize;
            }
            let mut at = 0;
            for (value, width) in fields {
                prop_assert_eq!(get(&row, at, width), value & mask(width));
                at += width as usize;
            }
            prop_assert_eq!(get(&row, row.len() * 8, 64), 0);
        }

        #[test]
        fn ones_and_zeros_are_found_where_they_are(
            bits in proptest::collection::vec(proptest::bool::weighted(0.7), 0..500),
        ) {
            let row = row_of(&bits);
            let places = |wanted| {
                let bits = bits.iter().enumerate();
                bits.filter(move |(_, bit)| **bit == wanted).map(|(at, _)| at)
            };
            prop_assert_eq!(ones(&row).collect::<Vec<_>>(), places(true).collect::<Vec<_>>());
            prop_assert_eq!(count_ones(&row), places(true).count());
            prop_assert_eq!(count_zeros(&row), row.len() * 8 - places(true).count());
            prop_assert_eq!(last_one(&row), places(true).next_back());
            for (number, at) in places(false).enumerate() {
                prop_assert_eq!(nth_zero(&row, number), Some(at));
            }
            prop_assert_eq!(nth_zero(&row, row.len() * 8 - places(true).count()), None);
            for at in 0..bits.len() {
                let run = bits[at..].iter().take_while(|bit| **bit).count();
                prop_assert_eq!(run_of_ones(&row, at), run);
            }
        }
    }

    #[test]
    fn widths_and_masks_belong_together() {
        assert_eq!([0, 1, 2, 255, 256, u64::MAX].map(width), [0, 1, 2, 8, 9, 64]);
        assert_eq!([0, 1, 63, 64].map(mask), [0, 1, u64::MAX >> 1, u64::MAX]);
    }
}
