//! Commands that go through the public door.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Stdio;
use std::thread;

use serde_json::Value;

use crate::rig::{Server, file, http, run};

#[test]
fn an_object_goes_in_and_comes_out() {
    let server = Server::start();
    let folder = server.home.folder.path();
    let content: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    let photo = file(folder, "tom.bin", &content);
    for name in ["cats/tom.bin", "a b?c#d%e&f+g", "東京/写真", "//x", "@", "\u{7}bell", "a@b@c"]
    {
        let target = format!("photos/{name}");
        let stored = server.run(["put", photo.to_str().unwrap(), &target, "--json"]).json();
        assert_eq!((&stored["name"], &stored["size_bytes"]), (&name.into(), &1_200_000.into()));
        assert!(stored["etag"].is_string() && stored["needle"].is_string(), "{stored}");
        let got = server.run(["get", &target]);
        assert!(got.code == 0 && got.stdout == content, "{name}: {}", got.stderr);
        let stat = server.run(["stat", &target, "--json"]).json();
        assert_eq!((&stat["size_bytes"], &stat["etag"]), (&1_200_000.into(), &stored["etag"]));
        server.run(["rm", &target]).ok();
        server.run(["get", &target]).failed(3);
        server.run(["rm", &target]).failed(3);
        let told = server.run(["stat", &target]).failed(3);
        assert!(told.contains("hayrick ls photos"), "{told}");
    }
}

#[test]
fn put_takes_standard_input_and_names_from_files() {
    let server = Server::start();
    let mut command = server.command(["put", "-", "photos/piped", "--content-type", "text/x"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"from a pipe").unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(server.run(["get", "photos/piped"]).ok(), "from a pipe");
    let stat = server.run(["stat", "photos/piped", "--json"]).json();
    assert_eq!(stat["content_type"], "text/x");
    let photo = file(server.home.folder.path(), "empty.png", "");
    server.run(["put", photo.to_str().unwrap()]).ok();
    server.run(["put", photo.to_str().unwrap(), "photos/plain"]).ok();
    for name in ["photos/empty.png", "photos/plain"] {
        let stat = server.run(["stat", name, "--json"]).json();
        assert_eq!((&stat["content_type"], &stat["size_bytes"]), (&"image/png".into(), &0.into()));
    }
    server.run(["put", "/nowhere/x", "photos/x"]).failed(3);
    server.run(["put", "/", "photos/x"]).failed(2);
    server.run(["put", photo.to_str().unwrap(), "nobucket/x"]).failed(3);
}

#[test]
fn get_writes_files_and_folders() {
    let server = Server::start();
    let folder = server.home.folder.path();
    let photo = file(folder, "tom.txt", "meow");
    server.run(["put", photo.to_str().unwrap(), "photos/cats/tom.txt"]).ok();
    fs::create_dir(folder.join("into")).unwrap();
    let into = folder.join("into");
    server.run(["get", "photos/cats/tom.txt", "-o", into.to_str().unwrap()]).ok();
    assert_eq!(fs::read_to_string(into.join("tom.txt")).unwrap(), "meow");
    let told = server.run([
        "get",
        "photos/cats/tom.txt",
        "-o",
        into.join("x").to_str().unwrap(),
        "--json",
    ]);
    assert_eq!(told.json()["size_bytes"], 4);
    assert_eq!(server.run(["get", "photos/cats/tom.txt", "-o", "-"]).ok(), "meow");
}

#[test]
fn listings_have_folders_sizes_and_limits() {
    let server = Server::start();
    let photo = file(server.home.folder.path(), "x", "12345");
    for name in ["a", "b/1", "b/2", "c"] {
        server.run(["put", photo.to_str().unwrap(), &format!("photos/{name}")]).ok();
    }
    let ls = |args: &[&str]| server.run([&["ls"], args].concat()).ok();
    assert_eq!(ls(&["photos"]), "a\nb/1\nb/2\nc\n");
    assert_eq!(ls(&["photos/b/"]), "b/1\nb/2\n");
    assert_eq!(ls(&["photos", "--delimiter"]), "a\nb/\nc\n");
    assert_eq!(ls(&["photos", "--limit", "3"]), "a\nb/1\nb/2\n");
    assert!(ls(&["photos", "-l"]).lines().all(|line| line.contains("5 B")));
    let lines = ls(&["photos", "-d=/", "--json"]);
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["name"], &lines[1]["prefix"]), (&"a".into(), &"b/".into()));
    let told = server.run(["ls", "nothing-here"]).failed(3);
    assert!(told.contains("nothing-here"), "{told}");
}

