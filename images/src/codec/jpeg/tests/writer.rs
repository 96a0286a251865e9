//! A writer of sequential files whose components are sampled as they are told to be.
//! Its tables are the plainest there are: all codes have the same length.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// What is written beside the picture itself.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    pub(super) width: usize,
    pub(super) height: usize,
    /// Blocks across and down of each component.
    pub(super) sampling: Vec<(usize, usize)>,
    /// Groups between two restarts, or 0.
    pub(super) restart: usize,
    /// What all coefficients are divided by.
    pub(super) step: u8,
}

impl Writer {
    /// The file. `value` gives a component's value, 0 to 255, at a place in pixels. Beyond
    /// the edges, it is the last one within, as encoders do.
    pub(super) fn write(&self, value: impl Fn(usize, f64, f64) -> f64) -> Vec<u8> {
        let mut file = self.header();
        let most = |side: fn(&(usize, usize)) -> usize| self.sampling.iter().map(side).max();
        let (across, down) = (most(|s| s.0).unwrap(), most(|s| s.1).unwrap());
        // The blocks of a single component come one by one.
        let alone = self.sampling.len() == 1;
        let unit = if alone { (1, 1) } else { (across, down) };
        let groups = (self.width.div_ceil(8 * unit.0), self.height.div_ceil(8 * unit.1));
        let mut bits = Bits::default();
        let mut last = vec![0; self.sampling.len()];
        for group in 0..groups.0 * groups.1 {
            if self.restart > 0 && group > 0 && group % self.restart == 0 {
                bits.pad();
                bits.bytes.extend([0xff, 0xd0 + (group / self.restart - 1) as u8 % 8]);
                last.fill(0);
            }
            for (component, last) in last.iter_mut().enumerate() {
                let own = if alone { (1, 1) } else { self.sampling[component] };
                let scale = (unit.0 as f64 / own.0 as f64, unit.1 as f64 / own.1 as f64);
                for block in 0..own.0 * own.1 {
                    let left = (group % groups.0 * own.0 + block % own.0) * 8;
                    let top = (group / groups.0 * own.1 + block / own.0) * 8;
                    let place = |at: usize, scale: f64, side: usize| {
                        ((at as f64 + 0.5) * scale).min(side as f64 - 0.5)
                    };
                    let sample = |x: usize, y: usize| {
                        let x = place(left + x, scale.0, self.width);
                        let y = place(top + y, scale.1, self.height);
                        value(component, x, y) - 128.0
                    };
                    let coefficients = transformed(sample, f64::from(self.step));
                    *last = bits.block(&coefficients, *last);
                }
            }
        }
        bits.pad();
        file.extend(bits.bytes);
        file.extend([0xff, 0xd9]);
        file
    }

    fn header(&self) -> Vec<u8> {
        let mut file = vec![0xff, 0xd8];
        let mut segment = |marker: u8, body: &[u8]| {
            let length = (body.len() + 2) as u16;
            file.extend([0xff, marker, (length >> 8) as u8, length as u8]);
            file.extend(body);
        };
        segment(0xdb, &[&[0][..], &[self.step; 64]].concat());
        let side = |side: usize| [(side >> 8) as u8, side as u8];
        let count = self.sampling.len() as u8;
        let mut frame = [&[8][..], &side(self.height), &side(self.width), &[count]].concat();
        let mut scan = vec![count];
        for (id, (across, down)) in (1u8..).zip(&self.sampling) {
            frame.extend([id, (across << 4 | down) as u8, 0]);
            scan.extend([id, 0]);
        }
        scan.extend([0, 63, 0]);
        segment(0xc0, &frame);
        segment(0xc4, &table(0x00, DC_BITS, &dc_symbols()));
        segment(0xc4, &table(0x10, AC_BITS, &ac_symbols()));
        if self.restart > 0 {
            segment(0xdd, &side(self.restart));
        }
        segment(0xda, &scan);
        file
    }
}

const DC_BITS: usize = 4;
const AC_BITS: usize = 8;

fn dc_symbols() -> Vec<u8> {
    (0..12).collect()
}

fn ac_symbols() -> Vec<u8> {
    let others = (0..16).flat_map(|run| (1..=10).map(move |bits| run << 4 | bits));
    [0x00, 0xf0].into_iter().chain(others).collect()
}

fn table(place: u8, bits: usize, symbols: &[u8]) -> Vec<u8> {
    let mut body = vec![0; 17];
    body[0] = place;
    body[bits] = symbols.len() as u8;
    body.extend(symbols);
    body
}

/// The coefficients of a block in the order of the file.
fn transformed(sample: impl Fn(usize, usize) -> f64, step: f64) -> [i32; 64] {
    let cosine = |x: usize, u: usize| ((2 * x + 1) as f64 * u as f64 * PI / 16.0).cos();
    let norm = |u: usize| if u == 0 { FRAC_1_SQRT_2 / 2.0 } else { 0.5 };
    let mut rows = [[0.0; 8]; 8];
    for (y, row) in rows.iter_mut().enumerate() {
        let samples: [f64; 8] = std::array::from_fn(|x| sample(x, y));
        for (u, sum) in row.iter_mut().enumerate() {
            *sum = (0..8).map(|x| samples[x] * cosine(x, u)).sum::<f64>() * norm(u);
        }
    }
    let mut order: Vec<(usize, usize)> = (0..8).flat_map(|v| (0..8).map(move |u| (u, v))).collect();
    // Diagonal by diagonal, every other one upwards.
    order.sort_by_key(|(u, v)| (u + v, if (u + v) % 2 == 0 { *u } else { *v }));
    let mut coefficients = [0; 64];
    for (coefficient, (u, v)) in coefficients.iter_mut().zip(order) {
        let sum: f64 = (0..8).map(|y| rows[y][u] * cosine(y, v)).sum();
        *coefficient = (sum * norm(v) / step).round() as i32;
    }
    coefficients
}

#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    held: u32,
    count: usize,
}

impl Bits {
    fn push(&mut self, value: u32, count: usize) {
        for bit in (0..count).rev() {
            self.held = self.held << 1 | (value >> bit & 1);
            self.count += 1;
            if self.count == 8 {
                self.bytes.push(self.held as u8);
                if self.held as u8 == 0xff {
                    self.bytes.push(0);
                }
                (self.held, self.count) = (0, 0);
            }
        }
    }

    fn pad(&mut self) {
        while self.count > 0 {
            self.push(1, 1);
        }
    }

    /// Writes a block; gives its DC.
    fn block(&mut self, coefficients: &[i32; 64], last: i32) -> i32 {
        let value_bits = |value: i32| 32 - value.unsigned_abs().leading_zeros();
        let raw = |value: i32| if value < 0 { value - 1 } else { value }.cast_unsigned();
        let dc = coefficients[0];
        let bits = value_bits(dc - last);
        self.push(bits, DC_BITS);
        self.push(raw(dc - last), bits as usize);
        let symbols = ac_symbols();
        let code = |run: u32, bits: u32| {
            symbols.iter().position(|symbol| u32::from(*symbol) == run << 4 | bits).unwrap() as u32
        };
        let mut run = 0;
        for value in &coefficients[1..] {
            if *value == 0 {
                run += 1;
                continue;
            }
            while run > 15 {
                let code = code(15, 0);
                self.push(code, AC_BITS);
                run -= 16;
            }
            let bits = value_bits(*value);
            let code = code(run, bits);
            self.push(code, AC_BITS);
            self.push(raw(*value), bits as usize);
            run = 0;
        }
        if run > 0 {
            let code = code(0, 0);
            self.push(code, AC_BITS);
        }
        dc
    }
}
