use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use super::photos::photo;
use super::*;

fn options(queue: usize, deadline: Duration) -> PoolOptions {
    PoolOptions {
        threads: NonZeroUsize::MIN,
        queue_limit: NonZeroUsize::new(queue).unwrap(),
        deadline,
        ..PoolOptions::default()
    }
}

#[tokio::test]
async fn pictures_are_made_on_other_threads() {
    let imager = Imager::start(Settings::default(), PoolOptions::default()).unwrap();
    let source: Arc<[u8]> = photo("coffee.jpg").into();
    let suffix = Suffix::parse("120w.webp").unwrap();
    let Made { output, source: format, stages } =
        imager.transform(Arc::clone(&source), suffix.clone()).await.unwrap();
    assert_eq!((output.width, output.height, format), (120, 80, SourceFormat::Jpeg));
    assert!(![stages.decoding, stages.resizing, stages.encoding].contains(&Duration::ZERO));
    assert_eq!(run(&source, "120w.webp"), Ok(output));

    assert_eq!(imager.transform(b"text", suffix.clone()).await, Err(ImageError::NotAnImage));
    imager.shutdown();
    assert_eq!(imager.transform(source, suffix).await, Err(ImageError::Stopped));
}

#[tokio::test]
async fn a_storm_is_answered_with_busy() {
    let imager =
        Arc::new(Imager::start(Settings::default(), options(2, Duration::from_mins(1))).unwrap());
    let source: Arc<[u8]> = photo("hubble_deep_field.jpg").into();
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..12 {
        let (imager, source) = (Arc::clone(&imager), Arc::clone(&source));
        requests.spawn(async move { imager.transform(source, Suffix::default()).await });
    }
    let results = requests.join_all().await;
    let busy = results.iter().filter(|result| **result == Err(ImageError::Busy)).count();
    let done = results.iter().filter(|result| result.is_ok()).count();
    assert!(busy >= 1 && done >= 2 && busy + done == 12, "{busy} busy, {done} done");
    assert_eq!((imager.load().queued, imager.load().queue_limit), (0, 2));
}

#[test]
fn a_bad_setting_stops_the_start() {
    let settings = Settings { webp_method: 7, ..Settings::default() };
    let error = Imager::start(settings, PoolOptions::default()).err().unwrap();
    assert_eq!(error.to_string(), "`webp_method` is 7, but must be 0 to 6");
}

#[tokio::test]
async fn a_late_picture_is_no_picture() {
    let imager = Imager::start(Settings::default(), options(2, Duration::from_millis(1))).unwrap();
    let source = photo("astronaut_4000x3000.jpg");
    let late = imager.transform(source, Suffix::default()).await;
    assert_eq!(late, Err(ImageError::Timeout));
}

#[tokio::test]
async fn a_picture_larger_than_memory_is_too_large() {
    let tight = PoolOptions { memory_bytes: 8 << 20, ..options(2, Duration::from_mins(1)) };
    let imager = Imager::start(Settings::default(), tight).unwrap();
    let suffix = Suffix::parse("40w").unwrap();
    let large = imager.transform(photo("astronaut_4000x3000.jpg"), suffix.clone()).await;
    let Err(ImageError::TooLarge { what: Measure::MemoryBytes, got, limit }) = large else {
        panic!("{large:?}");
    };
    assert!(got > 36_000_000 && limit == 8 << 20, "{got} of {limit}");
    assert!(imager.transform(photo("astronaut.jpg"), suffix).await.is_ok());
    assert_eq!(imager.load().memory_bytes, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_gets_the_same_bytes_as_one() {
    let crowded = PoolOptions {
        threads: NonZeroUsize::new(4).unwrap(),
        memory_bytes: 24 << 20,
        ..options(64, Duration::from_mins(1))
    };
    let imager = Arc::new(Imager::start(Settings::default(), crowded).unwrap());
    let sources =
        ["coffee.jpg", "chelsea.png", "rocket.jpg"].map(|name| Arc::<[u8]>::from(photo(name)));
    let mut requests = tokio::task::JoinSet::new();
    for round in 0..3 {
        for source in &sources {
            for text in ["99w.jpg", "80w_80h_1c.webp", "50w.png", "40w.gif"] {
                let (imager, source) = (Arc::clone(&imager), Arc::clone(source));
                requests.spawn(async move {
                    let suffix = Suffix::parse(text).unwrap();
                    let output = imager.transform(Arc::clone(&source), suffix).await;
                    let output = output.map(|made| made.output);
                    assert_eq!(output, run(&source, text), "{round} {text}");
                });
            }
        }
    }
    requests.join_all().await;
    assert_eq!(imager.load().memory_bytes, 0);
}
