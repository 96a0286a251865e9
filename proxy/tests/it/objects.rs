//! Upload, download, list and delete.

use axum::body::Body;
use bytes::Bytes;
use futures::stream;

use crate::rig::{Rig, eventually, photo};

#[tokio::test(flavor = "multi_thread")]
async fn a_photo_goes_in_and_the_same_bytes_come_out() {
    let rig = Rig::new().await;
    let tom = photo("chelsea.jpg");
    let stored = rig.put("/photos/cats/tom.jpg", tom.clone()).await;
    assert_eq!(stored.status, 201);
    assert_eq!(stored.header("location"), "/photos/cats/tom.jpg");
    assert_eq!(stored.header("x-hayrick-needle").split(',').count(), 3);
    let etag = stored.header("etag").to_owned();
    assert!(etag.starts_with('"') && etag.ends_with('"'));

    let got = rig.get("/photos/cats/tom.jpg").await;
    assert!(got.status == 200 && got.body == tom);
    assert_eq!(got.header("content-type"), "image/jpeg");
    assert_eq!(got.header("etag"), etag);
    assert_eq!(got.header("x-content-type-options"), "nosniff");
    let head = rig.send("HEAD", "/photos/cats/tom.jpg", &[], Body::empty()).await;
    assert_eq!((head.status, head.header("content-length")), (200, tom.len().to_string().as_str()));

    let get = async |headers: &[(&str, &str)]| {
        rig.send("GET", "/photos/cats/tom.jpg", headers, Body::empty()).await
    };
    let modified = got.header("last-modified");
    assert_eq!(get(&[("if-none-match", &etag)]).await.status, 304);
    assert_eq!(get(&[("if-modified-since", modified)]).await.status, 304);
    let part = get(&[("range", "bytes=100-199")]).await;
    assert!(part.status == 206 && part.body == tom[100..200]);
    let parts = get(&[("range", "bytes=0-9,-10")]).await;
    assert_eq!(parts.status, 206);
    assert!(parts.header("content-type").starts_with("multipart/byteranges"));
    assert_eq!(get(&[("range", "bytes=99999999-")]).await.status, 416);

    assert_eq!(rig.delete("/photos/cats/tom.jpg").await.status, 204);
    assert_eq!(rig.get("/photos/cats/tom.jpg").await.status, 404);
    assert_eq!(rig.delete("/photos/cats/tom.jpg").await.status, 404);
    assert_eq!(rig.live_needles(), 0, "its tombstone is there when the answer is");
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_of_every_size_come_back() {
    const CHUNK: usize = 8 << 20;
    let rig = Rig::new().await;
    for size in [
        0,
        1,
        8,
        65_535,
        65_536,
        262_144,
        300_000,
        CHUNK - 1,
        CHUNK,
        CHUNK + 1,
        2 * CHUNK,
        20_000_001,
    ] {
        let data: Vec<u8> = (0..size).map(|at| (at * 7 + at / 251).to_le_bytes()[0]).collect();
        assert_eq!(
            rig.put("/photos/x", data.clone()).await.status,
            if size == 0 { 201 } else { 200 }
        );
        let got = rig.get("/photos/x").await;
        assert!(got.status == 200 && got.body == data, "{size} bytes");
        if size > CHUNK {
            let range = format!("bytes={}-{}", CHUNK - 10, CHUNK + 9.min(size - CHUNK - 1));
            let part = rig.send("GET", "/photos/x", &[("range", &range)], Body::empty()).await;
            assert!(
                part.body == data[CHUNK - 10..=CHUNK + 9.min(size - CHUNK - 1)],
                "{size} bytes, {range}"
            );
        }
    }
    // What was replaced is deleted in the background.
    eventually("replaced needles deleted", || rig.live_needles() == 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_without_a_length_is_streamed() {
    let rig = Rig::new().await;
    let pieces = (0..200u8).map(|at| Ok::<_, std::io::Error>(Bytes::from(vec![at; 100_000])));
    let stored = rig.put("/photos/stream", Body::from_stream(stream::iter(pieces))).await;
    assert_eq!(stored.status, 201);
    let got = rig.get("/photos/stream").await;
    assert_eq!(got.body.len(), 20_000_000);
    assert!(
        got.body
            .chunks(100_000)
            .zip(0..200u8)
            .all(|(piece, at)| piece.iter().all(|&byte| byte == at))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn any_utf8_is_a_name() {
    let rig = Rig::new().await;
    let names = [
        "a",
        "a/b/c",
        "/",
        "//x//",
        "..",
        "../../etc/passwd",
        "лето/кот.jpg",
        "日本",
        "a b+c%20",
        "a?b#c&d=e",
        "x@",
        "x@2x.png",
        "x@400w.webp",
        "@",
        "\u{0}\u{1}\n",
        "\u{1f63a}",
        &"n".repeat(1024),
        "\"<>'\\^`{|}",
    ];
    for name in names {
        let path = format!(
            "/photos/{}",
            percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC)
        );
        let stored = rig.put(&path, name.as_bytes().to_vec()).await;
        assert_eq!(stored.status, 201, "{name:?}");
        assert_eq!(rig.get(stored.header("location")).await.body, name.as_bytes(), "{name:?}");
    }
    let listing = rig.list("").await;
    let mut expected: Vec<_> = names.iter().map(ToString::to_string).collect();
    expected.sort();
    assert_eq!(listing.objects.into_iter().map(|object| object.name).collect::<Vec<_>>(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn listing_pages_and_folds() {
    let rig = Rig::new().await;
    for name in ["a/1", "a/2", "b/1", "c", "d"] {
        rig.put(&format!("/photos/{name}"), "x").await;
    }
    let top = rig.list("delimiter=/").await;
    assert_eq!(top.prefixes, ["a/", "b/"]);
    assert_eq!(
        top.objects.iter().map(|object| object.name.as_str()).collect::<Vec<_>>(),
        ["c", "d"]
    );
    let inner = rig.list("prefix=a/&delimiter=/").await;
    assert_eq!(inner.objects.len(), 2);
    assert_eq!((inner.objects[0].size_bytes, inner.next_cursor), (1, None));

    let (mut names, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = rig.list(&format!("limit=2&cursor={cursor}")).await;
        names.extend(page.objects.into_iter().map(|object| object.name));
        match page.next_cursor {
            Some(next) => cursor = next,
            None => break,
        }
    }
    assert_eq!(names, ["a/1", "a/2", "b/1", "c", "d"]);
    assert_eq!(rig.get("/photos?limit=0").await.status, 400);
    assert_eq!(rig.get("/photos?limit=x").await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_decide_who_wins() {
    let rig = Rig::new().await;
    let put = async |headers: &[(&str, &str)]| rig.send("PUT", "/photos/x", headers, "new").await;
    assert_eq!(put(&[("if-match", "*")]).await.status, 412);
    let first = put(&[("if-none-match", "*")]).await;
    assert_eq!(first.status, 201);
    assert_eq!(put(&[("if-none-match", "*")]).await.status, 412);
    let old = first.header("etag").to_owned();
    assert_eq!(put(&[("if-match", &old)]).await.status, 200);
    assert_eq!(put(&[("if-match", &old)]).await.status, 412);
    assert_eq!(
        rig.send("DELETE", "/photos/x", &[("if-match", &old)], Body::empty()).await.status,
        412
    );
    assert_eq!(rig.get("/photos/x").await.status, 200);
    eventually("leftovers deleted", || rig.live_needles() == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_uploader_said_comes_back() {
    let rig = Rig::new().await;
    let headers = [
        ("content-type", "text/html"),
        ("x-hayrick-meta-camera", "box"),
        ("x-hayrick-meta-a", "1"),
    ];
    rig.send("PUT", "/photos/page", &headers, "<p>").await;
    let got = rig.get("/photos/page").await;
    assert_eq!(
        (got.header("content-type"), got.header("x-hayrick-meta-camera")),
        ("text/html", "box")
    );
    assert!(got.header("content-security-policy").contains("sandbox"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_without_a_name_gets_its_digest_as_one() {
    let rig = Rig::new().await;
    let stored = rig.send("POST", "/photos", &[("content-type", "image/jpeg")], "abc").await;
    assert_eq!(stored.status, 201);
    let name = "/photos/a9993e364706816aba3e25717850c26c9cd0d89d.jpg";
    assert_eq!(stored.header("location"), name);
    assert_eq!(rig.get(name).await.body, b"abc");
}
