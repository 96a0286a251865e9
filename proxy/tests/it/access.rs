//! Private buckets and tokens.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Body;
use hayrick_directory::Access::{Private, Public};
use hayrick_directory::AccessKey;
use hayrick_proxy::token::{Claim, sign};

use crate::rig::{Rig, photo};

fn soon() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 60
}

fn token(key: &AccessKey, method: &str, name: &str, expire: u64) -> String {
    sign(&key.id, key.secret.expose(), Claim { method, bucket: key.bucket.as_str(), name }, expire)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_bucket_opens_to_tokens_only() {
    let rig = Rig::new().await;
    let bucket = rig.bucket("secret", Private, Private).await;
    let other = rig.bucket("other", Private, Private).await;
    let key = rig.directory.create_access_key(&bucket).await.unwrap();
    let foreign = rig.directory.create_access_key(&other).await.unwrap();
    let send = async |method: &str, token: &str| {
        let headers = [("authorization", token)];
        rig.send(method, "/secret/a.jpg", &headers, photo("coffee.jpg")).await.status
    };
    let good = token(&key, "PUT", "a.jpg", soon());
    assert_eq!(rig.put("/secret/a.jpg", "x").await.status, 401);
    assert_eq!(send("PUT", &good).await, 201);
    for bad in [
        token(&key, "PUT", "a.jpg", 1_000_000),
        token(&key, "GET", "a.jpg", soon()),
        token(&key, "PUT", "b.jpg", soon()),
        token(&foreign, "PUT", "a.jpg", soon()),
        good.replace(&key.id, "nobody"),
        "nonsense".to_owned(),
        format!("{}:AAAA:{}", key.id, soon()),
    ] {
        assert_eq!(send("PUT", &bad).await, 401, "{bad}");
    }

    assert_eq!(rig.get("/secret/a.jpg").await.status, 401);
    let read = token(&key, "GET", "a.jpg", soon());
    let path = format!("/secret/a.jpg?token={read}");
    let got = rig.get(&path).await;
    assert_eq!((got.status, got.header("cache-control")), (200, "private, no-cache"));
    assert_eq!(rig.send("HEAD", &path, &[], Body::empty()).await.status, 200);
    assert_eq!(rig.get(&format!("/secret/a.jpg@100w?token={read}")).await.status, 200);
    // Where it is no picture, a name that looks like one's is another object's.
    let older = "/secret/a.jpg_10x10.jpg";
    let put = token(&key, "PUT", "a.jpg_10x10.jpg", soon());
    assert_eq!(rig.put(&format!("{older}?token={put}"), "hidden").await.status, 201);
    assert_eq!(rig.get(&format!("{older}?token={read}")).await.status, 401);
    assert_eq!(rig.get("/secret").await.status, 401);
    let list = token(&key, "GET", "", soon());
    assert_eq!(rig.get(&format!("/secret?token={list}")).await.status, 200);

    rig.directory.remove_access_key(&key.id).await.unwrap();
    assert_eq!(rig.get(&path).await.status, 401, "a removed key opens nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_and_writing_are_opened_apart() {
    let rig = Rig::new().await;
    rig.bucket("gallery", Public, Private).await;
    rig.bucket("dropbox", Private, Public).await;
    assert_eq!(rig.put("/gallery/x", "x").await.status, 401);
    assert_eq!(rig.get("/gallery/x").await.status, 404);
    assert_eq!(rig.delete("/gallery/x").await.status, 401);
    assert_eq!(rig.put("/dropbox/x", "x").await.status, 201);
    assert_eq!(rig.get("/dropbox/x").await.status, 401);
}