#[test]
fn a_key_opens_a_private_bucket_and_signs_urls() {
    let server = Server::start();
    server.run(["bucket", "create", "secret"]).ok();
    let key = server.run(["key", "create", "secret"]).ok();
    let key = key.trim();
    let photo = file(server.home.folder.path(), "x.txt", "hidden");
    let photo = photo.to_str().unwrap();
    let told = server.run(["put", photo, "secret/x.txt"]).failed(6);
    assert!(told.contains("hayrick key create secret"), "{told}");
    server.run(["put", photo, "secret/a b/x.txt", "--key", key]).ok();
    assert_eq!(server.run(["get", "secret/a b/x.txt", "--key", key]).ok(), "hidden");
    assert_eq!(server.run(["ls", "secret", "--key", key]).ok(), "a b/x.txt\n");
    server.run(["stat", "secret/a b/x.txt", "--key", key]).ok();
    let told = server.run(["ls", "secret", "--key", "wrong:key"]).failed(6);
    assert!(told.contains("hayrick key list secret") && !told.contains("wrong:key"), "{told}");
    let sign = |more: &[&str]| {
        server.run([&["sign", "secret/a b/x.txt", "--key", key], more].concat()).ok()
    };
    let url = sign(&[]);
    assert_eq!(http("GET", url.trim(), &[]), (200, "hidden".to_owned()));
    assert_eq!(http("DELETE", url.trim(), &[]).0, 401);
    let url = sign(&["--method", "delete", "--expire", "5m"]);
    assert_eq!(http("DELETE", url.trim(), &[]).0, 204);
    assert!(run(["sign", "secret/x"]).failed(2).contains("hayrick key create secret"));
}

#[test]
fn a_bucket_says_what_is_made_of_its_pictures() {
    let server = Server::start();
    let images = |more: &[&str]| server.run([&["bucket", "images", "photos"], more].concat());
    let photo = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/photos/chelsea.png");
    server.run(["put", photo, "photos/cat.png"]).ok();
    let told = images(&[]).ok();
    assert!(told.contains("presets") && told.contains("none"), "{told}");
    let change = ["--preset", "small=20w", "--preset", "dot=1w_1h_1c", "--presets-only", "on"];
    let told = images(&change).ok();
    assert!(told.contains("small = 20w"), "{told}");
    let status =
        |suffix: &str| http("HEAD", &format!("{}/photos/cat.png{suffix}", server.public), &[]).0;
    assert_eq!(
        [status("@!small"), status("@!dot.webp"), status("@20w"), status("")],
        [200, 200, 403, 200]
    );
    let (_, metrics) = http("GET", &format!("{}/metrics", server.admin), &[]);
    let series = r#"hayrick_proxy_picture_seconds_count{stage="decode",format="png"} 2"#;
    assert!(metrics.contains(series), "{metrics}");
    let told =
        images(&["--preset", "dot=", "--presets-only", "off", "--sizes", "30x", "--json"]).json();
    assert_eq!((&told["presets"]["dot"], &told["sizes"][0]), (&Value::Null, &"30x".into()));
    assert_eq!([status("@30w"), status("@31w"), status("@!small")], [200, 403, 200]);
    assert!(images(&["--preset", "bad=0w"]).failed(2).contains("`w` is 0"));
    assert!(images(&["--pregenerate", "huge"]).failed(2).contains("no preset huge"));
    let told = server.run(["bucket", "images", "nothing-here"]).failed(3);
    assert!(told.contains("nothing-here"), "{told}");
}

/// A server that answers every request with `answer` and hangs up.
fn hangs_up(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(answer);
        }
    });
    url
}

#[test]
fn half_a_download_is_never_left_under_the_final_name() {
    let url = hangs_up(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this");
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("tom.jpg");
    let get = || run(["get", "photos/tom.jpg", "--url", &url, "-o", to.to_str().unwrap()]);
    let told = get().failed(5);
    assert!(told.contains("broke off"), "{told}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    fs::write(&to, "the old one").unwrap();
    get().failed(5);
    assert_eq!(fs::read_to_string(&to).unwrap(), "the old one");
}

#[test]
fn what_is_no_hayrick_is_told_apart() {
    let url = hangs_up(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    let told = run(["ls", "photos", "--url", &url]).failed(1);
    assert!(told.contains("Hayrick"), "{told}");
    let told = run(["get", "photos/x", "--url", "http://127.0.0.1:1"]).failed(5);
    assert!(told.contains("`hayrick up`") && told.contains("--url"), "{told}");
}

#[test]
fn a_listing_follows_cursors() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = thread::spawn(move || {
        let pages = [("a", "\"c/+1\""), ("b", "null")];
        pages.map(|(name, next)| {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap();
            let body = format!(
                r#"{{"bucket":"photos","prefix":"","objects":[{{"name":"{name}","size_bytes":1,"etag":"e","content_type":"t","modified_ms":0}}],"prefixes":[],"next_cursor":{next}}}"#
            );
            let length_line = format!("Content-Length: {}", body.len());
            let answer = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n{length_line}\r\n\r\n{body}");
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8_lossy(&request[..length]).lines().next().unwrap().to_owned()
        })
    });
    assert_eq!(run(["ls", "photos", "--url", &url]).ok(), "a\nb\n");
    let [first, second] = asked.join().unwrap();
    assert!(!first.contains("cursor"), "{first}");
    assert!(second.contains("cursor=c%2F%2B1"), "{second}");
}
