//! The door to rav1d, a port of dav1d to Rust that kept the interface of C.
//!
//! One decoder is made for each picture and works on the calling thread alone. It
//! logs nothing: what is wrong with a stranger's file is told as an error. A panic
//! within cannot be caught, for functions with the interface of C end the process
//! instead; that is why nothing is handed in but what the probe let through.
#![expect(unsafe_code, reason = "rav1d is called through an interface of C")]

use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::slice;

use re_rav1d::Dav1dResult;
use re_rav1d::include::dav1d::data::Dav1dData;
use re_rav1d::include::dav1d::dav1d::{Dav1dContext, Dav1dLogger, Dav1dSettings};
use re_rav1d::include::dav1d::headers::{
    DAV1D_PIXEL_LAYOUT_I400, DAV1D_PIXEL_LAYOUT_I420, DAV1D_PIXEL_LAYOUT_I422,
    DAV1D_PIXEL_LAYOUT_I444, Dav1dSequenceHeader,
};
use re_rav1d::include::dav1d::picture::Dav1dPicture;
use re_rav1d::src::lib as sys;

use crate::geometry::Size;
use crate::probe::avif::Samples;

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
pub(super) enum Av1Error {
    #[error("no AV1 decoder: {0}")]
    NotOpened(i32),
    #[error("the AV1 decoder ran out of memory")]
    NoMemory,
    #[error("its AV1 picture is broken: {0}")]
    Broken(i32),
    #[error("its headers disagree about its samples")]
    OtherSamples,
    #[error("its headers disagree about its size")]
    OtherSize,
}

/// One AV1 decoder, closed on drop.
pub(super) struct Decoder(Option<Dav1dContext>);

impl Decoder {
    /// A decoder of pictures of at most this size.
    pub(super) fn new(size: Size) -> Result<Self, Av1Error> {
        let mut settings = MaybeUninit::<Dav1dSettings>::uninit();
        // SAFETY: the call writes a whole `Dav1dSettings` to where it is told to.
        let mut settings = unsafe {
            sys::dav1d_default_settings(NonNull::from(&mut settings).cast());
            settings.assume_init()
        };
        settings.n_threads = 1;
        settings.max_frame_delay = 1;
        settings.all_layers = 0;
        settings.frame_size_limit = u32::try_from(size.pixels()).unwrap_or(u32::MAX).max(1);
        // SAFETY: there is no callback that could be called.
        settings.logger = unsafe { Dav1dLogger::new(None, None) };
        let mut decoder = Self(None);
        // SAFETY: both point to values that outlive the call; the settings are only read.
        let opened = unsafe {
            sys::dav1d_open(Some(NonNull::from(&mut decoder.0)), Some(NonNull::from(&mut settings)))
        };
        if opened.0 == 0 { Ok(decoder) } else { Err(Av1Error::NotOpened(opened.0)) }
    }

    /// The picture of one AV1 frame, if it is what was foretold.
    pub(super) fn decode(
        &mut self,
        av1: &[u8],
        size: Size,
        samples: Samples,
    ) -> Result<Frame, Av1Error> {
        // Before there is memory taken for them.
        if sequence_samples(av1)? != Some(samples) {
            return Err(Av1Error::OtherSamples);
        }
        let mut data = Data::copy(av1)?;
        // SAFETY: the decoder is open until drop, and `data` holds what rav1d allocated.
        check(unsafe { sys::dav1d_send_data(self.0, Some(NonNull::from(&mut data.0))) })?;
        let mut picture = Dav1dPicture::default();
        // SAFETY: as above; `picture` is written to, and is empty before that.
        check(unsafe { sys::dav1d_get_picture(self.0, Some(NonNull::from(&mut picture))) })?;
        Frame::of(picture, size, samples)
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: opened in `new` or `None`; closed once, here.
        unsafe { sys::dav1d_close(Some(NonNull::from(&mut self.0))) }
    }
}

/// Bytes in rav1d's memory, freed on drop unless it took them.
struct Data(Dav1dData);

impl Data {
    fn copy(bytes: &[u8]) -> Result<Self, Av1Error> {
        let mut data = Self(Dav1dData::default());
        // SAFETY: `data` is written to, and holds nothing before that.
        let memory =
            unsafe { sys::dav1d_data_create(Some(NonNull::from(&mut data.0)), bytes.len()) };
        let memory = NonNull::new(memory).ok_or(Av1Error::NoMemory)?;
        // SAFETY: rav1d allocated as many bytes there, which nobody else knows of yet.
        unsafe { memory.copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len()) };
        Ok(data)
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        // SAFETY: a whole `Dav1dData`, which is empty afterwards and when rav1d took it.
        unsafe { sys::dav1d_data_unref(Some(NonNull::from(&mut self.0))) }
    }
}

/// A decoded picture in rav1d's memory, freed on drop.
pub(super) struct Frame {
    picture: Dav1dPicture,
    size: Size,
    samples: Samples,
    matrix: u16,
    is_full_range: bool,
}

