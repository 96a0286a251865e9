//! The bad day: what is lost or damaged comes back, with the real binary.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::rig::{Home, Ran, Server, http, run};

const MIB: usize = 1 << 20;

/// How a body is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Length {
    Announced,
    Unknown,
}

fn send(server: &Server, head: &str, path: &str, body: &[u8], length: Length) -> TcpStream {
    let host = server.public.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    write!(stream, "PUT /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{head}").unwrap();
    match length {
        Length::Announced => {
            write!(stream, "Content-Length: {}\r\n\r\n", body.len()).unwrap();
            stream.write_all(body).unwrap();
        }
        Length::Unknown => {
            write!(stream, "Transfer-Encoding: chunked\r\n\r\n").unwrap();
            for piece in body.chunks(MIB) {
                write!(stream, "{:x}\r\n", piece.len()).unwrap();
                stream.write_all(piece).unwrap();
                stream.write_all(b"\r\n").unwrap();
            }
        }
    }
    stream
}

/// Uploads and gives the status.
fn put(server: &Server, path: &str, head: &str, body: &[u8], length: Length) -> u16 {
    finish(send(server, head, path, body, length), length)
}

/// Ends an upload and gives the status.
fn finish(mut stream: TcpStream, length: Length) -> u16 {
    if length == Length::Unknown {
        stream.write_all(b"0\r\n\r\n").unwrap();
    }
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer);
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

/// Head and body of an object, without what differs between two answers.
fn get(server: &Server, path: &str) -> (BTreeMap<String, String>, Vec<u8>) {
    let host = server.public.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let mut lines = head.lines();
    let mut headers = BTreeMap::from([("status".to_owned(), lines.next().unwrap().to_owned())]);
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap();
        if !["date", "x-request-id", "age"].contains(&name) {
            headers.insert(name.to_owned(), value.to_owned());
        }
    }
    (headers, answer[end + 4..].to_vec())
}

fn bytes(size: usize, seed: u8) -> Vec<u8> {
    (0..size).map(|at| u8::try_from(at * 31 % 251).unwrap() ^ seed).collect()
}

/// Every kind of history a name may have.
fn fill(server: &Server) {
    let announced = Length::Announced;
    let ok = |status| assert_eq!(status, 201);
    ok(put(
        server,
        "photos/small",
        "Content-Type: text/x-small\r\nX-Hayrick-Meta-Taken: M%C3%A4rz\r\n",
        b"hello",
        announced,
    ));
    ok(put(server, "photos/empty", "", b"", announced));
    ok(put(
        server,
        "photos/large",
        "Content-Type: image/raw\r\n",
        &bytes(18 * MIB + 5, 1),
        announced,
    ));
    ok(put(server, "photos/streamed", "", &bytes(17 * MIB, 2), Length::Unknown));
    ok(put(server, "photos/two%20needles", "", &bytes(16 * MIB, 3), Length::Unknown));
    ok(put(server, "photos/over", "", b"old", announced));
    assert!(put(server, "photos/over", "", b"new", announced) < 300);
    ok(put(server, "photos/gone", "", b"gone", announced));
    ok(put(server, "photos/over-gone", "", b"first", announced));
    assert!(put(server, "photos/over-gone", "", b"second", announced) < 300);
    ok(put(server, "photos/back", "", b"before", announced));
    for name in ["gone", "over-gone", "back"] {
        assert_eq!(http("DELETE", &format!("{}/photos/{name}", server.public), &[]).0, 204);
    }
    ok(put(server, "photos/back", "", b"after", announced));
    ok(put(server, "photos/kept", "", b"the first", announced));
    assert_eq!(put(server, "photos/kept", "If-None-Match: *\r\n", b"refused", announced), 412);
    // Begun before the name was stored and removed, and acknowledged after that. More is sent
    // than sockets hold, so it has begun.
    let slow = send(server, "", "photos/slow", &bytes(20 * MIB, 6), Length::Unknown);
    ok(put(server, "photos/slow", "", b"quick", announced));
    assert_eq!(http("DELETE", &format!("{}/photos/slow", server.public), &[]).0, 204);
    ok(finish(slow, Length::Unknown));
    assert!(get(server, "photos/slow").1 == bytes(20 * MIB, 6));
    for number in 0..40 {
        ok(put(
            server,
            &format!("photos/many/{number:03}"),
            "",
            &bytes(number * 100, 4),
            announced,
        ));
    }
}

