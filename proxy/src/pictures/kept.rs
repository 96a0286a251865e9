//! Finished pictures in memory and, if there is a directory for them, on disk.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use foyer::{
    BlockEngineConfig, Code, DeviceBuilder as _, Error, ErrorKind, FsDeviceBuilder, HybridCache,
    HybridCacheBuilder, HybridCacheEntry, LfuConfig, PsyncIoEngineConfig, RecoverMode,
};

use super::Picture;
use hayrick_images::OutputFormat;

/// What an entry takes beside its bytes: the cache's own tables.
const ENTRY_BYTES: usize = 200;
/// Files of the disk cache; no picture on disk is larger.
const BLOCK_BYTES: u64 = 16 << 20;
/// With fewer files there is always one too few to write to.
pub(crate) const MIN_DISK_BYTES: u64 = 8 * BLOCK_BYTES;
const LOCK_FILE: &str = "LOCK";

/// How many pictures are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeepOptions {
    /// Bytes of pictures in memory; 0 for none.
    pub(crate) memory_bytes: u64,
    /// Where others are kept, if anywhere, and how many bytes of them.
    pub(crate) disk: Option<(PathBuf, u64)>,
}

/// Why no pictures can be kept.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// Another process keeps its pictures there.
    #[error("{0} is another proxy's cache of pictures: name another directory")]
    InUse(PathBuf),
    /// The directory cannot be used.
    #[error("cache of pictures in {path}: {reason}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
}

pub(super) struct KeptPictures {
    cache: HybridCache<String, Kept>,
    /// Until the process ends, however it ends.
    _lock: Option<File>,
}

/// A picture as it is kept: what it is, then its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept(Picture);

impl KeptPictures {
    /// `None` where nothing is to be kept.
    pub(super) async fn open(options: &KeepOptions) -> Result<Option<Self>, KeepError> {
        let memory = usize::try_from(options.memory_bytes).unwrap_or(usize::MAX);
        if memory == 0 && options.disk.is_none() {
            return Ok(None);
        }
        let builder = HybridCacheBuilder::new()
            .with_name("pictures")
            .memory(memory)
            .with_eviction_config(LfuConfig::default())
            .with_weighter(|key: &String, kept: &Kept| ENTRY_BYTES + key.len() + kept.0.bytes.len())
            .storage();
        let Some((path, size_bytes)) = &options.disk else {
            let cache = builder.build().await.map_err(|error| unusable(Path::new(""), &error))?;
            return Ok(Some(Self { cache, _lock: None }));
        };
        let lock = lock(path)?;
        let size = usize::try_from(*size_bytes).unwrap_or(usize::MAX);
        let device = FsDeviceBuilder::new(path).with_capacity(size).build();
        let device = device.map_err(|error| unusable(path, &error))?;
        let engine = BlockEngineConfig::new(device)
            .with_block_size(usize::try_from(BLOCK_BYTES).unwrap_or(usize::MAX));
        let cache = builder
            .with_io_engine_config(PsyncIoEngineConfig::new())
            .with_engine_config(engine)
            // What cannot be read is left out: it is only a cache.
            .with_recover_mode(RecoverMode::Quiet)
            .build()
            .await
            .map_err(|error| unusable(path, &error))?;
        Ok(Some(Self { cache, _lock: Some(lock) }))
    }

    pub(super) async fn find(&self, key: &String) -> Option<HybridCacheEntry<String, Kept>> {
        self.cache.get(key).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "a kept picture cannot be read, and is made again");
            None
        })
    }

    pub(super) fn keep(&self, key: String, picture: Kept) {
        self.cache.insert(key, picture);
    }

    pub(super) async fn close(&self) {
        if let Err(error) = self.cache.close().await {
            tracing::warn!(%error, "pictures not kept: they will be made again");
        }
    }
}

fn unusable(path: &Path, error: &Error) -> KeepError {
    KeepError::Directory { path: path.to_owned(), reason: error.to_string() }
}

