use super::*;

fn load(text: &str) -> Result<HayrickConfig, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hayrick.toml");
    std::fs::write(&path, text).unwrap();
    Sources::new().file(path).load::<HayrickConfig>().map(HayrickConfig::completed)
}

#[test]
fn an_empty_file_is_a_complete_configuration() {
    let config = load("").unwrap();
    assert_eq!(config, HayrickConfig::default().completed());
    let settings = config.check().unwrap();
    assert_eq!(settings.store.disks, [PathBuf::from("hayrick-data/disk")]);
    let ports = [&settings.public, &settings.internal, &settings.admin].map(|l| l.address.port());
    assert_eq!(ports, [8080, 8081, 8082]);
}

#[test]
fn what_is_printed_is_loaded_again() {
    let printed = hayrick_service::config::print(&HayrickConfig::default().completed()).unwrap();
    assert_eq!(load(&printed).unwrap(), HayrickConfig::default().completed(), "{printed}");
}

#[test]
fn a_section_without_an_address_keeps_its_own_port() {
    let config = load("[internal]\ntoken = \"a\"\n[admin]\ntoken = \"b\"").unwrap();
    assert_eq!(config.internal.listen.to_string(), "127.0.0.1:8081");
    assert_eq!(config.admin.listen.to_string(), "127.0.0.1:8082");
}

#[test]
fn secrets_are_not_printed() {
    let config = load("[admin]\ntoken = \"s3cret\"").unwrap();
    let printed = hayrick_service::config::print(&config).unwrap();
    assert!(printed.contains("<hidden>") && !printed.contains("s3cret"), "{printed}");
}

#[test]
fn mistakes_are_named() {
    for (text, named) in [
        ("colour = 1", "colour"),
        ("[public]\nlisten = \"here\"", "IP:PORT"),
        ("[store]\nvolume_sise = \"1GiB\"", "volume_sise"),
        ("[proxy]\nnothing_like_it = 1", "nothing_like_it"),
    ] {
        let error = load(text).unwrap_err().to_string();
        assert!(error.contains(named), "{text}: {error}");
    }
    for (text, named) in [
        ("[store]\nqueue_len = 0", "store.queue_len"),
        ("[directory]\nlease_keys = 0", "directory.lease_keys"),
        ("[admin.limits]\nmax_connections = 0", "admin.limits.max_connections"),
        ("[public.limits]\nmax_head = \"2MiB\"", "public.limits.max_head"),
        ("memory_ceiling = \"100MiB\"", "memory_ceiling"),
    ] {
        let error = load(text).unwrap().check().unwrap_err().to_string();
        assert!(error.contains(named), "{text}: {error}");
    }
}

#[test]
fn beyond_loopback_a_token_is_needed() {
    for section in ["internal", "admin"] {
        let open = format!("[{section}]\nlisten = \"0.0.0.0:0\"\n");
        for token in ["", "token = \"\"\n"] {
            let error = load(&(open.clone() + token)).unwrap().check().unwrap_err().to_string();
            assert!(error.contains(&format!("{section}.token")), "{error}");
        }
        let settings = load(&(open + "token = \"s3cret\"\n")).unwrap().check();
        assert!(settings.is_ok());
    }
    for loopback in ["127.0.0.2:1", "[::1]:1"] {
        assert!(load(&format!("[admin]\nlisten = \"{loopback}\"")).unwrap().check().is_ok());
    }
}

#[test]
fn memory_adds_up_from_the_settings() {
    let text = "[public.limits]\nmax_connections = 100\n[internal.limits]\nmax_connections = 10\n\
                [admin.limits]\nmax_connections = 10\nmax_head = \"8KiB\"\n\
                [proxy]\nupload_memory = \"32MiB\"\ndownload_memory = \"16MiB\"\n\
                [proxy.image]\nthreads = 2\nqueue_len = 3\nmemory = \"64MiB\"\nmax_source = \"1MiB\"\n\
                [store]\nupload_memory = \"32MiB\"\n";
    let bounds = MemoryBounds::of(&load(text).unwrap().check().unwrap());
    let uploads = 2 * (32 + 32) * (1 << 20);
    let downloads = (16 << 20) + 10 * (256 << 10);
    let pictures = (64 << 20) + 5 * (1 << 20);
    let connections = 110 * (2 * 32 + 96) + 10 * (2 * 8 + 96);
    let total = uploads + downloads + pictures + (connections << 10);
    assert_eq!(bounds.total(), total, "{bounds}");
    let ceiling = |bytes: u64| load(&format!("memory_ceiling = {bytes}\n{text}")).unwrap().check();
    assert!(ceiling(total).is_ok());
    let error = ceiling(total - 1).unwrap_err().to_string();
    assert!(error.contains("memory_ceiling") && error.contains("uploads 128.0 MiB"), "{error}");
}

#[test]
fn a_listener_with_one_limit_set_keeps_the_others() {
    let config = load("[admin.limits]\nidle_timeout = \"1s\"").unwrap();
    assert_eq!(config.check().unwrap().admin.options.max_connections, INNER_CONNECTIONS);
}