const NAMES: [&str; 12] = [
    "small",
    "empty",
    "large",
    "streamed",
    "two%20needles",
    "over",
    "gone",
    "over-gone",
    "back",
    "kept",
    "many/039",
    "slow",
];

/// The listing, and head and body of each of [`NAMES`].
type Seen = (String, Vec<(BTreeMap<String, String>, Vec<u8>)>);

/// All that can be seen through the door.
fn seen(server: &Server) -> Seen {
    let listing = server.run(["ls", "photos", "--json"]).ok();
    (listing, NAMES.iter().map(|name| get(server, &format!("photos/{name}"))).collect())
}

/// Compares one by one: what differs is told in a line.
fn assert_same(server: &Server, before: &Seen) {
    let now = seen(server);
    assert_eq!(now.0, before.0);
    for ((name, now), before) in NAMES.iter().zip(&now.1).zip(&before.1) {
        assert_eq!(now.0, before.0, "{name}");
        // An error tells the request it answers.
        let is_object = now.0["status"].contains("200");
        assert!(!is_object || now.1 == before.1, "{name} has other bytes");
    }
}

fn rebuild(home: &Home, more: &[&str]) -> Ran {
    let data = home.path("data");
    run(["names", "rebuild", "--json", "--data", data.to_str().unwrap()].iter().chain(more))
}

fn tree(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(tree(&path));
            found.insert(path, Vec::new());
        } else {
            let content = fs::read(&path).unwrap();
            // A lock tells who was the last to hold it.
            let is_lock = path.file_name().unwrap() == "LOCK";
            found.insert(path, if is_lock { Vec::new() } else { content });
        }
    }
    found
}

/// The grace period outlasts the test, so what was replaced is still there.
fn home() -> Home {
    Home::new().with("HAYRICK_DIRECTORY__GARBAGE__GRACE_MS", "3600000")
}

#[test]
fn a_lost_name_database_is_rebuilt_from_the_volumes() {
    let server = home().start();
    fill(&server);
    let before = seen(&server);
    let refused = rebuild(&server.home, &[]).failed(1);
    assert!(refused.contains("in use"), "{refused}");
    // An upload that the client gives up halfway, after its first needles.
    drop(send(&server, "", "photos/half", &bytes(20 * MIB, 5), Length::Unknown));
    let (_, home) = server.stop();

    let names = home.path("data/directory/names");
    fs::remove_dir_all(&names).unwrap();
    let told = home.refused().failed(1);
    assert!(told.contains("hayrick names rebuild"), "{told}");
    let untouched = tree(&home.path("data"));
    let planned = rebuild(&home, &[]).json();
    assert_eq!(tree(&home.path("data")), untouched, "a dry run changes nothing");
    let mut done = rebuild(&home, &["--apply"]).json();
    assert_eq!(done["applied"], true);
    assert_eq!((&done["names"], &done["removed_names"]), (&49.into(), &2.into()));
    done["applied"] = false.into();
    assert_eq!(done, planned);

    let server = home.start();
    assert_same(&server, &before);
    assert_eq!(put(&server, "photos/small", "", b"changed", Length::Announced), 200);
}