/// A row of samples, by how many bits they have.
#[derive(Clone, Copy)]
pub(super) enum Row<'a> {
    Eight(&'a [u8]),
    More(&'a [u16]),
}

impl Frame {
    /// The picture, if it is what was foretold.
    fn of(picture: Dav1dPicture, size: Size, samples: Samples) -> Result<Self, Av1Error> {
        // From here on it is freed whatever happens.
        let mut frame = Self { picture, size, samples, matrix: 0, is_full_range: false };
        let is = |side: u32, found: i32| i64::from(side) == i64::from(found);
        let p = &frame.picture.p;
        if !is(size.width, p.w) || !is(size.height, p.h) {
            return Err(Av1Error::OtherSize);
        }
        let layout = match (samples.is_gray, samples.halved) {
            (true, _) => DAV1D_PIXEL_LAYOUT_I400,
            (false, (true, true)) => DAV1D_PIXEL_LAYOUT_I420,
            (false, (true, false)) => DAV1D_PIXEL_LAYOUT_I422,
            (false, (false, _)) => DAV1D_PIXEL_LAYOUT_I444,
        };
        if p.layout != layout || i32::from(samples.bits) != p.bpc {
            return Err(Av1Error::OtherSamples);
        }
        let header = frame.picture.seq_hdr.ok_or(Av1Error::OtherSamples)?;
        // SAFETY: the picture keeps its sequence's header alive, which nobody writes to.
        let header = unsafe { header.as_ref() };
        let matrix = u16::try_from(header.mtrx).unwrap_or(u16::MAX);
        let is_full_range = header.color_range != 0;
        (frame.matrix, frame.is_full_range) = (matrix, is_full_range);
        Ok(frame)
    }

    pub(super) const fn size(&self) -> Size {
        self.size
    }

    pub(super) const fn samples(&self) -> Samples {
        self.samples
    }

    /// The matrix coefficients of ITU-T H.273.
    pub(super) const fn matrix(&self) -> u16 {
        self.matrix
    }

    pub(super) const fn is_full_range(&self) -> bool {
        self.is_full_range
    }

    /// The size of the planes that tell colour.
    pub(super) const fn color_size(&self) -> Size {
        let (across, down) = self.samples.halved;
        let width = self.size.width.div_ceil(if across { 2 } else { 1 });
        Size { width, height: self.size.height.div_ceil(if down { 2 } else { 1 }) }
    }

    /// One row of a plane: 0 for light, 1 and 2 for colour. `None` beyond the last.
    pub(super) fn row(&self, plane: usize, row: u32) -> Option<Row<'_>> {
        let size = if plane == 0 { self.size } else { self.color_size() };
        if row >= size.height {
            return None;
        }
        let start = (*self.picture.data.get(plane)?)?.cast::<u8>();
        let stride = self.picture.stride.get(plane.min(1))?;
        let offset = stride.checked_mul(isize::try_from(row).ok()?)?;
        let width = usize::try_from(size.width).ok()?;
        // SAFETY: rav1d allocates for each plane of its picture as many rows of `stride`
        // bytes as the picture is high, each at least as long as the picture is wide; `of`
        // has checked width, height, layout and bits. A plane starts at, and strides are,
        // multiples of 64 bytes. Nobody writes to the picture once it is given out, and it
        // lives as long as `self`.
        Some(unsafe {
            let start = start.offset(offset);
            if self.samples.bits == 8 {
                Row::Eight(slice::from_raw_parts(start.as_ptr(), width))
            } else {
                Row::More(slice::from_raw_parts(start.cast::<u16>().as_ptr(), width))
            }
        })
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        // SAFETY: given out by rav1d; freed once, here.
        unsafe { sys::dav1d_picture_unref(Some(NonNull::from(&mut self.picture))) }
    }
}

/// What an AV1 sequence's header says of its samples. `None` for what AVIF has not.
fn sequence_samples(av1: &[u8]) -> Result<Option<Samples>, Av1Error> {
    let mut header = MaybeUninit::<Dav1dSequenceHeader>::uninit();
    // SAFETY: the header is written to, the bytes are only read.
    check(unsafe {
        sys::dav1d_parse_sequence_header(
            Some(NonNull::from(&mut header).cast()),
            Some(NonNull::from(av1).cast()),
            av1.len(),
        )
    })?;
    // SAFETY: the call succeeded, and has written a whole header then.
    let header = unsafe { header.assume_init() };
    let bits = match header.hbd {
        0 => 8,
        1 => 10,
        2 => 12,
        _ => return Ok(None),
    };
    let is_gray = header.monochrome != 0;
    let halved = match header.layout {
        DAV1D_PIXEL_LAYOUT_I400 | DAV1D_PIXEL_LAYOUT_I420 => (true, true),
        DAV1D_PIXEL_LAYOUT_I422 => (true, false),
        _ => (false, false),
    };
    Ok(Some(Samples { bits, is_gray, halved }))
}

/// An error of rav1d's is a negative number of the system's.
fn check(result: Dav1dResult) -> Result<(), Av1Error> {
    if result.0 == 0 { Ok(()) } else { Err(Av1Error::Broken(result.0)) }
}
