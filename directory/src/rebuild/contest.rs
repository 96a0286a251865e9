//! Which of the uploads of one name is its row: pure, and told by the needles alone.
//!
//! - An upload is whole if its last chunk, which says how many there are, and all before it
//!   are there. An object of one needle is a chunk of its own.
//! - A removal hides all uploads whose version is not above its own.
//! - Of the whole ones that are left, the highest version wins. Every upload that was
//!   committed had a version above all that the name had seen.

use std::collections::BTreeMap;

use crate::names::{NeedleRef, NeedleRefs, Row};
use crate::version_ms;

/// One live needle of an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) needle: NeedleRef,
    /// Its place in the object.
    pub(super) index: u32,
    /// How many chunks the object has; 0 if this is not the last one.
    pub(super) count: u32,
    pub(super) version: u64,
    /// Only of the first chunk.
    pub(super) content_type: String,
    pub(super) user: Vec<(String, String)>,
}

/// What is alive of one upload.
pub(super) type Upload = Vec<Piece>;

/// What becomes of a name.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Its row.
    pub(super) row: Option<Row>,
    /// Needles of whole uploads that a higher version has replaced, and how many uploads.
    pub(super) superseded: Losers,
    /// Needles of uploads that a removal hides.
    pub(super) removed: Losers,
    /// Needles of uploads that are not whole.
    pub(super) incomplete: Losers,
    /// Needles stored twice, because an answer got lost.
    pub(super) spare: Losers,
}

/// Uploads that are not the name's row.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Losers {
    pub(super) uploads: u64,
    pub(super) needles: Vec<NeedleRef>,
}

impl Losers {
    fn add(&mut self, needles: impl IntoIterator<Item = NeedleRef>) {
        self.uploads += 1;
        self.needles.extend(needles);
    }
}

/// Decides on a name. `removed` is the version of its last removal.
pub(super) fn decide(removed: Option<u64>, uploads: impl IntoIterator<Item = Upload>) -> Verdict {
    let mut verdict = Verdict::default();
    for upload in uploads {
        let version = upload.iter().map(|piece| piece.version).max().unwrap_or_default();
        if removed.is_some_and(|removed| version <= removed) {
            verdict.removed.add(upload.into_iter().map(|piece| piece.needle));
            continue;
        }
        match assemble(upload) {
            Err(pieces) => verdict.incomplete.add(pieces.into_iter().map(|piece| piece.needle)),
            Ok((row, spare)) => {
                if !spare.is_empty() {
                    verdict.spare.add(spare);
                }
                verdict.enter(row);
            }
        }
    }
    verdict
}

impl Verdict {
    fn enter(&mut self, row: Row) {
        let higher = self.row.as_ref().is_none_or(|best| best.version < row.version);
        let loser = if higher { self.row.replace(row) } else { Some(row) };
        if let Some(loser) = loser {
            self.superseded.add(loser.needles);
        }
    }
}

/// The row of a whole upload and its needles that are too many, or the pieces of one that is
/// not whole.
fn assemble(upload: Upload) -> Result<(Row, Vec<NeedleRef>), Upload> {
    let count = upload.iter().map(|piece| piece.count).max().unwrap_or_default();
    let mut chunks: BTreeMap<u32, &Piece> = BTreeMap::new();
    let mut spare = Vec::new();
    for piece in &upload {
        if piece.index >= count || chunks.contains_key(&piece.index) {
            spare.push(piece.needle);
        } else {
            chunks.insert(piece.index, piece);
        }
    }
    let whole = count > 0 && usize::try_from(count).is_ok_and(|count| chunks.len() == count);
    let Some((_, first)) = chunks.first_key_value().filter(|_| whole) else { return Err(upload) };
    let version = chunks.values().map(|piece| piece.version).max().unwrap_or_default();
    let needles: NeedleRefs = chunks.values().map(|piece| piece.needle).collect();
    let row = Row {
        version,
        size_bytes: needles.iter().map(|needle| u64::from(needle.size_bytes)).sum(),
        content_type: first.content_type.as_str().into(),
        user: first.user.clone(),
        modified_ms: version_ms(version),
        needles,
    };
    Ok((row, spare))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A piece whose needle's key is the number.
    fn piece(key: u64, version: u64, index: u32, count: u32) -> Piece {
        let id = format!("1,{key},7").parse().unwrap();
        let needle = NeedleRef { id, size_bytes: 10 };
        Piece { needle, index, count, version, content_type: String::new(), user: Vec::new() }
    }

    fn keys(needles: &[NeedleRef]) -> Vec<u64> {
        needles.iter().map(|needle| needle.id.key.get()).collect()
    }

    fn won(verdict: &Verdict) -> Option<(u64, Vec<u64>)> {
        verdict.row.as_ref().map(|row| (row.version, keys(&row.needles)))
    }

    #[test]
    fn the_highest_whole_version_wins() {
        let uploads = [
            vec![piece(1, 5, 0, 1)],
            vec![piece(2, 9, 0, 0), piece(3, 9, 1, 2)],
            vec![piece(4, 7, 0, 1)],
            vec![piece(5, 11, 0, 0), piece(6, 11, 1, 0)],
            vec![piece(7, 12, 1, 2)],
        ];
        let verdict = decide(None, uploads);
        assert_eq!(won(&verdict), Some((9, vec![2, 3])));
        assert_eq!(
            (verdict.superseded.uploads, keys(&verdict.superseded.needles)),
            (2, vec![1, 4])
        );
        assert_eq!(verdict.row.unwrap().size_bytes, 20);
        assert_eq!(keys(&verdict.incomplete.needles), [5, 6, 7]);
        assert_eq!(verdict.removed, Losers::default());
    }

    #[test]
    fn a_removal_hides_what_is_not_above_it() {
        let uploads = || [vec![piece(1, 5, 0, 1)], vec![piece(2, 6, 0, 1)]];
        assert_eq!(won(&decide(Some(6), uploads())), None);
        assert_eq!(keys(&decide(Some(6), uploads()).removed.needles), [1, 2]);
        assert_eq!(won(&decide(Some(5), uploads())), Some((6, vec![2])));
    }

    #[test]
    fn a_later_chunk_raises_the_version_of_all() {
        let raised = vec![piece(1, 5, 0, 1), piece(2, 8, 1, 2)];
        let verdict = decide(Some(7), [raised, vec![piece(3, 6, 0, 1)]]);
        assert_eq!(won(&verdict), Some((8, vec![1, 2])));
        assert_eq!(keys(&verdict.removed.needles), [3]);
        assert_eq!(won(&decide(None, [vec![piece(2, 8, 1, 2)]])), None, "its data is gone");
    }

    #[test]
    fn a_chunk_stored_twice_counts_once() {
        let verdict = decide(None, [vec![piece(1, 5, 0, 0), piece(2, 5, 0, 0), piece(3, 5, 1, 2)]]);
        assert_eq!(won(&verdict), Some((5, vec![1, 3])));
        assert_eq!(keys(&verdict.spare.needles), [2]);
    }
}