#[test]
fn a_killed_server_and_a_lost_data_folder_leave_every_acknowledged_object() {
    let server = home().start();
    fill(&server);
    let before = seen(&server);
    let half = send(&server, "", "photos/half", &bytes(20 * MIB, 5), Length::Unknown);
    let home = server.kill();
    drop(half);
    let elsewhere = home.path("elsewhere");
    fs::rename(home.path("data/disk"), &elsewhere).unwrap();
    fs::remove_dir_all(home.path("data")).unwrap();
    let disk = ["--disk", elsewhere.to_str().unwrap()];
    let planned = rebuild(&home, &disk).json();
    assert!(!home.path("data").exists(), "a dry run changes nothing");
    assert_eq!(planned["map"]["buckets"][0], "photos");
    let done = rebuild(&home, &["--apply", disk[0], disk[1]]).json();
    assert_eq!((&done["map"]["new_map"], &done["names"]), (&true.into(), &49.into()));
    fs::rename(&elsewhere, home.path("data/disk")).unwrap();
    let server = home.start();
    assert_eq!(get(&server, "photos/small").0["status"], "HTTP/1.1 401 Unauthorized");
    server.run(["bucket", "set", "photos", "--read", "public", "--write", "public"]).ok();
    assert_same(&server, &before);
    assert_eq!(put(&server, "photos/more", "", b"more", Length::Announced), 201);
}

#[test]
fn names_are_not_rebuilt_from_part_of_the_volumes_unless_told_to() {
    let server = Server::start();
    fill(&server);
    let (_, home) = server.stop();
    fs::write(Server::volume_file(&home, 2), b"rotten").unwrap();
    let names = home.path("data/directory/names");
    let untouched = tree(&names);
    let told = rebuild(&home, &["--apply"]);
    let answer: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!((&answer["applied"], &answer["missing_volumes"][0]), (&false.into(), &2.into()));
    assert!(told.failed(4).contains("--partial"));
    assert_eq!(tree(&names), untouched);
    let told = rebuild(&home, &["--apply", "--partial"]);
    let answer: Value = serde_json::from_slice(&told.stdout).unwrap();
    told.failed(4);
    assert_eq!(answer["applied"], true);
    assert_eq!(answer["kept_incomplete"], true);
    let old = PathBuf::from(answer["old_names"].as_str().unwrap());
    assert_eq!(tree(&old).len(), untouched.len(), "the old database is kept");
    run(["names", "rebuild", "--data", home.path("data").to_str().unwrap(), "--disk", "/nowhere"])
        .failed(3);
}

fn disk(home: &Home, words: &[&str]) -> Ran {
    let data = home.path("data");
    run(["disk", "--json"].iter().chain(words).chain(&["--data", data.to_str().unwrap()]))
}

#[test]
fn disks_are_listed_and_checked() {
    let server = Server::start();
    fill(&server);
    let listed = disk(&server.home, &["list"]).json();
    assert_eq!(
        (&listed[0]["state"], listed[0]["volumes"].as_array().unwrap().len()),
        (&"in-use".into(), 2)
    );
    assert!(disk(&server.home, &["check"]).failed(1).contains("in use"));
    let (_, home) = server.stop();
    assert_eq!(disk(&home, &["list"]).json()[0]["state"], "free");
    let report = disk(&home, &["check", "--deep"]).json();
    assert_eq!(report["strays"], serde_json::json!([]));
    assert!(report["volumes"][1]["verified"]["good_needles"].as_u64().unwrap() > 0);

    let stray = home.path("data/disk/0000000009.1.idx");
    fs::write(&stray, b"").unwrap();
    let path = Server::volume_file(&home, 1);
    let mut volume = fs::read(&path).unwrap();
    volume[4096 + 52 + 2] ^= 1;
    fs::write(&path, volume).unwrap();
    let told = disk(&home, &["check"]).json();
    assert_eq!(told["strays"][0], stray.to_str().unwrap());
    let deep = disk(&home, &["check", "--deep"]);
    let report: Value = serde_json::from_slice(&deep.stdout).unwrap();
    deep.failed(4);
    assert_eq!(report["volumes"][0]["verified"]["damaged"].as_array().unwrap().len(), 1);
    disk(&home, &["list", "--disk", "/nowhere"]).failed(1);
    disk(&home, &["check", "--disk", "/nowhere"]).failed(3);
}

