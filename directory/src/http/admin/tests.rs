use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use serde::de::DeserializeOwned;
use serde_json::json;
use tower::ServiceExt as _;

use super::*;
use crate::DirectoryConfig;
use crate::testing::FakeStores;

struct Admin {
    _folder: tempfile::TempDir,
    directory: Directory,
    router: Router,
}

impl Admin {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let stores = FakeStores::new(&["a"]);
        let config = DirectoryConfig::default();
        let directory = Directory::open_embedded(folder.path(), stores, config).await.unwrap();
        let router = router(directory.clone());
        Self { _folder: folder, directory, router }
    }

    async fn ask(&self, method: &str, path: &str, body: serde_json::Value) -> (u16, Vec<u8>) {
        let request = Request::builder().method(method).uri(path);
        let request = request.header("content-type", "application/json");
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let response = self.router.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        (status, response.into_body().collect().await.unwrap().to_bytes().to_vec())
    }

    async fn json<T: DeserializeOwned>(&self, method: &str, path: &str) -> T {
        let (status, body) = self.ask(method, path, json!(null)).await;
        assert!((200..300).contains(&status), "{status}");
        serde_json::from_slice(&body).unwrap()
    }

    async fn refused(&self, method: &str, path: &str, body: serde_json::Value) -> (u16, String) {
        let (status, body) = self.ask(method, path, body).await;
        let body = serde_json::from_slice::<serde_json::Value>(&body);
        let code = body.map(|body| body["error"].as_str().unwrap_or_default().to_owned());
        (status, code.unwrap_or_default())
    }
}

#[tokio::test]
async fn a_bucket_is_made_changed_and_removed() {
    let admin = Admin::new().await;
    let (status, body) =
        admin.ask("POST", "/directory/buckets", json!({"name": "cats", "read": "public"})).await;
    assert_eq!(status, 201);
    let bucket: Bucket = serde_json::from_slice(&body).unwrap();
    assert_eq!((bucket.read, bucket.write, bucket.copies), (Access::Public, Access::Private, 1));
    assert_eq!(admin.json::<Vec<Bucket>>("GET", "/directory/buckets").await, vec![bucket]);
    let (_, body) = admin.ask("PATCH", "/directory/buckets/cats", json!({"write": "public"})).await;
    let changed: Bucket = serde_json::from_slice(&body).unwrap();
    assert_eq!((changed.read, changed.write), (Access::Public, Access::Public));
    assert_eq!(admin.json::<Bucket>("GET", "/directory/buckets/cats").await, changed);
    assert_eq!(admin.ask("DELETE", "/directory/buckets/cats", json!(null)).await.0, 204);
    let gone = admin.refused("GET", "/directory/buckets/cats", json!(null)).await;
    assert_eq!(gone, (404, "NoSuchBucket".to_owned()));
}

#[tokio::test]
async fn what_may_be_made_of_pictures_is_told_and_kept() {
    let admin = Admin::new().await;
    admin.ask("POST", "/directory/buckets", json!({"name": "cats"})).await;
    let images = json!({"presets": {"small": "100w"}, "presets_only": true});
    let (status, body) = admin.ask("PUT", "/directory/buckets/cats/images", images.clone()).await;
    let changed: Bucket = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, serde_json::to_value(&*changed.images).unwrap()), (200, images));
    let nothing = json!({"presets_only": true});
    assert_eq!(admin.refused("PUT", "/directory/buckets/cats/images", nothing).await.0, 400);
    admin.ask("PATCH", "/directory/buckets/cats", json!({"write": "public"})).await;
    let bucket: Bucket = admin.json("GET", "/directory/buckets/cats").await;
    assert_eq!((bucket.write, bucket.images), (Access::Public, changed.images));
}

#[tokio::test]
async fn a_keys_secret_is_told_once() {
    let admin = Admin::new().await;
    admin.ask("POST", "/directory/buckets", json!({"name": "cats"})).await;
    let key: AccessKey = admin.json("POST", "/directory/buckets/cats/keys").await;
    let (_, listed) = admin.ask("GET", "/directory/buckets/cats/keys", json!(null)).await;
    assert!(!String::from_utf8(listed.clone()).unwrap().contains(key.secret.expose()));
    let listed: Vec<KeyInfo> = serde_json::from_slice(&listed).unwrap();
    assert_eq!(listed, [KeyInfo::from(key.clone())]);
    let path = format!("/directory/keys/{}", key.id);
    assert_eq!(admin.ask("DELETE", &path, json!(null)).await.0, 204);
    assert_eq!(admin.refused("DELETE", &path, json!(null)).await.1, "NoSuchKey");
    assert!(admin.directory.access_key(&key.id).is_none());
}

#[tokio::test]
async fn the_status_counts() {
    let admin = Admin::new().await;
    admin.ask("POST", "/directory/buckets", json!({"name": "cats"})).await;
    let status: DirectoryStatus = admin.json("GET", "/directory/status").await;
    assert_eq!(status.stores, ["a".parse().unwrap()]);
    assert_eq!((status.buckets, status.volumes, status.garbage_needles), (1, 2, 0));
    assert_eq!(status.writable_volumes, 2);
}

