//! Pictures that are made before anybody asks for them.

use std::sync::Arc;

use hayrick_directory::{ImagePolicy, Row};
use hayrick_images::Suffix;

use super::focus;
use crate::Proxy;

/// What the bucket wants made of each new object.
pub(in crate::http) fn ahead(policy: &ImagePolicy) -> Vec<Suffix> {
    let presets = policy.pregenerate.iter().filter_map(|name| policy.preset(name.as_str()));
    // One that cannot be read is told to whoever asks for it.
    presets.filter_map(|text| Suffix::parse(text).ok()).collect()
}

impl Proxy {
    /// Makes these of a new object, in the background and one after another. What finds no room now
    /// is made when it is asked for.
    pub(in crate::http) fn make_ahead(self: &Arc<Self>, row: &Arc<Row>, suffixes: Vec<Suffix>) {
        if suffixes.is_empty()
            || !self.pictures.are_kept()
            || !row.content_type.starts_with("image/")
        {
            return;
        }
        let (proxy, row) = (Arc::clone(self), Arc::clone(row));
        tokio::spawn(async move {
            for mut suffix in suffixes {
                suffix.focus = focus(&row);
                if let Err(error) = proxy.picture(&row, suffix).await {
                    tracing::debug!(%error, "a picture was not made ahead");
                }
            }
        });
    }
}