#[test]
fn a_volume_without_index_and_superblock_is_fixed() {
    let server = Server::start();
    fill(&server);
    let before = seen(&server);
    let folder = server.home.path("data/disk");
    let fix = |more: &[&str]| run(["volume", "fix", "--json"].iter().chain(more));
    assert!(fix(&[folder.to_str().unwrap()]).failed(1).contains("in use"));
    let (_, home) = server.stop();
    let whole = fix(&[folder.to_str().unwrap()]).json();
    assert_eq!(whole[0]["diagnosis"]["index_problem"], Value::Null);

    fs::remove_file(folder.join("0000000001.1.idx")).unwrap();
    let path = Server::volume_file(&home, 2);
    let mut volume = fs::read(&path).unwrap();
    volume[..100].fill(0);
    volume.extend([7; 1000]);
    fs::write(&path, &volume).unwrap();
    let untouched = tree(&folder);
    let told = fix(&[folder.to_str().unwrap()]).json();
    assert_eq!(tree(&folder), untouched, "a dry run changes nothing");
    assert_eq!(told[0]["diagnosis"]["index_problem"], "missing");
    assert_eq!(told[1]["diagnosis"]["superblock_lost"], true);
    assert_eq!(told[1]["diagnosis"]["torn_bytes"], 1000);
    let fixed = fix(&["--apply", path.to_str().unwrap()]).json();
    assert_eq!((fixed.as_array().unwrap().len(), &fixed[0]["fixed"]), (1, &true.into()));
    fix(&["--apply", folder.to_str().unwrap()]).ok();
    assert_eq!(disk(&home, &["check", "--deep"]).code, 0);
    let server = home.start();
    assert_same(&server, &before);
    fix(&["/nowhere/0000000001.vol"]).failed(3);
    fix(&["/etc/hostname"]).failed(2);
}

fn import(tar: &Path, into: &Path, more: &[&str]) -> Ran {
    let args =
        ["volume", "import", "--json", tar.to_str().unwrap(), "--into", into.to_str().unwrap()];
    run(args.iter().chain(more))
}

fn good_needles(path: &Path) -> (Value, Value) {
    let report = run(["volume", "verify", "--json", "--file", path.to_str().unwrap()]).json();
    (report["good_needles"].clone(), report["good_bytes"].clone())
}

#[test]
fn a_volume_is_exported_and_imported_again_with_the_same_digest() {
    let server = home().start();
    fill(&server);
    let hostile =
        ["photos/..%2F..%2Fetc", "photos/%2Fabsolute", "photos/nul%00", "photos/line%0Afeed"];
    for path in hostile {
        assert_eq!(put(&server, path, "", path.as_bytes(), Length::Announced), 201, "{path}");
    }
    let before = seen(&server);
    let digests = |server: &Server| {
        let listed = server.run(["volume", "list", "--json"]).json();
        [0, 1].map(|at| (listed[at]["digest"].clone(), listed[at]["tombstones"].clone()))
    };
    let digests_before = digests(&server);
    let (_, home) = server.stop();

    let tars = [1, 2].map(|volume| {
        let (path, tar) = (Server::volume_file(&home, volume), home.path(&format!("{volume}.tar")));
        let to = ["--output", tar.to_str().unwrap()];
        let end =
            run(["volume", "export", "--json", path.to_str().unwrap()].iter().chain(&to)).json();
        assert_eq!(end["digest"], digests_before[volume as usize - 1].0);
        let piped = run(["volume", "export", path.to_str().unwrap()]);
        assert_eq!((piped.code, piped.stdout), (0, fs::read(&tar).unwrap()));
        tar
    });

    // Any tar unpacks it, and nothing lands outside of the folder.
    let unpacked = home.path("unpacked");
    fs::create_dir(&unpacked).unwrap();
    for tar in &tars {
        let done =
            std::process::Command::new("tar").arg("-xf").arg(tar).arg("-C").arg(&unpacked).output();
        let done = done.unwrap();
        assert!(done.status.success(), "{done:?}");
    }
    assert_eq!(fs::read(unpacked.join("photos/small")).unwrap(), b"hello");
    // Where both versions are there still, in different volumes, the later tar wins.
    let over = fs::read(unpacked.join("photos/over")).unwrap();
    assert!(over == b"new" || over == b"old", "{over:?}");
    let parts = [0, 1]
        .map(|at| fs::read(unpacked.join(format!("photos/two needles.part-00000{at}"))).unwrap());
    assert!(parts.concat() == bytes(16 * MIB, 3));
    assert_eq!(fs::read_dir(unpacked.join(".hayrick/needles")).unwrap().count(), hostile.len());

    let disk = home.path("data/disk");
    let good = [1, 2].map(|volume| good_needles(&Server::volume_file(&home, volume)));
    assert!(import(&tars[0], &disk, &["--apply"]).failed(1).contains("there already"));
    for entry in fs::read_dir(&disk).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| ["vol", "idx", "scrub"].iter().any(|e| extension == *e))
        {
            fs::remove_file(path).unwrap();
        }
    }
    let untouched = tree(&disk);
    for tar in &tars {
        assert_eq!(import(tar, &disk, &[]).json()["applied"], false);
    }
    assert_eq!(tree(&disk), untouched, "a dry run changes nothing");
    for tar in &tars {
        assert_eq!(import(tar, &disk, &["--apply"]).json()["applied"], true);
    }
    assert_eq!([1, 2].map(|volume| good_needles(&Server::volume_file(&home, volume))), good);
    fs::remove_dir_all(home.path("data/directory/names")).unwrap();
    rebuild(&home, &["--apply"]).ok();
    let server = home.start();
    assert_eq!(digests(&server), digests_before);
    assert_same(&server, &before);
}

