//! `hayrick cluster status`: a cluster on one screen.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use clap::Args;
use hayrick_directory::http::admin::{ClusterStatus, DirectoryStatus, StoreEntry, VolumeEntry};
use hayrick_directory::keeper::KeeperStatus;
use hayrick_directory::{Host, LastReport, StoreId, VolumeState};
use serde::Serialize;

use super::keeper;
use super::view::View;
use crate::admin::{Admin, AdminArgs};
use crate::failure::Failure;
use crate::output::{Column, Output, one_line, table};
use crate::units::{count, percent, size, time_ms};

/// More volumes than this do not fit on a screen.
const MAX_VOLUMES: usize = 20;

/// `hayrick cluster status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// List all volumes, and not only those that need a look
    #[arg(long)]
    volumes: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Serialize)]
struct Screen<'a> {
    #[serde(flatten)]
    map: &'a ClusterStatus,
    reports: Vec<&'a LastReport>,
    under_replicated: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    keeper_status: Option<KeeperStatus>,
    buckets: usize,
    garbage_needles: u64,
}

/// Runs the command.
pub async fn run(args: &StatusArgs, output: Output) -> Result<(), Failure> {
    let admin = Admin::new(&args.admin);
    let view = View::ask(&admin).await?;
    let directory: DirectoryStatus = admin.get("/directory/status").await?;
    let status = Screen {
        map: &view.map,
        reports: view.reports.values().collect(),
        under_replicated: under_replicated(&view).count(),
        keeper_status: keeper::ask(&admin, &view.map).await,
        buckets: directory.buckets,
        garbage_needles: directory.garbage_needles,
    };
    output.answer(&status, |status| for_people(status, &view, args.volumes))
}

/// The volumes of which a replica cannot be asked now.
fn under_replicated(view: &View) -> impl Iterator<Item = &VolumeEntry> {
    view.map.volumes.iter().filter(|volume| view.absent_replicas(volume) > 0)
}

fn for_people(status: &Screen<'_>, view: &View, all: bool) -> String {
    let mut text = summary(status, view);
    text += "\n\n";
    text += &store_table(view);
    let told = volumes(&mut text, view, all);
    debug_assert!(told.is_ok(), "a String takes everything");
    text + &status.keeper_status.as_ref().map(keeper::jobs).unwrap_or_default()
}

fn summary(status: &Screen<'_>, view: &View) -> String {
    let map = status.map;
    let there = map.stores.iter().filter(|store| store.alive).count();
    let keeper = map.keeper.as_ref().map_or_else(
        || "none leads: lost copies are not made again".to_owned(),
        |info| {
            let paused = if keeper::is_paused(map) { ", paused" } else { "" };
            format!("{} leads, term {}{paused}", one_line(&info.name), info.term)
        },
    );
    let orders: Vec<&str> = map.orders.iter().map(|order| order.id.as_str()).collect();
    let orders = if orders.is_empty() { "none".to_owned() } else { orders.join(", ") };
    let lines = [
        ("cluster", map.cluster_id.to_string()),
        ("stores", format!("{there} of {} are there", map.stores.len())),
        ("volumes", by_state(&map.volumes, under_replicated(view).count())),
        ("buckets", status.buckets.to_string()),
        ("garbage", format!("{} needles wait to be deleted", count(status.garbage_needles))),
        ("keeper", keeper),
        ("orders", orders),
    ];
    lines.map(|(name, text)| format!("{name:<9} {text}")).join("\n")
}

fn by_state(volumes: &[VolumeEntry], under_replicated: usize) -> String {
    let mut states: BTreeMap<&str, usize> = BTreeMap::new();
    for volume in volumes {
        *states.entry(state(volume)).or_default() += 1;
    }
    let states: Vec<String> =
        states.iter().map(|(state, many)| format!("{many} {state}")).collect();
    let mut parts = vec![format!("{} in all", volumes.len())];
    parts.extend(states);
    if under_replicated > 0 {
        parts.push(format!("{under_replicated} under-replicated"));
    }
    parts.join(", ")
}

fn state(volume: &VolumeEntry) -> &'static str {
    match (volume.state, &volume.moving) {
        (_, Some(_)) => "moving",
        (VolumeState::Writable, None) => "writable",
        (VolumeState::ReadOnly, None) => "read-only",
    }
}