/// Two caches in one directory would read each other's pictures.
fn lock(path: &Path) -> Result<File, KeepError> {
    let failed = |error: io::Error| KeepError::Directory {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    fs::create_dir_all(path).map_err(failed)?;
    let file = File::options().create(true).truncate(false).write(true).open(path.join(LOCK_FILE));
    let file = file.map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(KeepError::InUse(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

impl Kept {
    pub(super) fn new(picture: &Picture) -> Self {
        Self(picture.clone())
    }

    pub(super) fn picture(&self) -> Picture {
        self.0.clone()
    }
}

/// The format's extension and the bytes, each after its length, then the flag. The cache adds a checksum, and
/// looks at it before anything is decoded.
impl Code for Kept {
    fn encode(&self, writer: &mut impl Write) -> foyer::Result<()> {
        self.0.format.extension().to_owned().encode(writer)?;
        self.0.bytes.encode(writer)?;
        self.0.animation_dropped.encode(writer)
    }

    fn decode(reader: &mut impl Read) -> foyer::Result<Self> {
        let extension = String::decode(reader)?;
        let format = OutputFormat::from_extension(&extension)
            .ok_or_else(|| Error::new(ErrorKind::Parse, format!("format {extension:?}")))?;
        let (bytes, animation_dropped) = (Bytes::decode(reader)?, bool::decode(reader)?);
        Ok(Self(Picture { format, bytes, animation_dropped }))
    }

    fn estimated_size(&self) -> usize {
        let lengths = 2 * size_of::<usize>();
        lengths + self.0.format.extension().len() + self.0.bytes.len() + size_of::<bool>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(number: usize) -> Picture {
        let bytes = vec![u8::try_from(number % 251).unwrap(); 10_000];
        Picture { format: OutputFormat::WebP, bytes: bytes.into(), animation_dropped: false }
    }

    async fn open(memory_bytes: u64, dir: Option<&Path>) -> KeptPictures {
        let disk = dir.map(|dir| (dir.to_owned(), MIN_DISK_BYTES));
        KeptPictures::open(&KeepOptions { memory_bytes, disk }).await.unwrap().unwrap()
    }

    async fn found(kept: &KeptPictures, number: usize) -> Option<Picture> {
        kept.find(&number.to_string()).await.map(|entry| entry.value().picture())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn memory_is_bounded_and_the_rest_is_made_again() {
        let kept = open(1 << 20, None).await;
        for number in 0..1_000 {
            kept.keep(number.to_string(), Kept::new(&picture(number)));
        }
        assert!(kept.cache.memory().usage() <= 1 << 20);
        let mut there = 0;
        for number in 0..1_000 {
            if let Some(found) = found(&kept, number).await {
                assert_eq!(found, picture(number));
                there += 1;
            }
        }
        assert!((10..=105).contains(&there), "{there} pictures in 1 MiB");
        let none = KeepOptions { memory_bytes: 0, disk: None };
        assert!(KeptPictures::open(&none).await.unwrap().is_none());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_on_disk_is_found_after_a_restart_and_damage_is_not_served() {
        let dir = tempfile::tempdir().unwrap();
        let kept = open(1 << 20, Some(dir.path())).await;
        for number in 0..300 {
            kept.keep(number.to_string(), Kept::new(&picture(number)));
        }
        let options =
            KeepOptions { memory_bytes: 0, disk: Some((dir.path().to_owned(), MIN_DISK_BYTES)) };
        let second = KeptPictures::open(&options).await;
        assert!(matches!(second, Err(KeepError::InUse(_))));
        kept.close().await;
        drop(kept);

        let kept = open(1 << 20, Some(dir.path())).await;
        let mut there = 0;
        for number in 0..300 {
            if let Some(found) = found(&kept, number).await {
                assert_eq!(found, picture(number));
                there += 1;
            }
        }
        assert!(there > 200, "only {there} of 300 pictures outlived a restart");
        kept.close().await;
        drop(kept);

        // Every file loses a byte out of each 4 KiB.
        for file in fs::read_dir(dir.path()).unwrap() {
            let path = file.unwrap().path();
            let mut bytes = fs::read(&path).unwrap();
            bytes.iter_mut().skip(5_000).step_by(4_096).for_each(|byte| *byte ^= 0x55);
            fs::write(path, bytes).unwrap();
        }
        let kept = open(1 << 20, Some(dir.path())).await;
        for number in 0..300 {
            let found = found(&kept, number).await;
            assert!(found.is_none_or(|found| found == picture(number)), "{number}");
        }
    }

    #[test]
    fn every_format_is_kept() {
        for format in OutputFormat::ALL {
            let bytes = Bytes::from_static(b"abc");
            let kept = Kept(Picture { format, bytes, animation_dropped: true });
            let mut bytes = Vec::new();
            kept.encode(&mut bytes).unwrap();
            assert_eq!(bytes.len(), kept.estimated_size());
            assert_eq!(Kept::decode(&mut &bytes[..]).unwrap(), kept);
            assert!(Kept::decode(&mut &bytes[..bytes.len() - 1]).is_err());
        }
    }
}