#[test]
fn damaged_needles_are_left_out_of_an_export_and_told() {
    let server = Server::start();
    fill(&server);
    let (_, home) = server.stop();
    let path = Server::volume_file(&home, 1);
    let whole = good_needles(&path).0.as_u64().unwrap();
    let mut volume = fs::read(&path).unwrap();
    volume[4096 + 52 + 2] ^= 1;
    fs::write(&path, volume).unwrap();
    let tar = home.path("1.tar");
    let told =
        run(["volume", "export", "--json", "-o", tar.to_str().unwrap(), path.to_str().unwrap()]);
    let end: Value = serde_json::from_slice(&told.stdout).unwrap();
    told.failed(4);
    assert_eq!((&end["damaged"], end["needles"].as_u64()), (&1.into(), Some(whole - 1)));
    run(["volume", "export", "/nowhere.vol"]).failed(3);
    run(["volume", "export", "/etc/hostname"]).failed(4);
}

#[test]
fn a_bad_tar_is_refused_and_leaves_nothing() {
    let server = Server::start();
    fill(&server);
    let (_, home) = server.stop();
    let path = Server::volume_file(&home, 1);
    let tar = home.path("1.tar");
    run(["volume", "export", path.to_str().unwrap(), "-o", tar.to_str().unwrap()]).ok();
    let good = fs::read(&tar).unwrap();
    let into = home.path("into");
    fs::create_dir(&into).unwrap();
    let flipped = {
        let at =
            good.windows(5).position(|window| window == b"hello" || window == &bytes(5, 4)[..]);
        let mut bad = good.clone();
        bad[at.unwrap_or(good.len() / 2 / 512 * 512)] ^= 1;
        bad
    };
    let mut huge = tar::Header::new_ustar();
    huge.set_entry_type(tar::EntryType::XHeader);
    huge.set_size(1 << 33);
    huge.set_cksum();
    let mut link = tar::Header::new_ustar();
    link.set_entry_type(tar::EntryType::Symlink);
    link.set_size(0);
    link.set_cksum();
    let cases: [(&str, Vec<u8>); 7] = [
        ("empty", Vec::new()),
        ("no tar", vec![7; 5000]),
        ("cut short", good[..good.len() / 2].to_vec()),
        ("without its end", good[..good.len() - 4096].to_vec()),
        ("flipped", flipped),
        ("huge", huge.as_bytes().to_vec()),
        ("a link", link.as_bytes().to_vec()),
    ];
    for (what, bytes) in cases {
        fs::write(&tar, bytes).unwrap();
        let told = import(&tar, &into, &["--apply"]);
        assert!(told.code == 4, "{what}: {told:?}");
        assert_eq!(fs::read_dir(&into).unwrap().count(), 0, "{what} leaves nothing");
    }
    import(&home.path("missing.tar"), &into, &[]).failed(3);
    import(&tar, &home.path("nowhere"), &[]).failed(3);
}