struct StoreLine<'a> {
    store: &'a StoreEntry,
    answers: bool,
    free: u64,
    total: u64,
}

/// Stores, rack by rack.
pub fn store_table(view: &View) -> String {
    fn line<'a>(view: &View, store: &'a StoreEntry) -> StoreLine<'a> {
        let id = &store.store;
        let answers = view.reports.get(id).is_some_and(|last| last.answers);
        let (free, total) = view.disks(id);
        StoreLine { store, answers, free, total }
    }
    let stores = view.map.stores.iter();
    let mut lines: Vec<StoreLine<'_>> = stores.map(|store| line(view, store)).collect();
    lines.sort_by_key(|line| {
        let StoreEntry { rack, host, store, .. } = line.store;
        (rack.clone(), host.clone(), store.clone())
    });
    table(
        &lines,
        &[
            Column::text("RACK", |line: &StoreLine<'_>| line.store.rack.to_string()),
            Column::text("HOST", |line| host(line.store)),
            Column::text("STORE", |line| line.store.store.to_string()),
            Column::text("STATE", |line| standing(line.store, line.answers)),
            Column::text("KNOWN SINCE", |line| time_ms(line.store.since_ms)),
            Column::number("DISKS", |line| line.store.disks.len().to_string()),
            Column::number("SIZE", |line| size(line.total)),
            Column::number("FREE", |line| size(line.free)),
            Column::number("FULL", |line| {
                percent(line.total.saturating_sub(line.free), line.total)
            }),
            Column::number("VOLUMES", |line| line.store.volumes.to_string()),
            Column::text("ADDRESS", |line| {
                line.store.address.as_deref().map_or("-".to_owned(), one_line)
            }),
        ],
    )
}

/// The machine, where one was named.
fn host(store: &StoreEntry) -> String {
    if store.host == Host::from(&store.store) { "-".to_owned() } else { store.host.to_string() }
}

fn standing(store: &StoreEntry, answers: bool) -> String {
    let mut text = match (store.alive, answers) {
        (false, _) => "gone",
        (true, false) => "silent",
        (true, true) => "there",
    }
    .to_owned();
    if let Some(illness) = &store.ill {
        text = format!("{text}, ill: {}", one_line(&illness.reason));
    }
    if store.draining {
        text += if store.volumes == 0 { ", drained" } else { ", draining" };
    }
    text
}

struct VolumeLine<'a> {
    volume: &'a VolumeEntry,
    absent: usize,
    file_bytes: u64,
}

fn volumes(text: &mut String, view: &View, all: bool) -> std::fmt::Result {
    let needs_a_look =
        |volume: &&VolumeEntry| all || volume.moving.is_some() || view.absent_replicas(volume) > 0;
    let chosen: Vec<&VolumeEntry> = view.map.volumes.iter().filter(needs_a_look).collect();
    let shown = if all { chosen.len() } else { chosen.len().min(MAX_VOLUMES) };
    if shown == 0 {
        return Ok(());
    }
    let lines: Vec<VolumeLine<'_>> = chosen
        .iter()
        .take(shown)
        .map(|volume| VolumeLine {
            volume,
            absent: view.absent_replicas(volume),
            file_bytes: view.file_bytes(volume.volume),
        })
        .collect();
    let drawn = table(
        &lines,
        &[
            Column::number("VOLUME", |line: &VolumeLine<'_>| line.volume.volume.to_string()),
            Column::text("STATE", |line| state(line.volume).to_owned()),
            Column::number("FILE", |line| size(line.file_bytes)),
            Column::number("EPOCH", |line| line.volume.epoch.to_string()),
            Column::number("ABSENT", |line| line.absent.to_string()),
            Column::text("STORES", |line| {
                let stores: Vec<&str> = line.volume.replicas.iter().map(StoreId::as_str).collect();
                stores.join(" ")
            }),
        ],
    );
    write!(text, "\n\n{drawn}")?;
    if chosen.len() > shown {
        write!(text, "\n… and {} more: --volumes", chosen.len() - shown)?;
    }
    Ok(())
}
