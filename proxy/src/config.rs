//! How a proxy works: as written by an operator ([`ProxyConfig`]), and checked and typed
//! ([`ProxyOptions`]).

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use axum::http::HeaderValue;
use hayrick_service::config::{ByteSize, Span};
use serde::{Deserialize, Serialize};

use crate::pictures::{KeepOptions, MIN_DISK_BYTES};
use crate::upload::CHUNK_BYTES;
use hayrick_images::{Averaging, Limits, PoolOptions, Settings};

/// The `[proxy]` section of a configuration file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProxyConfig {
    /// A larger upload is answered 413. Default 5 GiB.
    pub max_object: ByteSize,
    /// Bytes of uploads that may be in memory at one time. Default 256 MiB.
    pub upload_memory: ByteSize,
    /// Bytes of answers that may be in memory at one time: 256 KiB of a larger object, all of a
    /// picture. Default 256 MiB.
    pub download_memory: ByteSize,
    /// Bytes of names that are remembered for when no directory answers. 0 for none. Default
    /// 64 MiB.
    pub names_memory: ByteSize,
    /// How long after a name was last seen it is served from memory, while no directory answers.
    /// Default 1h.
    pub names_max_age: Span,
    /// `Cache-Control` of objects that anybody may read. Default `public, no-cache`: caches
    /// keep the object and ask each time whether it is still the same.
    pub cache_control: String,
    /// Pictures.
    pub image: ImageConfig,
}

/// The `[proxy.image]` section of a configuration file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImageConfig {
    /// Threads that work on pictures; 0 for one for each core. Default 0.
    pub threads: usize,
    /// Pictures that may wait for a thread before others are answered 429; 0 for 4 for
    /// each thread. Default 0.
    pub queue_len: usize,
    /// The longest that a picture may take, waiting included. Default 10s.
    pub deadline: Span,
    /// Largest file that is resized. Default 20 MiB.
    pub max_source: ByteSize,
    /// Most pixels of a picture that is resized. Default 50,000,000.
    pub max_pixels: u64,
    /// Longest side in pixels of a picture that is resized. Default 16384.
    pub max_side: u32,
    /// Most frames of an animation that stays one; of a longer one its first frame is shown.
    /// Default 100.
    pub max_frames: u32,
    /// Most pixels of all frames of an animation that stays one. Default 100,000,000.
    pub max_animation_pixels: u64,
    /// Bytes that pictures being made may take together, as far as their headers tell ahead; others
    /// wait. Default 512 MiB.
    pub memory: ByteSize,
    /// Whether reductions average light. If not, they average sRGB values, which is faster, but
    /// fine bright detail comes out darker. Default true.
    pub linear_light: bool,
    /// JPEG quality where the URL names none. Default 75.
    pub jpeg_quality: u8,
    /// WebP quality where the URL names none. Default 75.
    pub webp_quality: u8,
    /// AVIF quality where the URL names none. Default 55.
    pub avif_quality: u8,
    /// Pixels of an AVIF; a larger picture comes as WebP, for AVIF takes many times as long. Default
    /// 360,000.
    pub avif_max_pixels: u64,
    /// Bytes of finished pictures that are kept in memory; 0 for none. Default 64 MiB.
    pub cache_memory: ByteSize,
    /// A directory for finished pictures that memory has no room for. It belongs to one proxy, and
    /// may be emptied while that is down. Default: none are kept on disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_dir: Option<PathBuf>,
    /// Bytes of pictures in that directory. Default 1 GiB.
    pub cache_disk: ByteSize,
}

impl Default for ProxyConfig {
    fn default() -> Self {
        Self {
            max_object: ByteSize::gib(5),
            upload_memory: ByteSize::mib(256),
            download_memory: ByteSize::mib(256),
            names_memory: ByteSize::mib(64),
            names_max_age: Span::secs(3600),
            cache_control: "public, no-cache".to_owned(),
            image: ImageConfig::default(),
        }
    }
}

impl Default for ImageConfig {
    fn default() -> Self {
        let (limits, settings) = (Limits::default(), Settings::default());
        Self {
            threads: 0,
            queue_len: 0,
            deadline: Span::secs(10),
            max_source: ByteSize::new(limits.max_source_bytes),
            max_pixels: limits.max_pixels,
            max_side: limits.max_side,
            max_frames: limits.max_frames,
            max_animation_pixels: limits.max_animation_pixels,
            memory: ByteSize::new(PoolOptions::default().memory_bytes),
            linear_light: settings.averaging == Averaging::Light,
            jpeg_quality: settings.jpeg_quality,
            webp_quality: settings.webp_quality,
            avif_quality: settings.avif_quality,
            avif_max_pixels: settings.avif_max_pixels,
            cache_memory: ByteSize::mib(64),
            cache_dir: None,
            cache_disk: ByteSize::gib(1),
        }
    }
}

/// What a proxy works by.
#[derive(Debug, Clone)]
pub struct ProxyOptions {
    /// A larger upload is answered 413.
    pub max_object_bytes: u64,
    /// Bytes of uploads that may be in memory at one time.
    pub upload_memory_bytes: u64,
    /// Bytes of answers that may be in memory at one time.
    pub download_memory_bytes: u64,
    /// Bytes of names that are remembered for when no directory answers.
    pub names_memory_bytes: u64,
    /// How long a name is believed after it was last seen.
    pub names_max_age: Duration,
    /// `Cache-Control` of objects that anybody may read.
    pub cache_control: HeaderValue,
    /// How pictures are made.
    pub image: Settings,
    /// The threads that make them.
    pub image_pool: PoolOptions,
    /// How many of them are kept.
    pub(crate) keep_pictures: KeepOptions,
}

