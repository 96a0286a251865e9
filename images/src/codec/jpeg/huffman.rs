//! Reading Huffman-coded coefficients, two symbols for one refill of bits.
#![expect(clippy::inline_always, reason = "the bits at hand stay in registers only where inlined")]

/// Bits that one look-up sees.
const LOOK_BITS: u32 = 11;
/// A code with the bits that follow it is no longer than this in a baseline file,
/// so that two of them fit in what a refill guarantees.
const MAX_CODE_BITS: u32 = 16;
pub(super) const MAX_AC_BITS: u8 = 10;
pub(super) const MAX_DC_BITS: u8 = 11;
/// An end of block skips so far that nothing else can be meant.
pub(super) const END_OF_BLOCK: usize = 128;

/// What the next bits mean.
#[derive(Clone, Copy)]
pub(super) struct Symbol {
    /// Coefficients to skip, all of them zero.
    pub(super) run: usize,
    /// The coefficient after them.
    pub(super) value: i32,
}

/// One table of a file, made for looking up.
pub(super) struct Table {
    /// For each start of a code: value << 16 | run << 8 | bits to take, where the
    /// whole of it can be seen; else run << 8 | LONG | bits of the code, with the
    /// count of value bits above; LONG alone for a code that is longer than a look.
    look: Box<[u32; 1 << LOOK_BITS]>,
    /// For each length, one more than the last code, aligned to the left.
    ends: [u32; MAX_CODE_BITS as usize + 1],
    /// For each length, what to add to a code to get its place in `symbols`.
    offsets: [i32; MAX_CODE_BITS as usize + 1],
    symbols: [u8; 256],
    is_dc: bool,
}

const LONG: u32 = 0x80;

impl Table {
    /// `None` for a table that is no Huffman code, or of other than baseline files.
    pub(super) fn new(counts: [u8; 16], listed: &[u8], is_dc: bool) -> Option<Self> {
        let mut table = Self {
            look: Box::new([LONG; 1 << LOOK_BITS]),
            ends: [0; MAX_CODE_BITS as usize + 1],
            offsets: [0; MAX_CODE_BITS as usize + 1],
            symbols: [0; 256],
            is_dc,
        };
        table.symbols.get_mut(..listed.len())?.copy_from_slice(listed);
        let (mut code, mut place) = (0u32, 0usize);
        for (bits, count) in (1..).zip(counts) {
            let at = usize::try_from(bits).ok()?;
            *table.offsets.get_mut(at)? = i32::try_from(place).ok()? - i32::try_from(code).ok()?;
            for _ in 0..count {
                let symbol = *listed.get(place)?;
                let value_bits = if is_dc { symbol } else { symbol & 15 };
                if value_bits > if is_dc { MAX_DC_BITS } else { MAX_AC_BITS } {
                    return None;
                }
                // Zeros alone come by sixteen; by less, only in progressive files.
                if !is_dc && value_bits == 0 && !matches!(symbol, 0x00 | 0xf0) {
                    return None;
                }
                table.note(code, bits, symbol)?;
                code += 1;
                place += 1;
            }
            // No code is all ones: those fill up the last byte.
            if count > 0 && code >= 1 << bits {
                return None;
            }
            *table.ends.get_mut(at)? = code << (MAX_CODE_BITS - bits);
            code <<= 1;
        }
        Some(table)
    }

    /// Fills in all look-ups that start with this code.
    fn note(&mut self, code: u32, bits: u32, symbol: u8) -> Option<()> {
        let Some(spare) = LOOK_BITS.checked_sub(bits) else {
            return Some(());
        };
        let (run, value_bits) = self.parts(symbol);
        let run = u32::try_from(run).ok()?;
        let entries =
            self.look.get_mut((code << spare) as usize..((code + 1) << spare) as usize)?;
        for (rest, entry) in (0u32..).zip(entries) {
            *entry = match spare.checked_sub(value_bits) {
                Some(unused) => {
                    let value = extend((rest >> unused).cast_signed(), value_bits);
                    value.cast_unsigned() << 16 | run << 8 | (bits + value_bits)
                }
                None => value_bits << 16 | run << 8 | LONG | bits,
            };
        }
        Some(())
    }

