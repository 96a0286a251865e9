//! The power of a real file system going while a process writes to it.

use rand::Rng;

use super::child::{Running, Work};
use super::device::{Mount, make_image};
use super::{can_run, check_left_behind, keep_small, rounds};
use crate::record::Record;

#[test]
fn a_power_cut_on_ext4_loses_nothing_acknowledged() {
    if can_run("the power cut on ext4", &["mkfs.ext4", "xfs_io"]) {
        cut(64, &["mkfs.ext4", "-qF"], rounds(3, 60));
    }
}

#[test]
fn a_power_cut_on_xfs_loses_nothing_acknowledged() {
    if can_run("the power cut on XFS", &["mkfs.xfs", "xfs_io"]) {
        cut(320, &["mkfs.xfs", "-qf"], rounds(2, 60));
    }
}

fn cut(mib: u64, mkfs: &[&str], cuts: u64) {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("disk.img");
    make_image(&image, mib, mkfs);
    let place = dir.path().join("mnt");
    let mut record = Record::default();
    let mut answers = 0;
    for cut in 0..cuts {
        let mount = Mount::image(&image, &place);
        let work = Work { base: cut * 1_000_000, threads: 3, steps: 20_000 };
        let mut child = Running::start(&place, work, record, &[]);
        child.listen(rand::rng().random_range(1..200));
        if cut % 2 == 0 {
            // What was written last is on its way when the power goes.
            child.kill();
            child.listen(u64::MAX / 4);
        }
        mount.cut_power();
        // Nobody hears what a machine says after its power went; and a sync that runs while
        // the file system is shut down may even succeed.
        child.go_deaf();
        answers += child.answers;
        record = child.finish();
        drop(mount);

        let _mount = Mount::image(&image, &place);
        record = check_left_behind(&place, record, &format!("cut {cut}"));
        record = keep_small(&place, record);
    }
    println!("{cuts} power cuts on {}, {answers} answers", mkfs[0]);
}
