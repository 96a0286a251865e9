//! The tables of an image file: which items there are, what they are, where their
//! bytes lie and what refers to what.

use std::borrow::Cow;

use super::boxes::{Boxes, Fields};
use crate::probe::ProbeError;

const ALPHA: [&[u8]; 2] =
    [b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0", b"urn:mpeg:hevc:2015:auxid:1\0"];
/// Items that are looked at to find the alpha: depth and gain maps come beside it.
const MAX_AUXILIARIES: usize = 16;
/// Properties that can be referred to.
const MAX_PROPERTIES: usize = 0x7fff;

/// The tables, still as they stand in the file.
pub(super) struct Meta<'a> {
    file: &'a [u8],
    pub(super) primary: u32,
    infos: &'a [u8],
    locations: &'a [u8],
    properties: &'a [u8],
    references: &'a [u8],
    data: &'a [u8],
}

/// Something that is true of an item.
pub(super) struct Property<'a> {
    pub(super) kind: [u8; 4],
    pub(super) body: &'a [u8],
    /// Whether who does not know it may not show the item.
    pub(super) is_essential: bool,
}

impl Property<'_> {
    pub(super) fn is_known(&self) -> bool {
        matches!(
            &self.kind,
            b"ispe" | b"av1C" | b"colr" | b"irot" | b"imir" | b"pixi" | b"auxC" | b"pasp"
        )
    }
}

impl<'a> Meta<'a> {
    pub(super) fn read(file: &'a [u8]) -> Result<Self, ProbeError> {
        let none = if file.get(8..12) == Some(b"avis") {
            ProbeError::Unsupported("AVIF without a still picture")
        } else {
            ProbeError::Broken("it has no table of its items")
        };
        // A full box, whose head is four bytes.
        let meta = Boxes(file).first(*b"meta").and_then(|body| body.get(4..)).ok_or(none)?;
        let table = |kind| Boxes(meta).first(kind).unwrap_or_default();
        Ok(Self {
            file,
            primary: primary(table(*b"pitm")).ok_or(ProbeError::Broken("it has no picture"))?,
            infos: table(*b"iinf"),
            locations: table(*b"iloc"),
            properties: table(*b"iprp"),
            references: table(*b"iref"),
            data: table(*b"idat"),
        })
    }

    /// What an item is.
    pub(super) fn kind(&self, item: u32) -> Option<[u8; 4]> {
        let mut fields = Fields(self.infos);
        let (version, _) = fields.version()?;
        fields.skip(if version == 0 { 2 } else { 4 })?;
        Boxes(fields.0).filter(|part| &part.0 == b"infe").find_map(|(_, body)| {
            let mut fields = Fields(body);
            let (version, _) = fields.version()?;
            let id = fields.uint(if version < 3 { 2 } else { 4 })?;
            fields.skip(2)?;
            (id == u64::from(item)).then(|| fields.take(4)?.try_into().ok()).flatten()
        })
    }