    /// What a look does not show whole, and its bits. `ahead` goes by value: the
    /// caller's copy stays in a register.
    #[cold]
    fn long(&self, ahead: u64, entry: u32) -> Option<(Symbol, u32)> {
        let (run, value_bits, code_bits) = if entry == LONG {
            let (symbol, code_bits) = self.long_code(ahead)?;
            let (run, value_bits) = self.parts(symbol);
            (run, value_bits, code_bits)
        } else {
            ((entry >> 8 & 0xff) as usize, entry >> 16, entry & 0x7f)
        };
        let bits = code_bits + value_bits;
        if value_bits == 0 {
            return Some((Symbol { run, value: 0 }, bits));
        }
        let raw = i32::try_from((ahead << code_bits) >> (64 - value_bits)).ok()?;
        Some((Symbol { run, value: extend(raw, value_bits) }, bits))
    }

    /// A code that is longer than a look.
    fn long_code(&self, ahead: u64) -> Option<(u8, u32)> {
        let ahead = u32::try_from(ahead >> (64 - MAX_CODE_BITS)).ok()?;
        let bits = (LOOK_BITS..=MAX_CODE_BITS)
            .find(|bits| self.ends.get(*bits as usize).is_some_and(|end| ahead < *end))?;
        let code = i32::try_from(ahead >> (MAX_CODE_BITS - bits)).ok()?;
        let place = usize::try_from(code + self.offsets.get(bits as usize)?).ok()?;
        Some((*self.symbols.get(place)?, bits))
    }

    const fn parts(&self, symbol: u8) -> (usize, u32) {
        match symbol {
            _ if self.is_dc => (0, symbol as u32),
            0x00 => (END_OF_BLOCK, 0),
            _ => ((symbol >> 4) as usize, (symbol & 15) as u32),
        }
    }
}

/// The coefficient that these bits stand for: half of the range is negative.
const fn extend(raw: i32, bits: u32) -> i32 {
    if bits > 0 && raw < 1 << (bits - 1) { raw - (1 << bits) + 1 } else { raw }
}

/// Entropy-coded data without its stuffing. Past its end, there are zeros.
#[derive(Clone, Copy)]
pub(super) struct Bits<'a> {
    data: &'a [u8],
    at: usize,
    /// The next bits, aligned to the left.
    ahead: u64,
    count: u32,
}

impl<'a> Bits<'a> {
    pub(super) const fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0, ahead: 0, count: 0 }
    }

    /// Makes sure of 56 bits, which two symbols never exceed.
    #[inline(always)]
    pub(super) fn refill(&mut self) {
        let next = match self.data.get(self.at..).and_then(<[u8]>::first_chunk) {
            Some(bytes) => u64::from_le_bytes(*bytes).swap_bytes(),
            None => self.tail(),
        };
        self.ahead |= next >> self.count;
        self.at += ((63 - self.count) >> 3) as usize;
        self.count |= 0x38;
    }

    #[cold]
    fn tail(&self) -> u64 {
        let mut bytes = [0; 8];
        let rest = self.data.get(self.at..).unwrap_or_default();
        for (byte, last) in bytes.iter_mut().zip(rest) {
            *byte = *last;
        }
        u64::from_le_bytes(bytes).swap_bytes()
    }

    /// Whether more was read than there was.
    pub(super) fn is_overrun(&self) -> bool {
        self.at.saturating_sub(self.count as usize / 8) > self.data.len()
    }

    /// Takes one symbol. `None` for bits that are no code.
    #[inline(always)]
    pub(super) fn take(&mut self, table: &Table) -> Option<Symbol> {
        let look = (self.ahead >> (64 - LOOK_BITS)) as usize;
        let entry = table.look.get(look).copied().unwrap_or_default();
        if entry & LONG == 0 {
            self.skip(entry & 0x7f);
            let value = entry.cast_signed() >> 16;
            return Some(Symbol { run: (entry >> 8 & 0xff) as usize, value });
        }
        let (symbol, bits) = table.long(self.ahead, entry)?;
        self.skip(bits);
        Some(symbol)
    }

    #[inline(always)]
    const fn skip(&mut self, bits: u32) {
        self.ahead <<= bits;
        self.count -= bits;
    }
}
