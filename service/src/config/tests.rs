use std::net::SocketAddr;

use serde::Deserialize;

use super::*;
use crate::auth::Secret;

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    public: Door,
    store: Store,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Door {
    listen: SocketAddr,
    token: Option<Secret>,
    open: bool,
    workers: u16,
}

impl Default for Door {
    fn default() -> Self {
        Self { listen: ([127, 0, 0, 1], 8080).into(), token: None, open: true, workers: 4 }
    }
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Store {
    disks: Vec<PathBuf>,
    volume_limit: ByteSize,
    grace: Span,
}

fn with_file(text: &str) -> (tempfile::TempDir, Sources) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hayrick.toml");
    std::fs::write(&path, text).unwrap();
    (folder, Sources::new().file(path))
}

fn error(sources: &Sources) -> String {
    sources.load::<Settings>().unwrap_err().to_string()
}

#[test]
fn nothing_given_means_the_defaults() {
    assert_eq!(Sources::new().load::<Settings>().unwrap(), Settings::default());
    let (_folder, empty) = with_file("");
    assert_eq!(empty.load::<Settings>().unwrap(), Settings::default());
}

#[test]
fn flags_win_over_environment_over_file() {
    let (_folder, sources) = with_file(
        "[public]\nworkers = 1\nopen = false\n[store]\ndisks = [\"/a\"]\nvolume_limit = \"8GiB\"\ngrace = \"10s\"\n",
    );
    let sources = sources
        .env([
            ("HAYRICK_PUBLIC__WORKERS", "2"),
            ("HAYRICK_PUBLIC__LISTEN", "[::1]:9"),
            ("HAYRICK_PUBLIC__TOKEN", "4711"),
            ("HAYRICK_STORE__DISKS", r#"["/b", "/c"]"#),
            ("HAYRICK_STORE__VOLUME_LIMIT", "1024"),
            ("HAYRICK_CONFIG", "elsewhere"),
            ("PATH", "/bin"),
        ])
        .flag("public.workers", 3)
        .optional_flag("store.grace", Some("30d"))
        .optional_flag("public.open", None::<bool>);
    let settings: Settings = sources.load().unwrap();
    assert_eq!((settings.public.workers, settings.public.open), (3, false));
    assert_eq!(settings.public.listen, "[::1]:9".parse().unwrap());
    assert!(settings.public.token.unwrap().matches(b"4711"), "a text that looks like a number");
    assert_eq!(settings.store.disks, [PathBuf::from("/b"), PathBuf::from("/c")]);
    assert_eq!(settings.store.volume_limit, ByteSize::kib(1));
    assert_eq!(settings.store.grace.to_string(), "30d");
}

#[test]
fn mistakes_in_the_file_name_key_and_line() {
    for (text, parts) in [
        (
            "[public]\nworkers = 2\n\n[store]\nvolume_limits = 3\n",
            &["hayrick.toml:5:1:", "`volume_limits`", "`volume_limit`", "in [store]", "remove"][..],
        ),
        ("verbose = true\n", &["hayrick.toml:1:1:", "`verbose`"]),
        ("[public]\nworkers = \"two\"\n", &["hayrick.toml:2:11:", "\"two\"", "u16"]),
        ("[public]\nworkers = 70000\n", &["hayrick.toml:2:11:", "70000"]),
        ("[store]\ngrace = 10\n", &["hayrick.toml:2:9:", "such as \"10s\""]),
        ("[store]\nvolume_limit = \"big\"\n", &["hayrick.toml:2:16:", "\"big\"", "GiB"]),
        ("[store\n", &["hayrick.toml:1:"]),
        ("[store]\ngrace = \"1s\"\ngrace = \"2s\"\n", &["hayrick.toml:3:1:", "duplicate key"]),
    ] {
        let (_folder, sources) = with_file(text);
        let message = error(&sources);
        for part in parts {
            assert!(message.contains(part), "{part} in {message}");
        }
    }
}

#[test]
fn mistakes_elsewhere_name_their_source() {
    let unknown = error(&Sources::new().env([("HAYRICK_PUBLIC__LISTN", "1")]));
    assert!(unknown.contains("HAYRICK_PUBLIC__LISTN") && unknown.contains("`listn`"), "{unknown}");
    let wrong = error(&Sources::new().env([("HAYRICK_PUBLIC__WORKERS", "many")]));
    assert!(wrong.contains("HAYRICK_PUBLIC__WORKERS") && wrong.contains("u16"), "{wrong}");
    let flag = error(&Sources::new().flag("public.workers", -1));
    assert!(flag.contains("public.workers"), "{flag}");
    let deep = error(&Sources::new().env([("HAYRICK_PUBLIC__OPEN__X", "1")]));
    assert!(deep.contains("HAYRICK_PUBLIC__OPEN__X"), "{deep}");
    let missing = error(&Sources::new().file("/nowhere/hayrick.toml"));
    assert!(missing.contains("/nowhere/hayrick.toml"), "{missing}");
}

#[test]
fn what_is_printed_reads_back_and_hides_secrets() {
    let text = print(&Settings::default()).unwrap();
    assert_eq!(toml::from_str::<Settings>(&text).unwrap(), Settings::default());
    let settings: Settings = Sources::new().flag("public.token", "s3cret").load().unwrap();
    let text = print(&settings).unwrap();
    assert!(!text.contains("s3cret") && text.contains("<hidden>"), "{text}");
    let (_folder, sources) = with_file("[public]\ntoken = 4711\n");
    assert!(!error(&sources).contains("4711"));
}
