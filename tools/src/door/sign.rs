//! `hayrick sign`: a URL that opens one object for a while, made without asking anybody.

use axum::http::Method;
use clap::Args;
use hayrick_service::config::Span;
use serde::Serialize;

use super::object::{ObjectArg, query};
use super::{Door, DoorArgs, expiry};
use crate::failure::Failure;
use crate::output::Output;
use crate::units;

/// `hayrick sign`.
#[derive(Debug, Args)]
pub struct SignArgs {
    /// Which object
    #[arg(value_name = "BUCKET/NAME")]
    object: ObjectArg,
    /// What the URL may be used for: GET (HEAD too), PUT or DELETE
    #[arg(long, default_value = "GET", value_parser = method)]
    method: Method,
    /// For how long, such as 30m, 1h or 7d
    #[arg(long, value_name = "TIME", default_value = "1h")]
    expire: Span,
    #[command(flatten)]
    door: DoorArgs,
}

#[derive(Debug, Serialize)]
struct Signed {
    url: String,
    method: String,
    token: String,
    expires_ms: u64,
}

fn method(text: &str) -> Result<Method, String> {
    match text.to_ascii_uppercase().as_str() {
        "GET" => Ok(Method::GET),
        "HEAD" => Ok(Method::HEAD),
        "PUT" => Ok(Method::PUT),
        "POST" => Ok(Method::POST),
        "DELETE" => Ok(Method::DELETE),
        _ => Err("write GET, HEAD, PUT, POST or DELETE".to_owned()),
    }
}

/// Runs the command.
pub fn run(args: &SignArgs, output: Output) -> Result<(), Failure> {
    let SignArgs { object: ObjectArg(target), method, expire, door } = args;
    let life = expire.duration();
    let door = Door::new(door);
    let token = door.token(method, target, life).ok_or_else(|| {
        Failure::usage("signing needs an access key").hint(format!(
            "make one with `hayrick key create {}` and give it with --key or HAYRICK_KEY",
            target.bucket
        ))
    })?;
    let url = format!("{}{}", door.url(target), query([("token", token.as_str())]));
    let expires_ms = expiry(life).saturating_mul(1000);
    let signed = Signed { url, method: method.to_string(), token, expires_ms };
    output.answer(&signed, |signed| signed.url.clone())?;
    if !output.is_json() {
        output.note(format_args!("{method} until {}", units::time_ms(expires_ms)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods() {
        assert_eq!(method("put"), Ok(Method::PUT));
        assert!(method("TRACE").is_err());
    }
}
