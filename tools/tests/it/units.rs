//! The systemd units in `deploy/systemd`.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::rig::run;

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

/// By role, the units.
fn units() -> Vec<(String, String)> {
    let mut units = Vec::new();
    for entry in deploy().join("systemd").read_dir().unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let role = name.strip_prefix("hayrick-").and_then(|name| name.strip_suffix(".service"));
        if let Some(role) = role {
            units.push((role.to_owned(), std::fs::read_to_string(&path).unwrap()));
        }
    }
    units
}

#[test]
fn each_unit_runs_a_role_with_its_example_configuration() {
    let units = units();
    assert!(units.len() >= 3, "{units:?}");
    for (role, unit) in units {
        let exec = format!("ExecStart=/usr/bin/hayrick {role} --config /etc/hayrick/{role}.toml\n");
        assert!(unit.contains(&exec), "{role}");
        run([&role, "--help"]).ok();
        let config = std::fs::read_to_string(deploy().join(format!("{role}.toml"))).unwrap();
        let data = config.lines().find(|line| line.starts_with("data = ")).unwrap();
        assert!(data.contains(&format!("\"/var/lib/hayrick/{role}\"")), "{data}");
        assert!(unit.contains(&format!("StateDirectory=hayrick/{role}\n")), "{role}");
    }
}

#[test]
fn systemd_understands_the_units() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        eprintln!("skipped: systemd-analyze is not installed");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for (role, unit) in units() {
        let path = folder.path().join(format!("hayrick-{role}.service"));
        // It looks whether the program is there.
        let unit = unit.replace("/usr/bin/hayrick", env!("CARGO_BIN_EXE_hayrick"));
        std::fs::write(&path, unit).unwrap();
        let output = Command::new("systemd-analyze").arg("verify").arg(&path).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && told.is_empty(), "{role}: {told}");
    }
}