#[tokio::test]
async fn what_the_stores_said_last_is_shown() {
    let admin = Admin::new().await;
    admin.ask("POST", "/directory/buckets", json!({"name": "cats"})).await;
    admin.ask("POST", "/directory/volumes", json!({"copies": 1})).await;
    let told: Vec<LastReport> = admin.json("GET", "/directory/stores").await;
    assert_eq!((told.len(), told[0].store.as_str(), told[0].answers), (1, "a", true));
    assert!(!told[0].report.volumes.is_empty() && told[0].report.disks[0].total_bytes > 0);
}

#[tokio::test]
async fn a_volume_is_made_by_hand() {
    let admin = Admin::new().await;
    let (status, body) = admin.ask("POST", "/directory/volumes", json!({"copies": 1})).await;
    assert_eq!(status, 201, "{}", String::from_utf8_lossy(&body));
    let made: NewVolume = serde_json::from_slice(&body).unwrap();
    assert_eq!(admin.directory.replicas(made.volume), made.stores);
    let (status, code) = admin.refused("POST", "/directory/volumes", json!({"copies": 2})).await;
    assert_eq!((status, code.as_str()), (400, "NotEnoughStores"));
}

#[tokio::test]
async fn bad_requests_are_told_what_is_wrong() {
    let admin = Admin::new().await;
    let post = |body| admin.refused("POST", "/directory/buckets", body);
    for bad in [json!({"name": "UPPER"}), json!({"name": "cats", "color": 1}), json!({})] {
        assert_eq!(post(bad.clone()).await.0, 422, "{bad}");
    }
    assert_eq!(post(json!({"name": "cats", "copies": 0})).await.0, 400);
    assert_eq!(post(json!({"name": "cats", "copies": 2})).await.1, "NotEnoughStores");
    assert_eq!(post(json!({"name": "cats"})).await.0, 201);
    assert_eq!(post(json!({"name": "cats"})).await.1, "BucketExists");
    assert_eq!(admin.refused("GET", "/directory/buckets/A", json!(null)).await.0, 400);
    assert_eq!(admin.refused("DELETE", "/directory/keys/none", json!(null)).await.0, 404);
    assert_eq!(
        admin.refused("POST", "/directory/buckets/dogs/keys", json!(null)).await.1,
        "NoSuchBucket"
    );
}

#[tokio::test]
async fn orders_are_given_shown_and_taken_back() {
    let admin = Admin::new().await;
    let give = |order| admin.ask("POST", "/directory/orders", order);
    admin.ask("POST", "/directory/buckets", json!({"name": "cats"})).await;
    let (status, body) = give(json!({"order": "pause"})).await;
    let given: NamedOrder = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, given.id.as_str()), (201, "pause"));
    assert_eq!(give(json!({"order": "repair", "volume": 1})).await.0, 201);
    let cluster: ClusterStatus = admin.json("GET", "/directory/cluster").await;
    let ids: Vec<_> = cluster.orders.iter().map(|order| order.id.as_str()).collect();
    assert_eq!(ids, ["pause", "repair:1"]);
    assert_eq!(cluster.volumes.len(), 2);
    assert_eq!(admin.ask("DELETE", "/directory/orders/repair:1", json!(null)).await.0, 204);
    let gone = admin.refused("DELETE", "/directory/orders/repair:1", json!(null)).await;
    assert_eq!(gone, (404, "NoSuchOrder".to_owned()));
}

#[tokio::test]
async fn orders_that_can_never_be_carried_out_are_refused() {
    let admin = Admin::new().await;
    admin.ask("POST", "/directory/buckets", json!({"name": "cats"})).await;
    for (order, status, code) in [
        (json!({"order": "drain", "store": "x"}), 404, "NoSuchStore"),
        (json!({"order": "repair", "volume": 99}), 404, "NoSuchVolume"),
        (json!({"order": "copy", "volume": 1, "to": "x"}), 404, "NoSuchStore"),
        (json!({"order": "copy", "volume": 1, "to": "a"}), 400, "BadRequest"),
        (json!({"order": "move", "volume": 1, "from": "x", "to": "b"}), 400, "BadRequest"),
    ] {
        let refused = admin.refused("POST", "/directory/orders", order.clone()).await;
        assert_eq!(refused, (status, code.to_owned()), "{order}");
    }
    assert_eq!(admin.refused("POST", "/directory/orders", json!({"order": "x"})).await.0, 422);
    assert_eq!(admin.refused("DELETE", "/directory/orders/x", json!(null)).await.0, 400);
    let unknown = admin.refused("DELETE", "/directory/stores/x", json!(null)).await;
    assert_eq!(unknown, (404, "NoSuchStore".to_owned()));
}

#[tokio::test]
async fn a_volume_is_closed_for_new_needles_and_opened_again() {
    let admin = Admin::new().await;
    admin.ask("POST", "/directory/buckets", json!({"name": "cats"})).await;
    for state in ["read-only", "writable"] {
        let path = "/directory/volumes/1/state";
        assert_eq!(admin.ask("PUT", path, json!({"state": state})).await.0, 204);
        let cluster: ClusterStatus = admin.json("GET", "/directory/cluster").await;
        assert_eq!(serde_json::to_value(cluster.volumes[0].state).unwrap(), state);
    }
    let unknown =
        admin.refused("PUT", "/directory/volumes/99/state", json!({"state": "read-only"})).await;
    assert_eq!(unknown, (404, "NoSuchVolume".to_owned()));
}
