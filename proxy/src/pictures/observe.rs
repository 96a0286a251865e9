//! What `/metrics` tells of pictures.

use hayrick_images::{ImageError, Made, PoolLoad};
use metrics::{counter, gauge, histogram};

use super::NoPicture;

/// Where a picture came from: `memory`, `disk`, `made`, or `shared` with somebody for whom it was
/// being made already.
pub(super) fn count(from: &'static str) {
    counter!("hayrick_proxy_pictures_total", "from" => from).increment(1);
}

/// Where the time of a picture went. Formats are the source's for reading, else the picture's.
pub(super) fn took(made: &Made) {
    let Made { output, source, stages } = made;
    let (from, to) = (source.to_string(), output.format.extension());
    for (stage, format, time) in [
        ("wait", to, stages.waited),
        ("decode", from.as_str(), stages.decoding),
        ("resize", to, stages.resizing),
        ("encode", to, stages.encoding),
    ] {
        let labels = [("stage", stage.to_owned()), ("format", format.to_owned())];
        histogram!("hayrick_proxy_picture_seconds", &labels).record(time.as_secs_f64());
    }
}

/// Why there was no picture.
pub(super) fn failed(error: &NoPicture) {
    let reason = match error {
        NoPicture::Source(_) => "store",
        NoPicture::Image(error) => match error {
            ImageError::InvalidArgument(_) => "argument",
            ImageError::NotAnImage => "not_an_image",
            ImageError::Undecodable { .. } => "undecodable",
            ImageError::UnsupportedSource { .. } => "unsupported",
            ImageError::TooLarge { .. } => "too_large",
            ImageError::Busy => "busy",
            ImageError::Timeout => "timeout",
            ImageError::Stopped => "stopped",
            ImageError::Internal { .. } => "internal",
        },
    };
    counter!("hayrick_proxy_pictures_failed_total", "reason" => reason).increment(1);
}

/// How busy the image threads are.
#[expect(clippy::cast_precision_loss, reason = "a metric")]
pub(super) fn load(load: PoolLoad) {
    gauge!("hayrick_proxy_pictures_waiting").set(load.queued as f64);
    gauge!("hayrick_proxy_pictures_running").set(load.running as f64);
    gauge!("hayrick_proxy_pictures_memory_bytes").set(load.memory_bytes as f64);
}
