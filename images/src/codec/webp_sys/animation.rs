//! Frames to an animated WebP.

use std::ffi::{CStr, c_int};
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

use libwebp_sys as sys;

use super::{Effort, Picture, WebpError, config};
use crate::geometry::Size;

#[expect(clippy::cast_possible_wrap, reason = "a version, far below 2^31")]
const ABI: c_int = sys::WEBP_MUX_ABI_VERSION as c_int;
const CHANNELS: u64 = 4;

/// An animation in libwebp's memory, freed on drop.
pub(crate) struct Animation {
    encoder: NonNull<sys::WebPAnimEncoder>,
    config: sys::WebPConfig,
    size: Size,
    now_ms: c_int,
}

impl Animation {
    /// An animation that is shown so many times; 0 is for ever.
    pub(crate) fn new(size: Size, times: u16, effort: Effort) -> Result<Self, WebpError> {
        let config = config(effort)?;
        let mut options = options()?;
        options.anim_params.loop_count = times.into();
        // Frames at which a player could enter would cost as much again.
        options.kmax = 0;
        let int =
            |side: u32| c_int::try_from(side).map_err(|_| WebpError::WrongLength { len: 0, size });
        let (width, height) = (int(size.width)?, int(size.height)?);
        // SAFETY: `options` was initialised by libwebp and is only read.
        let encoder =
            unsafe { sys::WebPAnimEncoderNewInternal(width, height, &raw const options, ABI) };
        let encoder = NonNull::new(encoder).ok_or(WebpError::Animation("no encoder".to_owned()))?;
        Ok(Self { encoder, config, size, now_ms: 0 })
    }

    /// Adds RGBA pixels, rows without gaps, to be seen for so many milliseconds.
    pub(crate) fn push(&mut self, pixels: &[u8], milliseconds: u32) -> Result<(), WebpError> {
        let size = self.size;
        let wrong = || WebpError::WrongLength { len: pixels.len(), size };
        if u64::try_from(pixels.len()).ok() != size.pixels().checked_mul(CHANNELS) {
            return Err(wrong());
        }
        let int = |n: u64| c_int::try_from(n).map_err(|_| wrong());
        let mut picture = Picture::new(int(size.width.into())?, int(size.height.into())?)?;
        picture.0.use_argb = 1;
        picture.import(pixels, int(u64::from(size.width) * CHANNELS)?, true)?;
        // SAFETY: the encoder lives until drop, the picture was imported and has the
        // size that the encoder was made for, the configuration was validated.
        let added = unsafe {
            sys::WebPAnimEncoderAdd(
                self.encoder.as_ptr(),
                &raw mut picture.0,
                self.now_ms,
                &raw const self.config,
            )
        };
        let milliseconds = c_int::try_from(milliseconds).unwrap_or(c_int::MAX);
        self.now_ms = self.now_ms.saturating_add(milliseconds);
        if added == 0 { Err(self.failure()) } else { Ok(()) }
    }

    /// The file.
    pub(crate) fn finish(self) -> Result<Vec<u8>, WebpError> {
        // SAFETY: the encoder lives until drop; no picture is how it is told when
        // the last one ends.
        let ended = unsafe {
            sys::WebPAnimEncoderAdd(
                self.encoder.as_ptr(),
                ptr::null_mut(),
                self.now_ms,
                ptr::null(),
            )
        };
        let mut file = File(sys::WebPData { bytes: ptr::null(), size: 0 });
        // SAFETY: as above, and `file` is an empty `WebPData` that libwebp fills.
        let made = ended != 0
            && unsafe { sys::WebPAnimEncoderAssemble(self.encoder.as_ptr(), &raw mut file.0) } != 0;
        if made { Ok(file.bytes()) } else { Err(self.failure()) }
    }

    fn failure(&self) -> WebpError {
        // SAFETY: the encoder lives until drop, and gives a text of its own that
        // ends with a zero and stays until the next call. It is copied here.
        let text = unsafe {
            let text = sys::WebPAnimEncoderGetError(self.encoder.as_ptr());
            (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned())
        };
        WebpError::Animation(text.unwrap_or_default())
    }
}

fn options() -> Result<sys::WebPAnimEncoderOptions, WebpError> {
    let mut options = MaybeUninit::<sys::WebPAnimEncoderOptions>::zeroed();
    // SAFETY: libwebp fills a structure of its own kind, if the versions agree.
    let agreed = unsafe { sys::WebPAnimEncoderOptionsInitInternal(options.as_mut_ptr(), ABI) };
    if agreed == 0 {
        return Err(WebpError::Animation("versions differ".to_owned()));
    }
    // SAFETY: it holds numbers only, all of which were zeroed and then filled.
    Ok(unsafe { options.assume_init() })
}

impl Drop for Animation {
    fn drop(&mut self) {
        // SAFETY: made in `new`, freed once, here.
        unsafe { sys::WebPAnimEncoderDelete(self.encoder.as_ptr()) }
    }
}

/// A file in libwebp's memory, freed on drop.
struct File(sys::WebPData);

impl File {
    fn bytes(&self) -> Vec<u8> {
        if self.0.bytes.is_null() {
            return Vec::new();
        }
        // SAFETY: libwebp put `size` bytes there, which stay until drop.
        unsafe { std::slice::from_raw_parts(self.0.bytes, self.0.size) }.to_vec()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // SAFETY: allocated by libwebp, or null; freed once, here.
        unsafe { sys::WebPFree(self.0.bytes.cast_mut().cast()) }
    }
}
