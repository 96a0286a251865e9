//! The pipeline on its own threads: what a server holds.

use std::io;
use std::ops::RangeInclusive;

use super::error::{ImageError, Measure};
use super::format::SourceFormat;
use super::pipeline::{Job, Output, Settings};
use super::pool::{NoMemory, Pool, PoolError, PoolLoad, PoolOptions};
use super::resample::Scratch;
use super::stages::Stages;
use super::suffix::Suffix;

/// Why no [`Imager`] starts.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting has a value that the encoders do not take.
    #[error("`{setting}` is {value}, but must be {} to {}", allowed.start(), allowed.end())]
    Setting {
        /// The field of [`Settings`].
        setting: &'static str,
        /// Its value.
        value: u8,
        /// The values it may have.
        allowed: RangeInclusive<u8>,
    },
    /// The system gave no thread.
    #[error("no thread for images: {0}")]
    Threads(#[from] io::Error),
}

/// A picture that was made, and what that took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The picture.
    pub output: Output,
    /// The kind of its source.
    pub source: SourceFormat,
    /// Where the time went.
    pub stages: Stages,
}

/// Makes pictures on threads of its own, behind a bounded queue.
pub struct Imager {
    settings: Settings,
    pool: Pool<Scratch>,
}

impl Imager {
    /// Checks the settings and starts the threads.
    pub fn start(settings: Settings, pool: PoolOptions) -> Result<Self, StartError> {
        check("jpeg_quality", settings.jpeg_quality, 1..=100)?;
        check("webp_quality", settings.webp_quality, 1..=100)?;
        check("webp_method", settings.webp_method, 0..=6)?;
        check("avif_quality", settings.avif_quality, 1..=100)?;
        check("avif_speed", settings.avif_speed, 1..=10)?;
        Ok(Self { settings, pool: Pool::start("image", pool)? })
    }

    /// Makes of `source` what `suffix` asks for. Dropping the future gives up
    /// on it: work that has not begun is not begun.
    pub async fn transform<B>(&self, source: B, suffix: Suffix) -> Result<Made, ImageError>
    where
        B: AsRef<[u8]> + Send + 'static,
    {
        let settings = self.settings;
        let result = self
            .pool
            .run(move |scratch, watch| {
                let job = Job::new(source.as_ref(), &suffix, &settings)?;
                let bytes = job.memory_bytes();
                let _loan = watch.lend(bytes).map_err(|refusal| match refusal {
                    NoMemory::Timeout => ImageError::Timeout,
                    NoMemory::TooLarge { limit } => {
                        ImageError::TooLarge { what: Measure::MemoryBytes, got: bytes, limit }
                    }
                })?;
                let source = job.source_format();
                let output = job.run(scratch, &|| watch.go_on());
                let stages = Stages { waited: watch.waited(), ..scratch.take_stages() };
                Ok(Made { output: output?, source, stages })
            })
            .await;
        result.unwrap_or_else(|error| Err(error.into()))
    }

    /// What the operator decided.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How busy the threads are.
    pub fn load(&self) -> PoolLoad {
        self.pool.load()
    }

    /// Takes no more pictures, finishes those that were taken, and joins the
    /// threads. Blocks; an async caller wraps it in `spawn_blocking`.
    pub fn shutdown(&self) {
        self.pool.shutdown();
    }
}

fn check(setting: &'static str, value: u8, allowed: RangeInclusive<u8>) -> Result<(), StartError> {
    if allowed.contains(&value) {
        return Ok(());
    }
    Err(StartError::Setting { setting, value, allowed })
}

impl From<PoolError> for ImageError {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Busy => Self::Busy,
            PoolError::Timeout => Self::Timeout,
            PoolError::Stopped => Self::Stopped,
            PoolError::Panicked(reason) => Self::Internal { reason },
        }
    }
}
