//! AVIF files of every kind, coded by rav1e and put into boxes here.

use rav1e::prelude::{
    ChromaSampling, ColorDescription, ColorPrimaries, Context, EncoderConfig, MatrixCoefficients,
    Pixel, PixelRange, SpeedSettings, TransferCharacteristics,
};

use crate::tests::orientations::{HEIGHT, WIDTH, upright as corner};

#[expect(clippy::cast_sign_loss, reason = "samples are not negative")]
fn whole(sample: f64) -> u16 {
    sample.round() as u16
}

/// How a picture is coded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Coding {
    pub(super) bits: u8,
    pub(super) chroma: ChromaSampling,
    pub(super) matrix: MatrixCoefficients,
    pub(super) is_full: bool,
}

pub(super) const PLAIN: Coding = Coding {
    bits: 8,
    chroma: ChromaSampling::Cs444,
    matrix: MatrixCoefficients::BT601,
    is_full: true,
};
pub(super) const ALPHA: Coding = Coding { chroma: ChromaSampling::Cs400, ..PLAIN };

impl Coding {
    fn is_gray(self) -> bool {
        self.chroma == ChromaSampling::Cs400
    }

    /// The samples of a colour, by the equations of H.273.
    pub(super) fn samples(self, color: [u8; 3]) -> [u16; 3] {
        let [r, g, b] = color.map(|channel| f64::from(channel) / 255.0);
        let unit = f64::from(1u16 << (self.bits - 8));
        let top = 256.0 * unit - 1.0;
        let light = |v: f64| if self.is_full { v * top } else { (219.0 * v + 16.0) * unit };
        let chroma =
            |v: f64| if self.is_full { v * top + 128.0 * unit } else { (224.0 * v + 128.0) * unit };
        let (red, blue) = match self.matrix {
            MatrixCoefficients::Identity => return [g, b, r].map(|v| whole(light(v))),
            MatrixCoefficients::BT709 => (0.2126, 0.0722),
            MatrixCoefficients::BT2020NCL => (0.2627, 0.0593),
            _ => (0.299, 0.114),
        };
        let y = red * r + (1.0 - red - blue) * g + blue * b;
        let (cb, cr) = (0.5 * (b - y) / (1.0 - blue), 0.5 * (r - y) / (1.0 - red));
        [light(y), chroma(cb), chroma(cr)].map(|v| whole(v.clamp(0.0, top)))
    }

    pub(super) fn encode(
        self,
        width: u32,
        height: u32,
        pixel: impl Fn(u32, u32) -> [u8; 3],
    ) -> Vec<u8> {
        if self.bits == 8 {
            self.encode_as::<u8>(width, height, pixel)
        } else {
            self.encode_as::<u16>(width, height, pixel)
        }
    }

    fn encode_as<T: Pixel>(
        self,
        width: u32,
        height: u32,
        pixel: impl Fn(u32, u32) -> [u8; 3],
    ) -> Vec<u8> {
        let encoder = EncoderConfig {
            width: width as usize,
            height: height as usize,
            bit_depth: self.bits.into(),
            chroma_sampling: self.chroma,
            pixel_range: if self.is_full { PixelRange::Full } else { PixelRange::Limited },
            color_description: Some(ColorDescription {
                color_primaries: ColorPrimaries::BT709,
                transfer_characteristics: TransferCharacteristics::SRGB,
                matrix_coefficients: self.matrix,
            }),
            still_picture: true,
            quantizer: 10,
            min_quantizer: 10,
            speed_settings: SpeedSettings::from_preset(10),
            ..EncoderConfig::default()
        };
        let config = rav1e::Config::new().with_encoder_config(encoder).with_threads(1);
        let mut context: Context<T> = config.new_context().unwrap();
        let mut frame = context.new_frame();
        let planes = if self.is_gray() { 1 } else { 3 };
        for (number, plane) in frame.planes.iter_mut().enumerate().take(planes) {
            let (across, down) = (plane.cfg.xdec, plane.cfg.ydec);
            let stride = plane.cfg.stride;
            let rows = plane.data_origin_mut().chunks_mut(stride);
            for (y, row) in rows.enumerate().take((height as usize).div_ceil(1 << down)) {
                for (x, sample) in
                    row.iter_mut().enumerate().take((width as usize).div_ceil(1 << across))
                {
                    let color = pixel((x << across) as u32, (y << down) as u32);
                    *sample = T::cast_from(self.samples(color)[number]);
                }
            }
        }
        context.send_frame(frame).unwrap();
        context.flush();
        let mut coded = Vec::new();
        loop {
            match context.receive_packet() {
                Ok(packet) => coded.extend(packet.data),
                Err(rav1e::EncoderStatus::Encoded) => {}
                Err(_) => return coded,
            }
        }
    }