    /// The bytes of an item, put together where they lie apart.
    pub(super) fn bytes(&self, item: u32) -> Result<Cow<'a, [u8]>, ProbeError> {
        let location = self.location(item).ok_or(ProbeError::Broken("its picture is nowhere"))?;
        let within = match location.method {
            0 => self.file,
            1 => self.data,
            _ => return Err(ProbeError::Unsupported("AVIF of derived bytes")),
        };
        location.bytes(within).ok_or(ProbeError::Broken("it is cut short"))
    }

    fn location(&self, item: u32) -> Option<Location<'a>> {
        let mut fields = Fields(self.locations);
        let (version, _) = fields.version()?;
        let sizes = usize::try_from(fields.uint(2)?).ok()?;
        let size = |at: usize| sizes >> (12 - 4 * at) & 0xf;
        let index = if version == 0 { 0 } else { size(3) };
        let wide = if version < 2 { 2 } else { 4 };
        for _ in 0..fields.uint(wide)? {
            let id = fields.uint(wide)?;
            let method = if version == 0 { 0 } else { fields.uint(2)? & 0xf };
            fields.skip(2)?;
            let base = fields.uint(size(2))?;
            let count = usize::try_from(fields.uint(2)?).ok()?;
            let (offset, length) = (size(0), size(1));
            let extents = fields.take(count * (index + offset + length))?;
            if id == u64::from(item) {
                return Some(Location {
                    method,
                    base,
                    count,
                    extents,
                    sizes: [index, offset, length],
                });
            }
        }
        None
    }

    /// What is true of an item, in the order in which it says so.
    pub(super) fn properties(&self, item: u32) -> Vec<Property<'a>> {
        let all = Boxes(self.properties).first(*b"ipco").unwrap_or_default();
        let tables = Boxes(self.properties).filter(|part| &part.0 == b"ipma");
        let list = tables.into_iter().find_map(|(_, body)| associations(body, item));
        let numbers = list.unwrap_or_default();
        let property = |(number, is_essential): (usize, bool)| {
            let (kind, body) = Boxes(all).take(MAX_PROPERTIES).nth(number.checked_sub(1)?)?;
            Some(Property { kind, body, is_essential })
        };
        numbers.into_iter().filter_map(property).collect()
    }

    /// The item that is the alpha of the picture.
    pub(super) fn alpha(&self) -> Option<u32> {
        let picture = u64::from(self.primary);
        let mut auxiliaries = self
            .references(*b"auxl")
            .filter(|(_, to)| to.clone().any(|to| to == picture))
            .take(MAX_AUXILIARIES)
            .filter_map(|(from, _)| u32::try_from(from).ok());
        auxiliaries.find(|item| {
            self.properties(*item).iter().any(|property| {
                let kind = property.body.get(4..).unwrap_or_default();
                &property.kind == b"auxC" && ALPHA.iter().any(|alpha| kind.starts_with(alpha))
            })
        })
    }

    /// Whether the picture was multiplied by this alpha.
    pub(super) fn is_premultiplied(&self, alpha: u32) -> bool {
        self.references(*b"prem").any(|(from, mut to)| {
            from == u64::from(self.primary) && to.any(|to| to == u64::from(alpha))
        })
    }

    /// References of one kind: from which item, and to which.
    fn references(
        &self,
        kind: [u8; 4],
    ) -> impl Iterator<Item = (u64, impl Iterator<Item = u64> + Clone + use<'a>)> + use<'a> {
        let mut fields = Fields(self.references);
        let wide = match fields.version() {
            Some((0, _)) => 2,
            _ => 4,
        };
        Boxes(fields.0).filter(move |part| part.0 == kind).filter_map(move |(_, body)| {
            let mut fields = Fields(body);
            let from = fields.uint(wide)?;
            fields.skip(2)?;
            let to = fields.0.chunks_exact(wide).filter_map(move |id| Fields(id).uint(wide));
            Some((from, to))
        })
    }
}

fn primary(body: &[u8]) -> Option<u32> {
    let mut fields = Fields(body);
    let (version, _) = fields.version()?;
    u32::try_from(fields.uint(if version == 0 { 2 } else { 4 })?).ok()
}

/// The numbers of an item's properties, from 1, and whether each is essential.
fn associations(body: &[u8], item: u32) -> Option<Vec<(usize, bool)>> {
    let mut fields = Fields(body);
    let (version, flags) = fields.version()?;
    let wide = if flags & 1 == 1 { 2 } else { 1 };
    for _ in 0..fields.uint(4)? {
        let id = fields.uint(if version == 0 { 2 } else { 4 })?;
        let count = usize::try_from(fields.uint(1)?).ok()?;
        let list = fields.take(count * wide)?;
        if id == u64::from(item) {
            let essential = 1 << (8 * wide - 1);
            let entry = |entry| {
                let number = Fields(entry).uint(wide)?;
                Some((usize::try_from(number & !essential).ok()?, number & essential != 0))
            };
            return Some(list.chunks_exact(wide).filter_map(entry).collect());
        }
    }
    None
}

/// Where the bytes of an item lie.
struct Location<'a> {
    method: u64,
    base: u64,
    count: usize,
    extents: &'a [u8],
    /// Bytes of an extent's index, offset and length.
    sizes: [usize; 3],
}

impl Location<'_> {
    /// `None` where they are not all there, or are more than all.
    fn bytes<'b>(&self, within: &'b [u8]) -> Option<Cow<'b, [u8]>> {
        let mut fields = Fields(self.extents);
        if self.count == 1 {
            return self.extent(&mut fields, within).map(Cow::Borrowed);
        }
        let mut bytes = Vec::new();
        for _ in 0..self.count {
            bytes.extend_from_slice(self.extent(&mut fields, within)?);
            if bytes.len() > within.len() {
                return None;
            }
        }
        Some(bytes.into())
    }

    fn extent<'b>(&self, fields: &mut Fields<'_>, within: &'b [u8]) -> Option<&'b [u8]> {
        let [index, offset, length] = self.sizes;
        fields.skip(index)?;
        let start = usize::try_from(self.base.checked_add(fields.uint(offset)?)?).ok()?;
        match usize::try_from(fields.uint(length)?).ok()? {
            // To the end.
            0 => within.get(start..),
            length => within.get(start..start.checked_add(length)?),
        }
    }
}
