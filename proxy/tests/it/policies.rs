//! What buckets let be made of their pictures.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use hayrick_directory::ImagePolicy;
use hayrick_images::{Info, Probe};
use hayrick_proxy::token::{Claim, sign};

use crate::rig::{Answer, Rig, photo};

fn size(answer: &Answer) -> (u32, u32) {
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    let size = Probe::read(&answer.body).unwrap().size;
    (size.width, size.height)
}

/// A bucket `photos` that anybody may use, with `tom.jpg` in it, 600x400.
async fn rig(policy: &str) -> Rig {
    let rig = Rig::new().await;
    let policy: ImagePolicy = serde_json::from_str(policy).unwrap();
    policy.check().unwrap();
    rig.directory.set_images(&"photos".parse().unwrap(), policy).await.unwrap();
    rig.put("/photos/tom.jpg", photo("coffee.jpg")).await;
    rig
}

async fn refused(rig: &Rig, path: &str) -> (u16, String) {
    let answer = rig.get(path).await;
    (answer.status, answer.error().error)
}

#[tokio::test(flavor = "multi_thread")]
async fn presets_are_served_and_others_if_the_bucket_lets_them() {
    let rig = rig(
        r#"{"presets":{"avatar":"96w_96h_1c.webp"},"presets_only":true,"unknown_presets":"refuse"}"#,
    )
    .await;
    let avatar = rig.get("/photos/tom.jpg@!avatar").await;
    assert_eq!((size(&avatar), avatar.header("content-type")), ((96, 96), "image/webp"));
    assert_eq!(rig.get("/photos/tom.jpg@%21Avatar.png").await.header("content-type"), "image/png");
    assert_eq!(refused(&rig, "/photos/tom.jpg@96w").await, (403, "PresetsOnly".into()));
    assert_eq!(refused(&rig, "/photos/tom.jpg@!other").await, (404, "NoSuchPreset".into()));
    assert_eq!(rig.get("/photos/tom.jpg").await.status, 200);

    // Changed for everybody at once, and no picture of before is served.
    let wider = r#"{"presets":{"avatar":"120w_60h_1c.webp"},"sizes":["50x"]}"#;
    let name = "photos".parse().unwrap();
    rig.directory.set_images(&name, serde_json::from_str(wider).unwrap()).await.unwrap();
    assert_eq!(size(&rig.get("/photos/tom.jpg@!avatar").await), (120, 60));
    assert_eq!(size(&rig.get("/photos/tom.jpg@50w").await), (50, 33));
    assert_eq!(refused(&rig, "/photos/tom.jpg@51w").await, (403, "SizeNotAllowed".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn other_pictures_than_presets_may_need_a_signature() {
    let rig = rig(r#"{"presets":{"small":"50w"},"signed":true}"#).await;
    let key = rig.directory.create_access_key(&"photos".parse().unwrap()).await.unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let expire = (now + Duration::from_mins(1)).as_secs();
    let token = |name: &str, expire| {
        let claim = Claim { method: "GET", bucket: "photos", name };
        format!("?token={}", sign(&key.id, key.secret.expose(), claim, expire))
    };
    let path = "/photos/tom.jpg@400w_300h_1c.webp";
    let signed = token("tom.jpg@400w_300h_1c.webp", expire);
    assert_eq!(size(&rig.get(&format!("{path}{signed}")).await), (400, 300));
    assert_eq!(size(&rig.get("/photos/tom.jpg@!small").await), (50, 33));
    assert_eq!(rig.get("/photos/tom.jpg").await.status, 200);
    let denied = (403, "SignatureDoesNotMatch".to_owned());
    for query in [
        String::new(),
        token("tom.jpg", expire),
        token("tom.jpg@400w_300h_1c", expire),
        token("tom.jpg@400w_300h_1c.webp", now.as_secs() - 1),
        signed.replace(&key.id, "nobody"),
    ] {
        assert_eq!(refused(&rig, &format!("{path}{query}")).await, denied, "{query}");
    }
    let other = format!("/photos/tom.jpg@401w_300h_1c.webp{signed}");
    assert_eq!(refused(&rig, &other).await, denied);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_gets_the_format_that_it_takes() {
    let rig = rig(r#"{"negotiate":["webp"],"presets":{"small":"50w"}}"#).await;
    let ask = async |path: &str, accept: &str| {
        rig.send("GET", path, &[("accept", accept)], Body::empty()).await
    };
    for path in ["/photos/tom.jpg@100w", "/photos/tom.jpg@!small"] {
        let modern = ask(path, "image/webp,*/*").await;
        assert_eq!(
            (modern.header("content-type"), modern.header("vary")),
            ("image/webp", "Accept")
        );
        let older = ask(path, "*/*").await;
        assert_eq!((older.header("content-type"), older.header("vary")), ("image/jpeg", "Accept"));
        assert_ne!(modern.header("etag"), older.header("etag"));
        let again = [("accept", "image/webp"), ("if-none-match", modern.header("etag"))];
        let again = rig.send("GET", path, &again, Body::empty()).await;
        assert_eq!((again.status, again.header("vary")), (304, "Accept"));
    }
    let named = ask("/photos/tom.jpg@100w.png", "image/webp").await;
    assert_eq!((named.header("content-type"), named.header("vary")), ("image/png", ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_object_may_stand_in_for_its_picture() {
    let rig = rig(r#"{"on_error":"original"}"#).await;
    rig.put("/photos/text.jpg", "this is no picture").await;
    rig.put("/photos/large.bin", vec![0; 21 << 20]).await;
    let answer = rig.get("/photos/text.jpg@100w.webp").await;
    assert_eq!((answer.status, &answer.body[..]), (200, &b"this is no picture"[..]));
    assert_eq!(answer.header("x-hayrick-image"), "passthrough");
    assert_eq!(answer.header("cache-control"), "max-age=60");
    let conditions = [("if-none-match", answer.header("etag"))];
    let again = rig.send("GET", "/photos/text.jpg@100w.webp", &conditions, Body::empty()).await;
    assert_eq!(again.status, 304);
    // Limits and wrong requests are told as ever.
    assert_eq!(refused(&rig, "/photos/large.bin@100w").await, (413, "ImageTooLarge".into()));
    assert_eq!(refused(&rig, "/photos/text.jpg@0w").await, (400, "InvalidArgument".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn sizes_of_the_first_image_server_are_read_where_wanted() {
    let rig = rig(r#"{"legacy_sizes":true}"#).await;
    rig.put("/photos/text.jpg", "this is no picture").await;
    assert_eq!(size(&rig.get("/photos/tom.jpg_100x100.jpg").await), (100, 100));
    assert_eq!(size(&rig.get("/photos/tom.jpg_0x100.jpg").await), (150, 100));
    assert_eq!(size(&rig.get("/photos/tom.jpg_700x100.jpg").await), (600, 400));
    assert_eq!(refused(&rig, "/photos/tom.jpg_0x0.jpg").await.0, 404);
    assert_eq!(refused(&rig, "/photos/none.jpg_100x100.jpg").await.0, 404);
    let text = rig.get("/photos/text.jpg_100x100.jpg").await;
    assert_eq!((text.status, text.header("x-hayrick-image")), (200, "passthrough"));
    let elsewhere = Rig::new().await;
    elsewhere.put("/photos/tom.jpg", photo("coffee.jpg")).await;
    assert_eq!(refused(&elsewhere, "/photos/tom.jpg_100x100.jpg").await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_focus_stored_with_the_object_stays_in_view() {
    let rig = Rig::new().await;
    let mut seen = Vec::new();
    for focus in ["0,0.5", "1,0.5", "0.5,0.5"] {
        let headers = [("x-hayrick-meta-focus", focus)];
        rig.send("PUT", "/photos/tom.jpg", &headers, photo("coffee.jpg")).await;
        let picture = rig.get("/photos/tom.jpg@100w_100h_1c.png").await;
        assert_eq!(size(&picture), (100, 100));
        assert!(!seen.contains(&picture.body), "{focus}");
        seen.push(picture.body);
    }
    rig.put("/photos/plain.jpg", photo("coffee.jpg")).await;
    assert_eq!(rig.get("/photos/plain.jpg@100w_100h_1c.png").await.body, seen[2]);
    let headers = [("x-hayrick-meta-focus", "left")];
    let answer = rig.send("PUT", "/photos/tom.jpg", &headers, "x").await;
    assert_eq!((answer.status, answer.error().error.as_str()), (400, "InvalidArgument"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_picture_is_is_told() {
    let rig = Rig::new().await;
    rig.put("/photos/tom.jpg", photo("coffee.jpg")).await;
    let answer = rig.get("/photos/tom.jpg?info").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    let info: Info = answer.json();
    assert_eq!((info.format.as_str(), info.width, info.height), ("jpeg", 600, 400));
    let conditions = [("if-none-match", answer.header("etag"))];
    let again = rig.send("GET", "/photos/tom.jpg?info", &conditions, Body::empty()).await;
    assert_eq!(again.status, 304);
    rig.put("/photos/a.txt", "text").await;
    assert_eq!(refused(&rig, "/photos/a.txt?info").await, (422, "Undecodable".into()));
    assert_eq!(refused(&rig, "/photos/none?info").await.0, 404);
    assert_eq!(size(&rig.get("/photos/tom.jpg@60w?info").await), (60, 40), "of an object only");
}

/// Whether a picture made ahead outlives the bytes of its object, when it was given so long.
async fn is_made_within(time: Duration) -> bool {
    let rig = rig(r#"{"presets":{"small":"50w.webp"},"pregenerate":["small"]}"#).await;
    tokio::time::sleep(time).await;
    for file in rig.volume_files() {
        std::fs::File::options().write(true).open(file).unwrap().set_len(4096).unwrap();
    }
    assert_eq!(rig.get("/photos/tom.jpg@51w.webp").await.status, 500, "nobody asked for this one");
    rig.get("/photos/tom.jpg@!small").await.status == 200
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_are_made_ahead() {
    for millis in [100, 500, 2_500, 12_500] {
        if is_made_within(Duration::from_millis(millis)).await {
            return;
        }
    }
    panic!("no picture was made ahead");
}
