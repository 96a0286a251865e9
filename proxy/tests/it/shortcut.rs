//! What is in memory is answered at once, and as it would be otherwise.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use hayrick_directory::Access::{Private, Public};
use hayrick_service::listen::{Head, Short};

use crate::rig::{Answer, Rig};

const PATH: &str = "/photos/cats/tom.txt";

impl Rig {
    /// What is answered without the router.
    fn short(&self, method: &Method, path: &str, headers: &[(&str, &str)]) -> Option<Short> {
        let pairs = headers.iter().map(|(name, value)| {
            (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap())
        });
        let headers: HeaderMap = pairs.collect();
        let head = Head { method, uri: &path.parse().unwrap(), headers: &headers };
        self.app.short_answer(&head)
    }

    /// The status of what is answered at once.
    fn at_once(&self, method: &Method, path: &str, headers: &[(&str, &str)]) -> Option<u16> {
        match self.short(method, path, headers)? {
            Short::Now(answer) => Some(answer.status().as_u16()),
            Short::Soon(_) => None,
        }
    }

    async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut answer = self.send("GET", path, headers, Body::empty()).await;
        for name in ["date", "x-request-id"] {
            assert!(answer.headers.remove(name).is_some(), "{name}");
        }
        answer
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_the_same_whoever_gives_it() {
    let rig = Rig::new().await;
    let headers = [("content-type", "text/plain"), ("x-hayrick-meta-who", "tom")];
    let etag = rig.send("PUT", PATH, &headers, "0123456789").await.header("etag").to_owned();
    for (headers, status) in [
        (vec![], 200),
        (vec![("range", "bytes=2-4")], 206),
        (vec![("if-none-match", etag.as_str())], 304),
        (vec![("if-none-match", "\"other\""), ("range", "bytes=-1")], 206),
    ] {
        assert_eq!(rig.at_once(&Method::GET, PATH, &headers), Some(status), "{headers:?}");
        let short = rig.get_with(PATH, &headers).await;
        // A query is the router's.
        let long = rig.get_with(&format!("{PATH}?a=1"), &headers).await;
        assert_eq!((short.status, long.status), (status, status));
        assert_eq!((short.headers, short.body), (long.headers, long.body), "{headers:?}");
    }
    for (headers, status) in [
        (vec![("range", "bytes=20-")], 416),
        (vec![("range", "bytes=0-0,5-5")], 206),
        (vec![("if-match", "\"other\"")], 412),
    ] {
        assert_eq!(rig.at_once(&Method::GET, PATH, &headers), None, "{headers:?}");
        assert_eq!(rig.get_with(PATH, &headers).await.status, status);
    }
}

/// Whether the shortcut has the answer, or knows what the router needs.
#[tokio::test(flavor = "multi_thread")]
async fn what_has_to_be_looked_up_is_answered_the_same() {
    let rig = Rig::forgetful().await;
    rig.bucket("secret", Private, Public).await;
    for (path, size) in [(PATH, 1_000), ("/photos/empty", 0), ("/photos/large", 100_000)] {
        let headers = [("content-type", "text/plain"), ("x-hayrick-meta-who", "tom")];
        assert_eq!(rig.send("PUT", path, &headers, vec![7; size]).await.status, 201);
    }
    rig.put("/secret/small", "x").await;
    rig.put("/photos/gone", "x").await;
    assert_eq!(rig.delete("/photos/gone").await.status, 204);
    for (path, is_short, status) in [
        (PATH, Some(true), 200),
        ("/photos/empty", Some(false), 200),
        ("/photos/large", Some(false), 200),
        ("/photos/gone", Some(false), 404),
        ("/photos/cats/tom.txt@10w", Some(false), 422),
        ("/secret/small", None, 401),
        ("/nobody/small", None, 404),
    ] {
        let short = match rig.short(&Method::GET, path, &[]) {
            None => None,
            Some(Short::Now(_)) => panic!("{path}: nothing is in memory"),
            Some(Short::Soon(soon)) => Some(soon.await.is_ok()),
        };
        assert_eq!(short, is_short, "{path}");
        let answer = rig.send("GET", path, &[], Body::empty()).await;
        let long = rig.send("GET", &format!("{path}?a=1"), &[], Body::empty()).await;
        assert_eq!((answer.status, long.status), (status, status), "{path}");
        if status == 200 {
            let answer = rig.get_with(path, &[]).await;
            let long = rig.get_with(&format!("{path}?a=1"), &[]).await;
            assert_eq!((answer.headers, answer.body), (long.headers, long.body), "{path}");
        }
    }
    for header in ["range", "if-match", "if-none-match", "if-modified-since"] {
        assert!(rig.short(&Method::GET, PATH, &[(header, "x")]).is_none(), "{header}");
    }
    for version in 0..20 {
        assert!(rig.put(PATH, format!("version {version}")).await.status < 300);
        assert_eq!(rig.get(PATH).await.body, format!("version {version}").as_bytes());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_never_tells_what_was() {
    let rig = Rig::new().await;
    for version in 0..50 {
        assert!(rig.put(PATH, format!("version {version}")).await.status < 300);
        assert_eq!(rig.at_once(&Method::GET, PATH, &[]), Some(200), "the writer has told");
        assert_eq!(rig.get(PATH).await.body, format!("version {version}").as_bytes());
    }
    assert_eq!(rig.delete(PATH).await.status, 204);
    assert_eq!(rig.at_once(&Method::GET, PATH, &[]), None);
    assert_eq!(rig.get(PATH).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_for_small_public_objects_only() {
    let rig = Rig::new().await;
    rig.bucket("secret", Private, Public).await;
    for (path, size, status) in [
        ("/photos/small", 1_000, Some(200)),
        ("/photos/empty", 0, Some(200)),
        ("/photos/large", 300_000, None),
        ("/photos/chunks", 9_000_000, None),
        ("/secret/small", 1_000, None),
    ] {
        assert_eq!(rig.put(path, vec![7; size]).await.status, 201);
        assert_eq!(rig.at_once(&Method::GET, path, &[]), status, "{path}");
        assert_eq!(rig.at_once(&Method::HEAD, path, &[]), None, "{path}");
    }
    for path in
        ["/", "/photos", "/photos/none", "/nobody/small", "/photos/small@10w", "/photos/%FF"]
    {
        assert_eq!(rig.at_once(&Method::GET, path, &[]), None, "{path}");
    }
    assert_eq!(rig.get("/secret/small").await.status, 401);
}
