//! What should not be done, and what then happens.

use std::fs;

use axum::body::Body;
use bytes::Bytes;
use futures::stream;
use hayrick_proxy::ProxyConfig;
use hayrick_service::config::ByteSize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::rig::{Rig, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn every_mistake_has_its_answer() {
    let rig = Rig::new().await;
    let long = format!("/photos/{}", "x".repeat(1025));
    for (method, path, status, code) in [
        ("GET", "/", 404, "NotFound"),
        ("GET", "/nowhere/x", 404, "NoSuchBucket"),
        ("PUT", "/nowhere/x", 404, "NoSuchBucket"),
        ("GET", "/photos/none", 404, "NoSuchObject"),
        ("GET", "/NoBucket/x", 400, "InvalidBucketName"),
        ("PUT", &long, 400, "InvalidName"),
        ("PUT", "/photos/%ff", 400, "InvalidName"),
        ("PATCH", "/photos/x", 405, "MethodNotAllowed"),
        ("DELETE", "/photos", 405, "MethodNotAllowed"),
    ] {
        let answer = rig.send(method, path, &[], "x").await;
        let error = answer.error();
        assert_eq!((answer.status, error.error.as_str()), (status, code), "{method} {path}");
        assert!(!error.message.is_empty() && !error.request_id.is_empty());
        assert_eq!(status == 405, !answer.header("allow").is_empty());
    }
    assert_eq!(rig.live_needles(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_large_is_said_before_the_body_is_read() {
    let config = ProxyConfig { max_object: ByteSize::mib(1), ..ProxyConfig::default() };
    let rig = Rig::with(config).await;
    let mut socket = TcpStream::connect(&rig.address).await.unwrap();
    let head = "PUT /photos/x HTTP/1.1\r\nHost: h\r\nContent-Length: 2000000\r\nExpect: 100-continue\r\n\r\n";
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    socket.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");

    // Without a length it shows on the way.
    let pieces = (0..20).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![1; 100_000])));
    assert_eq!(rig.put("/photos/x", Body::from_stream(stream::iter(pieces))).await.status, 413);
    assert_eq!(rig.get("/photos/x").await.status, 404);
    eventually("nothing left behind", || rig.live_needles() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_off_leaves_nothing_behind() {
    let rig = Rig::new().await;
    for (announced, sent) in [(1000, 10), (30_000_000, 20_000_000)] {
        let mut socket = TcpStream::connect(&rig.address).await.unwrap();
        let head =
            format!("PUT /photos/x HTTP/1.1\r\nHost: h\r\nContent-Length: {announced}\r\n\r\n");
        socket.write_all(head.as_bytes()).await.unwrap();
        socket.write_all(&vec![7; sent]).await.unwrap();
        drop(socket);
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        while rig.directory.garbage_len().await.unwrap() > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        eventually("nothing left behind", || rig.live_needles() == 0).await;
        assert_eq!(rig.get("/photos/x").await.status, 404);
    }
    assert!(rig.list("").await.objects.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_needle_is_never_served() {
    let rig = Rig::new().await;
    let data = vec![0xA5; 50_000];
    rig.put("/photos/x", data.clone()).await;
    rig.put("/photos/y", "fine").await;
    for file in rig.volume_files() {
        let mut bytes = fs::read(&file).unwrap();
        if let Some(at) = bytes.windows(100).position(|window| window == &data[..100]) {
            bytes[at + 30_000] ^= 1;
            fs::write(&file, bytes).unwrap();
        }
    }
    let answer = rig.get("/photos/x").await;
    assert_eq!((answer.status, answer.error().error.as_str()), (500, "Corrupt"));
    let part = rig.send("GET", "/photos/x", &[("range", "bytes=0-9")], Body::empty()).await;
    assert_eq!(part.status, 500);
    assert_eq!(rig.get("/photos/y").await.body, b"fine");
    let failed: u64 = rig.store.status().volumes.iter().map(|volume| volume.failed_reads).sum();
    assert_eq!(failed, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_uploads_hold_up_no_small_one_and_make_room_for_a_large_one() {
    let config = ProxyConfig { upload_memory: ByteSize::mib(32), ..ProxyConfig::default() };
    let rig = Rig::with(config).await;
    let mut silent = Vec::new();
    for _ in 0..8 {
        let mut socket = TcpStream::connect(&rig.address).await.unwrap();
        let head = "PUT /photos/slow HTTP/1.1\r\nHost: h\r\nContent-Length: 9000000\r\n\r\n";
        socket.write_all(head.as_bytes()).await.unwrap();
        // From here on it has memory for a whole chunk, or waits for that: there are three.
        socket.write_all(&vec![0; 100_000]).await.unwrap();
        silent.push(socket);
    }
    assert_eq!(rig.put("/photos/small", "x").await.status, 201);
    let mut large = rig.put("/photos/large", vec![1; 2_000_000]).await;
    while large.status == 503 {
        assert_eq!(large.header("retry-after"), "1");
        large = rig.put("/photos/large", vec![1; 2_000_000]).await;
    }
    assert_eq!(large.status, 201);
    let mut answer = [0; 12];
    silent[0].read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 503");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_answers_are_in_memory_than_there_may_be() {
    let config = ProxyConfig { download_memory: ByteSize::mib(1), ..ProxyConfig::default() };
    let rig = Rig::with(config).await;
    rig.put("/photos/big", vec![1; 20_000_000]).await;
    let mut unread = Vec::new();
    let busy = loop {
        let answer = rig.get("/photos/big").await;
        assert!(unread.len() <= 4, "256 KiB for each");
        if answer.status == 503 {
            break answer;
        }
        let mut socket = TcpStream::connect(&rig.address).await.unwrap();
        socket.write_all(b"GET /photos/big HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
        socket.read_exact(&mut [0; 1]).await.unwrap();
        unread.push(socket);
    };
    assert_eq!((busy.header("retry-after"), busy.error().error.as_str()), ("1", "Busy"));
    assert_eq!(unread.len(), 4);
    assert_eq!(rig.send("HEAD", "/photos/big", &[], Body::empty()).await.status, 200);
    drop(unread);
    while rig.get("/photos/big").await.status == 503 {}
}
