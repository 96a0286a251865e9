//! Volume files and data directories without their server. Only what says so changes them.

pub mod archive;
pub mod disk;
mod dump;
pub mod fix;
pub mod names;
mod place;
mod verify;

pub use dump::dump;
pub use verify::{tell, verify};

use std::path::Path;
use std::sync::Arc;

use hayrick_store::storage::File;
use hayrick_store::storage::os::open_read_only;
use hayrick_store::volume::Diagnosis;

use crate::failure::Failure;

fn open(path: &Path) -> Result<Arc<dyn File>, Failure> {
    open_read_only(path).map_err(Failure::file("open volume file", path))
}

/// A figure of a volume's diagnosis, or a dash where there is none.
fn figure(found: Option<&Diagnosis>, field: fn(&Diagnosis) -> String) -> String {
    found.map_or("-".to_owned(), field)
}
