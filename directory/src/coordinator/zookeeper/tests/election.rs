//! Who leads, and who takes over.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::*;
use crate::coordinator::conformance::sees;

const PLACE: &str = "HAYRICK_ELECTION_TEST_PLACE";

#[tokio::test(flavor = "multi_thread")]
async fn one_leads_at_a_time_and_terms_rise() {
    let config = fresh();
    let mut last_term = 0;
    let coordinators = [open(&config).await, open(&config).await, open(&config).await];
    let mut standing: Vec<_> = coordinators
        .iter()
        .zip(["k0", "k1", "k2"])
        .map(|(one, name)| one.campaign(name, Some(format!("{name}:1"))))
        .collect();
    while !standing.is_empty() {
        let elections = standing.iter_mut().map(|candidacy| Box::pin(candidacy.elected()));
        let (leadership, winner, _) = futures::future::select_all(elections).await;
        assert!(leadership.is_held() && leadership.term() > last_term);
        last_term = leadership.term();
        for candidacy in &standing {
            let term = candidacy.leadership().map(|leadership| leadership.term());
            assert!(term.is_none() || term == Some(last_term), "two lead");
        }
        for coordinator in &coordinators {
            let map = sees(&**coordinator, |map| {
                map.keeper.as_ref().is_some_and(|keeper| keeper.term == last_term)
            })
            .await;
            let keeper = map.keeper.as_ref().unwrap();
            assert!(keeper.name.starts_with('k'));
            assert_eq!(keeper.address, Some(format!("{}:1", keeper.name)));
        }
        standing.swap_remove(winner).resign().await.unwrap();
        leadership.lost().await;
        assert!(!leadership.is_held());
    }
    sees(&*coordinators[0], |map| map.keeper.is_none()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_node_is_removed_stands_back() {
    let config = fresh();
    let coordinator = open(&config).await;
    let mut candidacy = coordinator.campaign("k1", None);
    let leadership = candidacy.elected().await;
    plain_client(&config).await.delete(layout::LEADER, None).await.unwrap();
    tokio::time::timeout(Duration::from_secs(30), leadership.lost()).await.unwrap();
    let again = candidacy.elected().await;
    assert!(again.term() > leadership.term());
}

/// Not a test of its own: the keeper that is killed.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let Some(place) = std::env::var_os(PLACE) else { return };
    let config = ZooKeeperConfig::new(place.into_string().unwrap());
    let coordinator = open(&config).await;
    let _store = coordinator.register(membership::registration("s1", "r1")).await.unwrap();
    let mut candidacy = coordinator.campaign("child", None);
    let leadership = candidacy.elected().await;
    let line = format!("term {}\n", leadership.term());
    // One write, past the test harness, which would hold it back.
    std::io::stdout().write_all(line.as_bytes()).unwrap();
    leadership.lost().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_takes_over_from_a_keeper_that_was_killed() {
    // The timeout that operators have by default: this is about their ten seconds.
    let config = ZooKeeperConfig::new(fresh().connect);
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["coordinator::zookeeper::tests::election::child", "--exact", "--nocapture"])
        .env(PLACE, &config.connect)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let term = output.lines().map_while(Result::ok).find_map(|line| {
        // The harness writes the test's name before it, on the same line.
        line.split_once("term ").and_then(|(_, term)| term.trim().parse::<u64>().ok())
    });
    let term = term.expect("the child leads");
    let standby = open(&config).await;
    let mut candidacy = standby.campaign("standby", None);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(candidacy.leadership().is_none(), "two lead");
    child.kill().unwrap();
    child.wait().unwrap();
    let killed = Instant::now();
    let leadership = candidacy.elected().await;
    let taken_over = killed.elapsed();
    assert!(leadership.term() > term);
    // Ten seconds, and what a machine under load may add.
    assert!(taken_over < Duration::from_secs(15), "took {taken_over:?}");
    println!("the standby took over {taken_over:?} after the kill");
    sees(&*standby, |map| !membership::is_there(map, "s1")).await;
}
