//! What operators ask of a keeper, on its admin listener.
//!
//! | request | answer |
//! |---|---|
//! | `GET /keeper/status` | [`KeeperStatus`] |
//!
//! What they tell it, they tell a directory: `POST /directory/orders`.

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};

use super::{Keeper, KeeperStatus};

/// The routes of the admin listener.
pub fn router(keeper: Keeper) -> Router {
    Router::new().route("/keeper/status", get(status)).with_state(keeper)
}

async fn status(State(keeper): State<Keeper>) -> Json<KeeperStatus> {
    Json(keeper.status())
}
