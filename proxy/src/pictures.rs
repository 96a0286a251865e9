//! Pictures that were made, so that they are made once.
//!
//! A picture is found by the version of the object that it is made of, by what is asked of it in its
//! shortest form, and by all settings that change its bytes. So a new upload, a removal or a new
//! setting never meets an old picture: what nobody asks for any more is forgotten in time. Whoever
//! asks for one that is being made waits for it; when nobody waits any more, it is given up.
//!
//! What memory has no room for goes to a directory, if there is one. Both are caches: a picture
//! that is lost, or damaged on its disk, is made again.

mod in_flight;
mod kept;
mod observe;

use std::sync::Arc;

use bytes::Bytes;
use foyer::Source;
use futures::FutureExt as _;
use hayrick_directory::Row;
use hayrick_store::StoreError;

use crate::Proxy;
use hayrick_images::{ENCODER_EPOCH, ImageError, Made, Output, OutputFormat, Settings, Suffix};
use in_flight::InFlight;
pub use kept::KeepError;
pub(crate) use kept::{KeepOptions, MIN_DISK_BYTES};
use kept::{Kept, KeptPictures};

/// A finished picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Picture {
    pub(crate) format: OutputFormat,
    pub(crate) bytes: Bytes,
    /// Whether it is the first frame of an animation that is too long to stay one.
    pub(crate) animation_dropped: bool,
}

/// Why there is no picture.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum NoPicture {
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The object could not be read.
    #[error(transparent)]
    Source(#[from] StoreError),
}

/// Pictures that are kept, and those being made.
pub(crate) struct Pictures {
    kept: Option<KeptPictures>,
    being_made: InFlight<Result<Picture, NoPicture>>,
    fingerprint: u32,
}

impl Pictures {
    pub(crate) async fn open(keep: &KeepOptions, settings: &Settings) -> Result<Self, KeepError> {
        let kept = KeptPictures::open(keep).await?;
        Ok(Self { kept, being_made: InFlight::default(), fingerprint: fingerprint(settings) })
    }

    /// Whether a picture that is made is there for whoever asks next.
    pub(crate) const fn are_kept(&self) -> bool {
        self.kept.is_some()
    }

    /// Names a picture for all time, and differs wherever its bytes may.
    pub(crate) fn operation(&self, suffix: &Suffix) -> String {
        format!("{}-{:08x}", suffix.canonical(), self.fingerprint)
    }

    async fn find(&self, key: &String) -> Option<Picture> {
        let kept = self.kept.as_ref()?.find(key).await?;
        observe::count(if kept.source() == Source::Disk { "disk" } else { "memory" });
        Some(kept.value().picture())
    }

    fn keep(&self, key: String, picture: &Picture) {
        if let Some(kept) = &self.kept {
            kept.keep(key, Kept::new(picture));
        }
    }

    /// Writes what is to be found again after a restart.
    pub(crate) async fn close(&self) {
        if let Some(kept) = &self.kept {
            kept.close().await;
        }
    }
}

impl Proxy {
    /// The picture that `suffix` asks for of the object with this row.
    pub(crate) async fn picture(
        self: &Arc<Self>,
        row: &Arc<Row>,
        suffix: Suffix,
    ) -> Result<Picture, NoPicture> {
        self.imager.settings().limits.check_bytes(row.size_bytes)?;
        // An object without needles has no bytes, and is no picture.
        let first = row.needles.first().ok_or(ImageError::NotAnImage)?;
        let operation = self.pictures.operation(&suffix);
        let key = format!("{:x}-{}-{operation}", row.version, first.id);
        if let Some(picture) = self.pictures.find(&key).await {
            return Ok(picture);
        }
        let mut is_new = false;
        let make = || {
            is_new = true;
            let (proxy, row, key) = (Arc::clone(self), Arc::clone(row), key.clone());
            async move { proxy.make_picture(&row, suffix, key).await }.boxed()
        };
        let picture = self.pictures.being_made.join(&key, make).await;
        if picture.is_ok() {
            observe::count(if is_new { "made" } else { "shared" });
        }
        picture
    }

    async fn make_picture(
        self: Arc<Self>,
        row: &Row,
        suffix: Suffix,
        key: String,
    ) -> Result<Picture, NoPicture> {
        let made = self.make(row, suffix).await.inspect_err(observe::failed);
        observe::load(self.imager.load());
        let made = made?;
        observe::took(&made);
        let Output { format, bytes, animation_dropped, .. } = made.output;
        let picture = Picture { format, bytes: bytes.into(), animation_dropped };
        self.pictures.keep(key, &picture);
        Ok(picture)
    }

    async fn make(self: &Arc<Self>, row: &Row, suffix: Suffix) -> Result<Made, NoPicture> {
        // Taken before the source is read: what waits for a thread waits in memory.
        let _slot = self.image_slots.try_acquire().map_err(|_| ImageError::Busy)?;
        let source = self.load_object(row).await?;
        Ok(self.imager.transform(source, suffix).await?)
    }
}

/// Changes with the encoders and with every setting that they obey.
fn fingerprint(settings: &Settings) -> u32 {
    crc32fast::hash(format!("{ENCODER_EPOCH} {settings:?}").as_bytes())
}

#[cfg(test)]
mod tests {
    use hayrick_images::Averaging;

    use super::*;

    #[test]
    fn other_settings_make_other_pictures() {
        let usual = Settings::default();
        let better = Settings { jpeg_quality: 90, ..usual };
        assert_eq!(fingerprint(&usual), fingerprint(&usual.clone()));
        assert_ne!(fingerprint(&usual), fingerprint(&better));
        let faster = Settings { averaging: Averaging::Values, ..usual };
        assert_ne!(fingerprint(&usual), fingerprint(&faster));
    }
}
