//! The real binary, from an empty folder through everything a day brings: uploads, pictures,
//! deletes, compaction, `kill -9` in the middle of writing, and a restart that finds all
//! that was acknowledged and nothing that was deleted.

#![expect(clippy::unwrap_used, reason = "a test may fail by panic")]

mod server;
mod world;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream;
use server::Server;
use world::World;

fn photos() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/photos");
    let mut photos: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    photos.retain(|path| {
        path.extension().is_some_and(|extension| extension == "jpg" || extension == "png")
    });
    photos.sort();
    assert!(photos.len() >= 8);
    photos
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_in_the_life() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let world = Arc::new(World::default());

    upload_photos(&server, &world).await;
    resize_photos(&server).await;
    let names: Vec<_> = (0..10_000).map(|number| format!("small/{number}")).collect();
    world.put_all(&server, &names).await;
    world.check(&server).await;

    let third: Vec<_> = names.iter().step_by(3).cloned().collect();
    world.delete_all(&server, &third).await;
    let before = server.volume_bytes().await;
    server.compact_all().await;
    let after = server.volume_bytes().await;
    assert!(after < before, "compaction gave nothing back: {before} to {after} bytes");
    world.check(&server).await;

    let server = killed_while_writing(server, &world).await;
    world.check(&server).await;
    server.verify_all().await;
    server.stop().await;
}

async fn upload_photos(server: &Server, world: &World) {
    for path in photos() {
        let name = format!("album/{}", path.file_name().unwrap().to_str().unwrap());
        world.put(server, &name, fs::read(&path).unwrap()).await;
    }
}

/// Each picture as jpeg, png and webp, decoded again.
async fn resize_photos(server: &Server) {
    for path in photos() {
        let (width, height) = image::image_dimensions(&path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        for format in ["jpg", "png", "webp"] {
            let answer = server.get(&format!("album/{name}@200w.{format}")).await.unwrap();
            let picture = image::load_from_memory(&answer).unwrap();
            let high = (f64::from(height) * 200.0 / f64::from(width)).round();
            assert_eq!(
                (picture.width(), f64::from(picture.height())),
                (200, high),
                "{name} as {format}"
            );
        }
    }
}

/// Kills the process, again and again, while 16 clients write and delete.
async fn killed_while_writing(mut server: Server, world: &Arc<World>) -> Server {
    for round in 0..5 {
        let shared = Arc::new(server);
        let clients = stream::iter(0..16).for_each_concurrent(16, |client| {
            let (server, world) = (Arc::clone(&shared), Arc::clone(world));
            async move { write_until_it_dies(&server, &world, round, client).await }
        });
        let kill = async {
            tokio::time::sleep(Duration::from_millis(300 + 150 * round)).await;
            shared.kill();
        };
        tokio::join!(clients, kill);
        let dead = Arc::into_inner(shared).unwrap();
        server = dead.start_again().await;
        world.check(&server).await;
    }
    server
}

async fn write_until_it_dies(server: &Server, world: &World, round: u64, client: u64) {
    for number in 0.. {
        let name = format!("round{round}/{client}/{number}");
        if !world.try_put(server, &name).await {
            return;
        }
        if number % 4 == 3 && !world.try_delete(server, &name).await {
            return;
        }
    }
}

/// 300 MB go in and out in pieces; the process never has a large part of them in memory.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_object_takes_little_memory() {
    const SIZE: usize = 300_000_000;
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let idle = server.peak_memory_bytes();
    let piece = |at: usize| world::bytes_for(&at.to_string(), 1_000_000);
    let pieces =
        stream::iter((0..SIZE / 1_000_000).map(move |at| Ok::<_, std::io::Error>(piece(at))));
    let stored = server.put_body("large", axum::body::Body::from_stream(pieces)).await;
    assert!(stored.is_ok(), "{stored:?}");
    let got = server.get("large").await.unwrap();
    assert_eq!(got.len(), SIZE);
    assert!(got.chunks(1_000_000).enumerate().all(|(at, chunk)| chunk == piece(at)));
    let grown = server.peak_memory_bytes() - idle;
    println!("300 MB in and out took {} MiB of memory", grown >> 20);
    assert!(grown < 96 << 20, "300 MB in and out took {} MiB", grown >> 20);
    server.stop().await;
}
