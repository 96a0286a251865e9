//! What axum alone costs: `bare_axum ADDRESS FOLDER` answers `GET /N` with the bytes of the
//! file named `N`, from memory: see `bare_hyper`, which does the same without a router.

use std::env;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use hayrick_benches::corpus::{Body, Corpus};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [address, folder] = <[String; 2]>::try_from(env::args().skip(1).collect::<Vec<_>>())
        .map_err(|_| "usage: bare_axum ADDRESS FOLDER")?;
    let corpus = Arc::new(Corpus::read(folder.as_ref())?);
    let router = Router::new().route("/{number}", get(read)).with_state(corpus);
    let listener = TcpListener::bind(address).await?;
    let listener = axum::serve::ListenerExt::tap_io(listener, |connection| {
        // Latencies are compared with servers that do so; where it fails, it only gets slower.
        let _ = connection.set_nodelay(true);
    });
    axum::serve(listener, router).await?;
    Ok(())
}

async fn read(State(corpus): State<Arc<Corpus>>, Path(number): Path<usize>) -> Response {
    corpus.get(number).map_or_else(|| StatusCode::NOT_FOUND.into_response(), found)
}

fn found(body: &Body) -> Response {
    let headers = [
        (CONTENT_TYPE, body.content_type.clone()),
        (CONTENT_LENGTH, body.data.len().into()),
        (ETAG, body.etag.clone()),
    ];
    (headers, body.data.clone()).into_response()
}