    fn av1c(self) -> Vec<u8> {
        let (across, down) = match self.chroma {
            ChromaSampling::Cs400 | ChromaSampling::Cs420 => (8, 4),
            ChromaSampling::Cs422 => (8, 0),
            ChromaSampling::Cs444 => (0, 0),
        };
        let bits = match self.bits {
            8 => 0,
            10 => 0x40,
            _ => 0x60,
        };
        let gray = if self.is_gray() { 0x10 } else { 0 };
        part(*b"av1C", &[&[0x81, 0, bits | gray | across | down, 0]])
    }
}

fn be32(number: usize) -> [u8; 4] {
    u32::try_from(number).unwrap().swap_bytes().to_le_bytes()
}

pub(super) fn be16(number: usize) -> [u8; 2] {
    u16::try_from(number).unwrap().swap_bytes().to_le_bytes()
}

fn part(kind: [u8; 4], body: &[&[u8]]) -> Vec<u8> {
    let body = body.concat();
    [&be32(body.len() + 8)[..], &kind, &body].concat()
}

/// A file as others may write it.
pub(super) struct File {
    pub(super) size: (u32, u32),
    pub(super) kind: [u8; 4],
    pub(super) coding: Coding,
    pub(super) color: Vec<u8>,
    /// Of the colour picture, each essential or not.
    properties: Vec<(Vec<u8>, bool)>,
    pub(super) alpha: Option<Vec<u8>>,
    pub(super) is_premultiplied: bool,
}

impl File {
    pub(super) fn of(coding: Coding) -> Self {
        Self::sized(coding, WIDTH, HEIGHT, corner)
    }

    pub(super) fn sized(
        coding: Coding,
        width: u32,
        height: u32,
        pixel: impl Fn(u32, u32) -> [u8; 3],
    ) -> Self {
        Self {
            size: (width, height),
            kind: *b"av01",
            coding,
            color: coding.encode(width, height, pixel),
            properties: Vec::new(),
            alpha: None,
            is_premultiplied: false,
        }
    }

    pub(super) fn with(mut self, kind: [u8; 4], body: &[&[u8]], is_essential: bool) -> Self {
        self.properties.push((part(kind, body), is_essential));
        self
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let head = part(*b"ftyp", &[b"mif1\0\0\0\0mif1avifmiaf"]);
        let at = head.len() + self.meta(0).len() + 8;
        let data = part(*b"mdat", &[&self.color, self.alpha.as_deref().unwrap_or_default()]);
        [head, self.meta(at), data].concat()
    }

    fn meta(&self, at: usize) -> Vec<u8> {
        let items = if self.alpha.is_some() { 2 } else { 1 };
        let mut locations = [&[0; 4][..], &[0x44, 0], &be16(items)].concat();
        let alpha = self.alpha.as_deref().unwrap_or_default().len();
        let extents = [(at, self.color.len()), (at + self.color.len(), alpha)];
        let mut infos = [&[0; 4][..], &be16(items)].concat();
        for (id, (start, length)) in (1..=items).zip(extents) {
            locations.extend([&be16(id)[..], &be16(0), &be16(1)].concat());
            locations.extend([be32(start), be32(length)].concat());
            let kind = if id == 1 { &self.kind } else { b"av01" };
            infos.extend(part(*b"infe", &[&[2, 0, 0, 0], &be16(id), &be16(0), kind, b"\0"]));
        }
        let mut references = vec![0; 4];
        if self.alpha.is_some() {
            references.extend(part(*b"auxl", &[&be16(2), &be16(1), &be16(1)]));
        }
        if self.is_premultiplied {
            references.extend(part(*b"prem", &[&be16(1), &be16(1), &be16(2)]));
        }
        part(
            *b"meta",
            &[
                &[0; 4],
                &part(*b"pitm", &[&[0; 4], &be16(1)]),
                &part(*b"iloc", &[&locations]),
                &part(*b"iinf", &[&infos]),
                &part(*b"iref", &[&references]),
                &self.properties(),
            ],
        )
    }

    fn properties(&self) -> Vec<u8> {
        let (width, height) = (self.size.0 as usize, self.size.1 as usize);
        let mut all =
            vec![part(*b"ispe", &[&[0; 4], &be32(width), &be32(height)]), self.coding.av1c()];
        let mut of_color = vec![1, 2 | 0x80];
        for (property, is_essential) in &self.properties {
            all.push(property.clone());
            of_color.push(all.len() as u8 | if *is_essential { 0x80 } else { 0 });
        }
        let mut table = [&[0; 4][..], &be32(if self.alpha.is_some() { 2 } else { 1 })].concat();
        table.extend([&be16(1)[..], &[of_color.len() as u8], &of_color].concat());
        if self.alpha.is_some() {
            all.push(ALPHA.av1c());
            let urn = b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0";
            all.push(part(*b"auxC", &[&[0; 4], urn]));
            let last = all.len() as u8;
            table.extend([&be16(2)[..], &[3, 1, (last - 1) | 0x80, last]].concat());
        }
        part(*b"iprp", &[&part(*b"ipco", &[&all.concat()]), &part(*b"ipma", &[&table])])
    }
}
