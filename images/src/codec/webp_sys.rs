//! The door to libwebp's encoder, the one piece of C in the image path.
//!
//! It is handed pixels that this process made, never a stranger's bytes. There
//! is no lossy WebP encoder in Rust yet.
#![expect(unsafe_code, reason = "libwebp is called through its C interface")]

mod animation;

use std::ffi::c_int;
use std::ptr;

use libwebp_sys as sys;

use crate::geometry::Size;
pub(crate) use animation::Animation;

/// What to spend and what to get.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    /// 1 to 100.
    pub(super) quality: u8,
    /// 0 (fast) to 6 (small).
    pub(super) method: u8,
}

/// Why libwebp wrote nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WebpError {
    #[error("{len} bytes of pixels are not {size:?}")]
    WrongLength { len: usize, size: Size },
    #[error("libwebp refuses quality {quality} with method {method}")]
    Options { quality: u8, method: u8 },
    #[error("libwebp: {0:?}")]
    Encoder(sys::WebPEncodingError),
    #[error("libwebp's animation: {0}")]
    Animation(String),
}

/// Encodes RGB or RGBA pixels, rows without gaps.
pub(super) fn encode(
    pixels: &[u8],
    size: Size,
    has_alpha: bool,
    effort: Effort,
) -> Result<Vec<u8>, WebpError> {
    let channels = if has_alpha { 4 } else { 3 };
    let wrong = || WebpError::WrongLength { len: pixels.len(), size };
    if u64::try_from(pixels.len()).ok() != size.pixels().checked_mul(channels) {
        return Err(wrong());
    }
    let int = |side: u32| c_int::try_from(side).map_err(|_| wrong());
    let (width, height) = (int(size.width)?, int(size.height)?);
    let stride = c_int::try_from(u64::from(size.width) * channels).map_err(|_| wrong())?;

    let config = config(effort)?;
    let mut writer = Writer::new();
    let mut picture = Picture::new(width, height)?;
    picture.import(pixels, stride, has_alpha)?;
    picture.encode(&config, &mut writer)?;
    Ok(writer.bytes())
}

fn config(effort: Effort) -> Result<sys::WebPConfig, WebpError> {
    let refused = WebpError::Options { quality: effort.quality, method: effort.method };
    let preset = sys::WebPPreset::WEBP_PRESET_DEFAULT;
    let Ok(mut config) = sys::WebPConfig::new_with_preset(preset, effort.quality.into()) else {
        return Err(refused);
    };
    config.method = effort.method.into();
    // The pool already keeps every core busy.
    config.thread_level = 0;
    // SAFETY: `config` is a whole `WebPConfig` that outlives the call, which only reads it.
    let valid = unsafe { sys::WebPValidateConfig(&raw const config) };
    if valid == 0 { Err(refused) } else { Ok(config) }
}

/// A picture in libwebp's memory, freed on drop.
struct Picture(sys::WebPPicture);

impl Picture {
    fn new(width: c_int, height: c_int) -> Result<Self, WebpError> {
        let mut picture = sys::WebPPicture::new().map_err(|()| {
            WebpError::Encoder(sys::WebPEncodingError::VP8_ENC_ERROR_INVALID_CONFIGURATION)
        })?;
        picture.width = width;
        picture.height = height;
        Ok(Self(picture))
    }

    /// Copies the pixels in, turning them to YUV. The caller has checked that
    /// `pixels` holds `height` rows of `stride` bytes.
    fn import(&mut self, pixels: &[u8], stride: c_int, has_alpha: bool) -> Result<(), WebpError> {
        let import = if has_alpha { sys::WebPPictureImportRGBA } else { sys::WebPPictureImportRGB };
        // SAFETY: the picture was initialised and given its size in `new`; libwebp
        // reads `height` rows of `stride` bytes, which `encode` made sure `pixels` has.
        let imported = unsafe { import(&raw mut self.0, pixels.as_ptr(), stride) };
        if imported == 0 { Err(self.failure()) } else { Ok(()) }
    }

    fn encode(&mut self, config: &sys::WebPConfig, to: &mut Writer) -> Result<(), WebpError> {
        self.0.writer = Some(sys::WebPMemoryWrite);
        self.0.custom_ptr = (&raw mut to.0).cast();
        // SAFETY: `config` was validated and the picture imported. `WebPMemoryWrite`
        // takes `custom_ptr` for a `WebPMemoryWriter`; it points to the one in `to`,
        // which is borrowed for the whole call.
        let encoded = unsafe { sys::WebPEncode(config, &raw mut self.0) };
        self.0.custom_ptr = ptr::null_mut();
        if encoded == 0 { Err(self.failure()) } else { Ok(()) }
    }

    fn failure(&self) -> WebpError {
        WebpError::Encoder(self.0.error_code)
    }
}

impl Drop for Picture {
    fn drop(&mut self) {
        // SAFETY: initialised in `new`; what libwebp allocated in it is freed once, here.
        unsafe { sys::WebPPictureFree(&raw mut self.0) }
    }
}

/// Bytes that libwebp has written, in its memory, freed on drop.
struct Writer(sys::WebPMemoryWriter);

impl Writer {
    fn new() -> Self {
        let mut writer =
            sys::WebPMemoryWriter { mem: ptr::null_mut(), size: 0, max_size: 0, pad: [0] };
        // SAFETY: `writer` is a whole `WebPMemoryWriter`, which the call sets to empty.
        unsafe { sys::WebPMemoryWriterInit(&raw mut writer) };
        Self(writer)
    }

    fn bytes(&self) -> Vec<u8> {
        if self.0.mem.is_null() {
            return Vec::new();
        }
        // SAFETY: libwebp keeps `size` written bytes at `mem` until the writer is
        // cleared, which happens on drop; they are copied before that.
        unsafe { std::slice::from_raw_parts(self.0.mem, self.0.size) }.to_vec()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // SAFETY: initialised in `new`; its memory is freed once, here.
        unsafe { sys::WebPMemoryWriterClear(&raw mut self.0) }
    }
}
