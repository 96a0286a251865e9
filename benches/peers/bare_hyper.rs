//! What hyper alone costs: `bare_hyper ADDRESS FOLDER` answers `GET /N` with the bytes of the
//! file named `N`, from memory. It knows nothing of conditions, ranges or errors, so no server
//! that does can be expected to be faster: see `docs/performance.md`.

use std::convert::Infallible;
use std::env;
use std::sync::Arc;

use hayrick_benches::corpus::{Body, Corpus};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, ETAG};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

type Answer = Response<Full<Bytes>>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [address, folder] = <[String; 2]>::try_from(env::args().skip(1).collect::<Vec<_>>())
        .map_err(|_| "usage: bare_hyper ADDRESS FOLDER")?;
    let corpus = Arc::new(Corpus::read(folder.as_ref())?);
    let listener = TcpListener::bind(address).await?;
    loop {
        let (connection, _) = listener.accept().await?;
        connection.set_nodelay(true)?;
        let corpus = Arc::clone(&corpus);
        let service = service_fn(move |request| {
            let answer = get(&corpus, &request);
            async { Ok::<_, Infallible>(answer) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(connection), service);
        // A client that goes away is no failure.
        tokio::spawn(async { connection.await.unwrap_or_default() });
    }
}

fn get(corpus: &Corpus, request: &Request<Incoming>) -> Answer {
    let number = request.uri().path().strip_prefix('/').and_then(|number| number.parse().ok());
    number.and_then(|number| corpus.get(number)).map_or_else(missing, found)
}

/// hyper adds the length by itself.
fn found(body: &Body) -> Answer {
    let mut answer = Response::new(Full::new(body.data.clone()));
    answer.headers_mut().insert(CONTENT_TYPE, body.content_type.clone());
    answer.headers_mut().insert(ETAG, body.etag.clone());
    answer
}

fn missing() -> Answer {
    let mut answer = Response::default();
    *answer.status_mut() = StatusCode::NOT_FOUND;
    answer
}
