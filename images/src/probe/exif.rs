//! The one EXIF tag that matters here.

use super::bytes::Order;
use crate::orientation::Orientation;

const ORIENTATION_TAG: u16 = 0x0112;
const SHORT: u16 = 3;
const ENTRY_BYTES: usize = 12;

/// The orientation of a TIFF structure as EXIF embeds it. What is missing,
/// broken or out of range counts as upright, as in every viewer.
pub(super) fn orientation(tiff: &[u8]) -> Orientation {
    tag(tiff).and_then(Orientation::from_exif).unwrap_or_default()
}

/// Reads the first directory only; the second one describes the thumbnail.
fn tag(tiff: &[u8]) -> Option<u16> {
    let order = match tiff.get(..4)? {
        b"II*\0" => Order::Little,
        b"MM\0*" => Order::Big,
        _ => return None,
    };
    let directory = tiff.get(usize::try_from(order.u32(tiff, 4)?).ok()?..)?;
    let entries = usize::from(order.u16(directory, 0)?);
    directory
        .get(2..)?
        .chunks_exact(ENTRY_BYTES)
        .take(entries)
        .find(|entry| order.u16(entry, 0) == Some(ORIENTATION_TAG))
        .filter(|entry| order.u16(entry, 2) == Some(SHORT))
        .and_then(|entry| order.u16(entry, 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiff(little: bool, tag: u16, kind: u16, value: u16) -> Vec<u8> {
        let two = |n: u16| if little { n.to_le_bytes() } else { n.swap_bytes().to_le_bytes() };
        let four = |n: u32| if little { n.to_le_bytes() } else { n.swap_bytes().to_le_bytes() };
        let mut bytes = if little { b"II*\0".to_vec() } else { b"MM\0*".to_vec() };
        bytes.extend(four(8));
        bytes.extend(two(1));
        bytes.extend(two(tag));
        bytes.extend(two(kind));
        bytes.extend(four(1));
        bytes.extend(two(value));
        bytes.extend([0; 6]);
        bytes
    }

    #[test]
    fn both_byte_orders_are_read() {
        for little in [true, false] {
            assert_eq!(orientation(&tiff(little, 0x0112, 3, 6)), Orientation::TurnRight);
        }
    }

    #[test]
    fn what_makes_no_sense_is_upright() {
        assert_eq!(orientation(&tiff(true, 0x0112, 3, 9)), Orientation::Upright);
        assert_eq!(orientation(&tiff(true, 0x0112, 2, 6)), Orientation::Upright);
        assert_eq!(orientation(&tiff(true, 0x0113, 3, 6)), Orientation::Upright);
        let whole = tiff(false, 0x0112, 3, 6);
        for end in 0..18 {
            assert_eq!(orientation(&whole[..end]), Orientation::Upright, "{end} bytes");
        }
        let mut far = whole;
        far[4..8].fill(0xff);
        assert_eq!(orientation(&far), Orientation::Upright);
    }
}
