//! Data folders that earlier versions left behind. A file here is never changed: what it takes
//! to read one is part of the product for good.

use std::fs::File;
use std::path::Path;

use crate::rig::{Home, http};

/// Opens the bucket `vault`.
const KEY: &str = "63016a406aa1e62a1d277d47:lSH_tZfF2X5QgO8ibP_4MXbptdzmOYBjRIWLLKhMOyA";

fn unpacked(version: &str) -> Home {
    let home = Home::new();
    let path = format!("{}/../testdata/golden/{version}.tar", env!("CARGO_MANIFEST_DIR"));
    let mut archive = tar::Archive::new(File::open(Path::new(&path)).unwrap());
    archive.unpack(home.folder.path()).unwrap();
    home
}

/// Objects that were overwritten, deleted, put after the index was saved, compacted, empty, and
/// in a private bucket; the server was killed.
#[test]
fn a_data_folder_of_version_0_1_0_opens_with_everything_in_it() {
    let server = unpacked("v0.1.0").start();
    let url = |name: &str| format!("{}/photos/{name}", server.public);
    for (name, content) in [
        ("empty", ""),
        ("twice", "second"),
        ("%C3%BCber/na%20me.txt", "grüße"),
        ("tail", "after the stop"),
    ] {
        assert_eq!(http("GET", &url(name), &[]), (200, content.to_owned()), "{name}");
    }
    for name in ["gone", "empty2"] {
        assert_eq!(http("GET", &url(name), &[]).0, 404, "{name}");
    }
    let told = server.run(["stat", "photos/twice", "--json"]).json();
    assert!(told.to_string().contains("2026"), "{told}");
    let private = format!("{}/vault/s.txt", server.public);
    assert_eq!(http("GET", &private, &[]).0, 401);
    assert_eq!(server.run(["get", "vault/s.txt", "--key", KEY]).ok(), "secret");
    for volume in ["1", "2"] {
        server.run(["volume", "verify", volume]).ok();
    }
    // And it goes on from there.
    assert_eq!(http("PUT", &url("new"), &[("Content-Length", "0")]).0, 201);
    assert_eq!(http("DELETE", &url("twice"), &[]).0, 204);
    let (status, home) = server.stop();
    assert!(status.success());
    let again = home.start();
    assert_eq!(http("GET", &format!("{}/photos/twice", again.public), &[]).0, 404);
}
