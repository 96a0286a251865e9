//! The whole path, from a file's bytes to another's.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "made-up pixels wrap on purpose, and counts of them are small"
)]

mod animations;
#[cfg(all(feature = "avif", feature = "avif-in"))]
mod avif;
mod colors;
mod formats;
mod hostile;
mod imager;
mod info;
mod make;
mod orientations;
mod photos;
mod vectors;

use super::*;

fn run(source: &[u8], suffix: &str) -> Result<Output, ImageError> {
    run_with(source, suffix, &Settings::default())
}

fn run_with(source: &[u8], suffix: &str, settings: &Settings) -> Result<Output, ImageError> {
    let suffix = Suffix::parse(suffix)?;
    transform(source, &suffix, settings, &mut Scratch::default(), &|| true)
}

/// Pixels as the decoders see them, without any code of ours.
#[derive(Debug)]
struct Decoded {
    width: usize,
    height: usize,
    channels: usize,
    data: Vec<u8>,
}

impl Decoded {
    fn of(output: &Output) -> Self {
        let decoded = match output.format {
            OutputFormat::Jpeg => Self::jpeg(&output.bytes),
            OutputFormat::Png => Self::png(&output.bytes),
            OutputFormat::WebP => Self::webp(&output.bytes),
            OutputFormat::Gif => Self::gif(&output.bytes),
            OutputFormat::Avif | OutputFormat::AvgColor | OutputFormat::Info => {
                panic!("no decoder")
            }
        };
        assert_eq!(
            (decoded.width, decoded.height),
            (output.width as usize, output.height as usize)
        );
        assert_eq!(decoded.data.len(), decoded.width * decoded.height * decoded.channels);
        decoded
    }

    fn jpeg(bytes: &[u8]) -> Self {
        let mut decoder = zune_jpeg::JpegDecoder::new(zune_core::bytestream::ZCursor::new(bytes));
        let data = decoder.decode().unwrap();
        let (width, height) = decoder.dimensions().unwrap();
        Self { width, height, channels: data.len() / width / height, data }
    }

    fn png(bytes: &[u8]) -> Self {
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
        let mut data = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut data).unwrap();
        Self {
            width: info.width as usize,
            height: info.height as usize,
            channels: info.color_type.samples(),
            data,
        }
    }

    fn webp(bytes: &[u8]) -> Self {
        let mut decoder = image_webp::WebPDecoder::new(std::io::Cursor::new(bytes)).unwrap();
        let mut data = vec![0; decoder.output_buffer_size().unwrap()];
        decoder.read_image(&mut data).unwrap();
        let (width, height) = decoder.dimensions();
        Self {
            width: width as usize,
            height: height as usize,
            channels: if decoder.has_alpha() { 4 } else { 3 },
            data,
        }
    }

    fn gif(bytes: &[u8]) -> Self {
        let decoder = image::codecs::gif::GifDecoder::new(std::io::Cursor::new(bytes)).unwrap();
        let image = image::DynamicImage::from_decoder(decoder).unwrap().into_rgba8();
        Self {
            width: image.width() as usize,
            height: image.height() as usize,
            channels: 4,
            data: image.into_raw(),
        }
    }

    fn pixel(&self, x: usize, y: usize) -> &[u8] {
        &self.data[(y * self.width + x) * self.channels..][..self.channels]
    }

    /// Mean difference of the channels.
    fn difference(&self, other: &Self) -> f64 {
        assert_eq!((self.width, self.channels), (other.width, other.channels));
        let sum: u64 =
            self.data.iter().zip(&other.data).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
        sum as f64 / self.data.len() as f64
    }
}

fn is_near(pixel: &[u8], color: [u8; 3], by: u8) -> bool {
    pixel.iter().zip(color).all(|(a, b)| a.abs_diff(b) <= by)
}
