//! SIGKILL in a loop, under concurrent load.

use rand::Rng;

use super::child::{Running, Work};
use super::{check_left_behind, keep_small, rounds};
use crate::record::Record;

#[test]
fn a_killed_process_loses_nothing_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut record = Record::default();
    let (kills, mut answers) = (rounds(8, 200), 0);
    for kill in 0..kills {
        let work = Work { base: kill * 1_000_000, threads: 4, steps: 20_000 };
        let mut child = Running::start(dir.path(), work, record, &[]);
        child.listen(rand::rng().random_range(1..400));
        child.kill();
        answers += child.answers;
        record = child.finish();
        // The parent looks in now and then; mostly the next child takes over at once.
        if kill % 3 == 2 || kill + 1 == kills {
            record = check_left_behind(dir.path(), record, &format!("kill {kill}"));
            record = keep_small(dir.path(), record);
        }
    }
    println!("{kills} kills, {answers} answers");
}
