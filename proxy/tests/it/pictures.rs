//! Pictures through the door.

use axum::body::Body;
use hayrick_proxy::ProxyConfig;

use crate::rig::{Rig, photo};

fn size(picture: &[u8]) -> (u32, u32) {
    let decoded = hayrick_images::Probe::read(picture).unwrap();
    (decoded.size.width, decoded.size.height)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suffix_gives_another_picture() {
    let rig = Rig::new().await;
    rig.put("/photos/tom.jpg", photo("coffee.jpg")).await;
    let small = rig.get("/photos/tom.jpg@400w.webp").await;
    assert_eq!((small.status, small.header("content-type")), (200, "image/webp"));
    assert_eq!(size(&small.body), (400, 267));
    let square = rig.get("/photos/tom.jpg@100w_100h_1e_1c").await;
    assert_eq!((square.header("content-type"), size(&square.body)), ("image/jpeg", (100, 100)));

    let etag = small.header("etag");
    assert_ne!(etag, square.header("etag"), "each picture has its own entity tag");
    let again = rig
        .send("GET", "/photos/tom.jpg@400w.webp", &[("if-none-match", etag)], Body::empty())
        .await;
    assert_eq!(again.status, 304);
    let part = rig
        .send("GET", "/photos/tom.jpg@400w.webp", &[("range", "bytes=0-3")], Body::empty())
        .await;
    assert_eq!((part.status, &part.body[..]), (206, &b"RIFF"[..]));
    let head = rig.send("HEAD", "/photos/tom.jpg@400w.webp", &[], Body::empty()).await;
    assert_eq!(head.header("content-length"), small.body.len().to_string());

    // A new upload of the name shows in the picture at once.
    rig.put("/photos/tom.jpg", photo("chelsea.jpg")).await;
    assert_eq!(size(&rig.get("/photos/tom.jpg@400w.webp").await.body), (400, 266));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_of_that_very_name_wins() {
    let rig = Rig::new().await;
    rig.put("/photos/a.jpg", photo("coffee.jpg")).await;
    rig.put("/photos/a.jpg@100w", "no picture").await;
    assert_eq!(rig.get("/photos/a.jpg@100w").await.body, b"no picture");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_resized_says_why() {
    let rig = Rig::new().await;
    rig.put("/photos/a.jpg", photo("coffee.jpg")).await;
    rig.put("/photos/text.jpg", "this is no picture").await;
    rig.put("/photos/vector.svg", "<svg xmlns='http://www.w3.org/2000/svg'/>").await;
    rig.put("/photos/large.bin", vec![0; 21 << 20]).await;
    for (path, status, code, names) in [
        ("/photos/a.jpg@0w", 400, "InvalidArgument", "w"),
        ("/photos/a.jpg@101q", 400, "InvalidArgument", "q"),
        ("/photos/a.jpg@100x", 404, "NoSuchObject", ""),
        ("/photos/none.jpg@100w", 404, "NoSuchObject", ""),
        ("/photos/text.jpg@100w", 422, "Undecodable", ""),
        ("/photos/vector.svg@100w", 415, "UnsupportedSource", ""),
        ("/photos/large.bin@100w", 413, "ImageTooLarge", "bytes"),
    ] {
        let answer = rig.get(path).await;
        assert_eq!((answer.status, answer.error().error.as_str()), (status, code), "{path}");
        assert!(answer.error().message.contains(names), "{path}: {}", answer.error().message);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_pictures_than_wait_are_told_to_come_back() {
    let mut config = ProxyConfig::default();
    (config.image.threads, config.image.queue_len) = (1, 1);
    let rig = Rig::with(config).await;
    rig.put("/photos/big.jpg", photo("astronaut_4000x3000.jpg")).await;
    let asked = (0..12).map(async |at| rig.get(&format!("/photos/big.jpg@{}w", 100 + at)).await);
    let answers = futures::future::join_all(asked).await;
    let (done, busy): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|answer| answer.status == 200);
    assert!(!done.is_empty() && !busy.is_empty());
    for answer in busy {
        assert_eq!((answer.status, answer.header("retry-after")), (429, "1"));
    }
    assert_eq!(rig.get("/photos/big.jpg@100w").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_animation_of_too_many_frames_says_that_it_stands_still() {
    let mut config = ProxyConfig::default();
    let moving = include_bytes!("../../../testdata/animation.gif");
    for (max_frames, told) in [(100, ""), (1, "dropped")] {
        config.image.max_frames = max_frames;
        let rig = Rig::with(config.clone()).await;
        rig.put("/photos/a.gif", &moving[..]).await;
        // Made, and as it was kept.
        for _ in 0..2 {
            let answer = rig.get("/photos/a.gif@").await;
            assert_eq!(answer.status, 200);
            assert_eq!(answer.header("x-hayrick-animation"), told);
        }
    }
}

async fn made(rig: &Rig, path: &str) -> Vec<u8> {
    let answer = rig.get(path).await;
    assert_eq!(answer.status, 200, "{path}");
    answer.body
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_is_kept_and_never_outlives_its_object() {
    let rig = Rig::new().await;
    let path = "/photos/tom.jpg@120w.webp";
    rig.put("/photos/tom.jpg", photo("coffee.jpg")).await;
    let first = made(&rig, path).await;
    // Found without a look at the store: the volume's bytes are gone by now.
    for file in rig.volume_files() {
        let file = std::fs::File::options().write(true).open(file).unwrap();
        file.set_len(4096).unwrap();
    }
    assert_eq!(made(&rig, path).await, first);
    assert_eq!(
        made(&rig, "/photos/tom.jpg@120W_75p_100p.webp").await,
        first,
        "the same, in other words"
    );
    assert_eq!(rig.get("/photos/tom.jpg@121w.webp").await.status, 500, "this one was never made");
    rig.delete("/photos/tom.jpg").await;
    assert_eq!(rig.get(path).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_upload_is_never_answered_with_the_old_picture() {
    let rig = Rig::new().await;
    let path = "/photos/tom.jpg@64w.png";
    let mut before = Vec::new();
    for name in ["coffee.jpg", "chelsea.jpg", "coffee.jpg"] {
        rig.put("/photos/tom.jpg", photo(name)).await;
        let now = made(&rig, path).await;
        assert_ne!(now, before, "{name}");
        assert_eq!(made(&rig, path).await, now);
        before = now;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_many_ask_for_at_once_is_made_once() {
    let mut config = ProxyConfig::default();
    // Room for one piece of work, and for one that waits.
    (config.image.threads, config.image.queue_len) = (1, 1);
    let rig = Rig::with(config).await;
    rig.put("/photos/big.jpg", photo("astronaut_4000x3000.jpg")).await;
    let asked = (0..40).map(async |_| made(&rig, "/photos/big.jpg@100w").await);
    let answers = futures::future::join_all(asked).await;
    assert!(answers.iter().all(|answer| *answer == answers[0]));
}
