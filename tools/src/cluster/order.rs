//! Orders to the keeper: planned, given, and watched until they are carried out.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::Args;
use hayrick_directory::http::admin::NamedOrder;
use hayrick_directory::{Order, OrderId};
use hayrick_store::VolumeId;
use serde::Serialize;
use tokio::time::sleep;

use super::keeper;
use super::view::View;
use crate::admin::{Admin, AdminArgs};
use crate::failure::Failure;
use crate::output::{Column, Output, one_line, table};
use crate::progress::Progress;
use crate::units::size;

/// How often a directory is asked how far the keeper is.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Flags of every command that moves data.
#[derive(Debug, Args)]
pub struct OrderArgs {
    /// Do it; without it, only what would be done is told
    #[arg(long)]
    pub yes: bool,
    /// Give the order and do not wait until the keeper has carried it out
    #[arg(long, requires = "yes")]
    no_wait: bool,
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// One order, and what it comes to.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    #[serde(flatten)]
    order: NamedOrder,
    /// Bytes that will be copied, or read where nothing is copied.
    pub bytes: u64,
    /// What will be done, in words.
    #[serde(skip)]
    words: String,
}

#[derive(Serialize)]
struct Answer<'a> {
    /// Whether the orders were given.
    given: bool,
    /// Whether the keeper has carried them out.
    done: bool,
    steps: &'a [Step],
}

impl Step {
    /// A step of a plan.
    pub fn new(order: Order, bytes: u64, words: String) -> Self {
        Self { order: NamedOrder { id: order.id(), order }, bytes, words }
    }

    /// Whether the keeper has carried it out.
    fn is_done(&self, view: &View) -> bool {
        match &self.order.order {
            // It stands for as long as the store is there.
            Order::Drain { store } => view.volumes_on(store).next().is_none(),
            _ => !stands(view, &self.order.id),
        }
    }

    /// Whether it is about a volume.
    fn concerns(&self, view: &View, volume: VolumeId) -> bool {
        match &self.order.order {
            Order::Drain { store } => view.volumes_on(store).any(|own| own.volume == volume),
            order => order.volume() == Some(volume),
        }
    }

    /// Bytes that are still to be copied.
    fn left(&self, view: &View) -> u64 {
        match &self.order.order {
            _ if self.is_done(view) => 0,
            Order::Drain { store } => {
                view.volumes_on(store).map(|volume| view.file_bytes(volume.volume)).sum()
            }
            _ => self.bytes,
        }
    }
}

fn stands(view: &View, id: &OrderId) -> bool {
    view.map.orders.iter().any(|order| order.id == *id)
}

/// Tells the plan; with `--yes` gives the orders and waits until they are carried out.
pub async fn carry_out(
    admin: &Admin,
    view: &View,
    steps: Vec<Step>,
    args: &OrderArgs,
    output: Output,
) -> Result<(), Failure> {
    if !args.yes {
        let answer = Answer { given: false, done: false, steps: &steps };
        output.answer(&answer, |_| for_people(&steps))?;
        if !steps.is_empty() {
            output.note("Nothing was done. Add --yes to do it.");
        }
        return Ok(());
    }
    for step in &steps {
        let _: NamedOrder = admin.post("/directory/orders", &step.order.order).await?;
    }
    let mut answer = Answer { given: true, done: false, steps: &steps };
    if args.no_wait {
        return output.answer(&answer, |_| "Given. See how far it is: hayrick cluster status");
    }
    if view.map.keeper.is_none() {
        return Err(Failure::failed("no keeper leads, so nothing is carried out yet")
            .hint("start one: hayrick keeper; what was ordered stands meanwhile"));
    }
    tokio::select! {
        done = watch(admin, &steps, output) => done?,
        _ = tokio::signal::ctrl_c() => {
            return Err(Failure::interrupted().hint(take_back(&steps)));
        }
    }
    answer.done = true;
    output.answer(&answer, |_| "Done.")
}

fn for_people(steps: &[Step]) -> String {
    if steps.is_empty() {
        return "There is nothing to do.".to_owned();
    }
    table(
        steps,
        &[
            Column::text("ORDER", |step| step.words.clone()),
            Column::number("BYTES", |step| size(step.bytes)),
        ],
    )
}

/// What one may do about orders that are not waited for.
fn take_back(steps: &[Step]) -> String {
    match steps {
        [step] => format!(
            "the keeper goes on; to take the order back: hayrick keeper cancel {}",
            step.order.id.as_str()
        ),
        _ => "the keeper goes on; see hayrick cluster status, and hayrick keeper cancel".to_owned(),
    }
}

async fn watch(admin: &Admin, steps: &[Step], output: Output) -> Result<(), Failure> {
    let progress = Progress::new("the keeper".to_owned());
    let total: u64 = steps.iter().map(|step| step.bytes).sum();
    let mut troubles = BTreeSet::new();
    loop {
        let view = View::ask(admin).await?;
        let left: u64 = steps.iter().map(|step| step.left(&view)).sum();
        progress.set(total.saturating_sub(left), total);
        if steps.iter().all(|step| step.is_done(&view)) {
            return Ok(());
        }
        let status = keeper::ask(admin, &view.map).await;
        for stuck in status.into_iter().flat_map(|status| status.stuck) {
            let told = steps.iter().any(|step| step.concerns(&view, stuck.volume));
            let trouble = format!("volume {}: {}", stuck.volume, one_line(&stuck.reason));
            if told && troubles.insert(trouble.clone()) {
                output.note(trouble);
            }
        }
        sleep(LOOK_EVERY).await;
    }
}