/// A value that makes no sense, in words for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("proxy.{key}: {problem}")]
pub struct ConfigProblem {
    /// The key in the section.
    pub key: &'static str,
    /// What is wrong with it and what would be right.
    pub problem: &'static str,
}

impl ProxyConfig {
    /// Checks every value. Nothing is silently changed into something else.
    pub fn check(&self) -> Result<ProxyOptions, ConfigProblem> {
        require(self.max_object.bytes() > 0, "max_object", "must be more than 0")?;
        require(
            self.upload_memory.bytes() >= 4 * CHUNK_BYTES as u64,
            "upload_memory",
            "must be at least 32MiB, enough for two large uploads",
        )?;
        require(
            self.download_memory.bytes() >= 1 << 20,
            "download_memory",
            "must be at least 1MiB, enough for four large downloads",
        )?;
        let image = &self.image;
        let quality = |quality| (1..=100).contains(&quality);
        require(quality(image.jpeg_quality), "image.jpeg_quality", "must be from 1 to 100")?;
        require(quality(image.webp_quality), "image.webp_quality", "must be from 1 to 100")?;
        require(quality(image.avif_quality), "image.avif_quality", "must be from 1 to 100")?;
        require(image.memory.bytes() >= 16 << 20, "image.memory", "must be at least 16MiB")?;
        require(image.max_side > 0, "image.max_side", "must be more than 0")?;
        require(
            image.cache_dir.is_none() || image.cache_disk.bytes() >= MIN_DISK_BYTES,
            "image.cache_disk",
            "must be at least 128MiB",
        )?;
        let cache_control = HeaderValue::from_str(&self.cache_control);
        let problem = "must be text that an HTTP header can carry";
        Ok(ProxyOptions {
            max_object_bytes: self.max_object.bytes(),
            upload_memory_bytes: self.upload_memory.bytes(),
            download_memory_bytes: self.download_memory.bytes(),
            names_memory_bytes: self.names_memory.bytes(),
            names_max_age: self.names_max_age.duration(),
            cache_control: cache_control
                .map_err(|_| ConfigProblem { key: "cache_control", problem })?,
            image: image.settings(),
            image_pool: image.pool(),
            keep_pictures: image.keep(),
        })
    }
}

impl ImageConfig {
    fn settings(&self) -> Settings {
        Settings {
            limits: Limits {
                max_source_bytes: self.max_source.bytes(),
                max_pixels: self.max_pixels,
                max_side: self.max_side,
                max_frames: self.max_frames,
                max_animation_pixels: self.max_animation_pixels,
            },
            averaging: if self.linear_light { Averaging::Light } else { Averaging::Values },
            jpeg_quality: self.jpeg_quality,
            webp_quality: self.webp_quality,
            avif_quality: self.avif_quality,
            avif_max_pixels: self.avif_max_pixels,
            ..Settings::default()
        }
    }

    fn pool(&self) -> PoolOptions {
        let default = PoolOptions::default();
        let threads = NonZeroUsize::new(self.threads).unwrap_or(default.threads);
        let four = const { NonZeroUsize::new(4).unwrap() };
        let queue_limit = NonZeroUsize::new(self.queue_len).unwrap_or(threads.saturating_mul(four));
        let deadline = self.deadline.duration();
        PoolOptions { threads, queue_limit, deadline, memory_bytes: self.memory.bytes() }
    }

    fn keep(&self) -> KeepOptions {
        let disk = self.cache_dir.clone().map(|dir| (dir, self.cache_disk.bytes()));
        KeepOptions { memory_bytes: self.cache_memory.bytes(), disk }
    }
}

fn require(holds: bool, key: &'static str, problem: &'static str) -> Result<(), ConfigProblem> {
    if holds { Ok(()) } else { Err(ConfigProblem { key, problem }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senseless_values_are_named() {
        type Spoil = fn(&mut ProxyConfig);
        assert!(ProxyConfig::default().check().is_ok());
        let cases: [(&str, Spoil); 10] = [
            ("max_object", |c| c.max_object = ByteSize::new(0)),
            ("upload_memory", |c| c.upload_memory = ByteSize::mib(1)),
            ("download_memory", |c| c.download_memory = ByteSize::kib(1)),
            ("cache_control", |c| c.cache_control = "\n".to_owned()),
            ("image.jpeg_quality", |c| c.image.jpeg_quality = 0),
            ("image.webp_quality", |c| c.image.webp_quality = 101),
            ("image.avif_quality", |c| c.image.avif_quality = 0),
            ("image.memory", |c| c.image.memory = ByteSize::mib(15)),
            ("image.max_side", |c| c.image.max_side = 0),
            ("image.cache_disk", |c| {
                c.image.cache_dir = Some("pictures".into());
                c.image.cache_disk = ByteSize::mib(127);
            }),
        ];
        for (key, spoil) in cases {
            let mut config = ProxyConfig::default();
            spoil(&mut config);
            assert_eq!(config.check().unwrap_err().key, key);
        }
    }

    #[test]
    fn light_is_averaged_unless_the_operator_says_no() {
        let averaging = |config: ProxyConfig| config.check().unwrap().image.averaging;
        assert_eq!(averaging(ProxyConfig::default()), Averaging::Light);
        let image = ImageConfig { linear_light: false, ..ImageConfig::default() };
        let config = ProxyConfig { image, ..ProxyConfig::default() };
        assert_eq!(averaging(config), Averaging::Values);
    }
}
