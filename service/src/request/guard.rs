//! Requests that hyper and axum let through but a public door should not.

use axum::http::header::HOST;
use axum::http::uri::Authority;
use axum::http::{HeaderValue, Method, Request, StatusCode, Version};

use super::RequestOptions;
use crate::ApiError;

const MAX_METHOD_BYTES: usize = 32;
const ALLOW: &str = "GET, HEAD, PUT, POST, DELETE, OPTIONS";

/// Refuses what no handler should have to think about.
pub(super) fn check<B>(options: &RequestOptions, request: &Request<B>) -> Result<(), ApiError> {
    check_method(request.method())?;
    check_target(options, request)?;
    check_host(request)?;
    check_headers(options, request)
}

fn check_method(method: &Method) -> Result<(), ApiError> {
    if matches!(*method, Method::CONNECT | Method::TRACE) {
        return Err(ApiError::method_not_allowed(ALLOW));
    }
    if method.as_str().len() > MAX_METHOD_BYTES {
        return Err(ApiError::bad_request("the method's name is too long"));
    }
    Ok(())
}

fn check_target<B>(options: &RequestOptions, request: &Request<B>) -> Result<(), ApiError> {
    let uri = request.uri();
    let path = uri.path();
    let target_bytes = path.len() + uri.query().map_or(0, |query| query.len() + 1);
    if target_bytes > options.max_uri_bytes {
        let message = format!("the URL is longer than {} bytes", options.max_uri_bytes);
        return Err(ApiError::new(StatusCode::URI_TOO_LONG, "UriTooLong", message));
    }
    let about_server = path == "*" && request.method() == Method::OPTIONS;
    if !path.starts_with('/') && !about_server {
        return Err(ApiError::bad_request("the request target must be a path"));
    }
    Ok(())
}

/// RFC 9112 section 3.2: exactly one well-formed `Host` in HTTP/1.1; in HTTP/2 `:authority` may
/// stand for it, and the two must agree.
fn check_host<B>(request: &Request<B>) -> Result<(), ApiError> {
    let refuse = |message: &'static str| Err(ApiError::bad_request(message).with_code("BadHost"));
    let mut hosts = request.headers().get_all(HOST).iter();
    let authority = request.uri().authority();
    match (hosts.next(), hosts.next()) {
        (Some(_), Some(_)) => refuse("more than one Host header"),
        (None, _) if authority.is_some() && request.version() >= Version::HTTP_2 => Ok(()),
        (None, _) if request.version() < Version::HTTP_11 => Ok(()),
        (None, _) => refuse("the Host header is missing"),
        (Some(host), None) => match valid_host(host) {
            None => refuse("the Host header is not host[:port]"),
            Some(host)
                if request.version() >= Version::HTTP_2
                    && authority.is_some_and(|a| *a != host) =>
            {
                refuse("the Host header and :authority differ")
            }
            Some(_) => Ok(()),
        },
    }
}

fn valid_host(value: &HeaderValue) -> Option<Authority> {
    let authority: Authority = value.to_str().ok()?.parse().ok()?;
    let host = authority.host();
    let rest = authority.as_str().strip_prefix(host)?;
    let port_is_fine = rest.is_empty()
        || rest
            .strip_prefix(':')
            .is_some_and(|port| port.is_empty() || port.parse::<u16>().is_ok());
    (!host.is_empty() && port_is_fine && !authority.as_str().contains('@')).then_some(authority)
}

fn check_headers<B>(options: &RequestOptions, request: &Request<B>) -> Result<(), ApiError> {
    let limit = options.max_header_value_bytes;
    match request.headers().iter().find(|(_, value)| value.len() > limit) {
        None => Ok(()),
        Some((name, _)) => Err(ApiError::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "HeaderTooLarge",
            format!("the header {name} is longer than {limit} bytes"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(method: &str, target: &str, hosts: &[&str]) -> u16 {
        let mut request = Request::builder().method(method).uri(target);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        match check(&RequestOptions::named("test"), &request.body(()).unwrap()) {
            Ok(()) => 200,
            Err(error) => error.status.as_u16(),
        }
    }

    #[test]
    fn hosts() {
        for host in ["a", "a:80", "a:", "127.0.0.1:8080", "[::1]", "[::1]:8080", "a-b.c_d"] {
            assert_eq!(verdict("GET", "/", &[host]), 200, "{host}");
        }
        for host in ["", "a b", "a:99999", "a:b", "u@a", ":80", "a/b", "http://a", "a,b c", "[::1"]
        {
            assert_eq!(verdict("GET", "/", &[host]), 400, "{host}");
        }
        assert_eq!(verdict("GET", "/", &[]), 400);
        assert_eq!(verdict("GET", "/", &["a", "a"]), 400);
    }

    #[test]
    fn http_2_hosts() {
        let verdict = |host: Option<&str>| {
            let mut request = Request::builder().version(Version::HTTP_2).uri("http://a:1/x");
            if let Some(host) = host {
                request = request.header(HOST, host);
            }
            check(&RequestOptions::named("test"), &request.body(()).unwrap()).is_ok()
        };
        assert!(verdict(None));
        assert!(verdict(Some("a:1")));
        assert!(!verdict(Some("b")));
    }

    #[test]
    fn methods_and_targets() {
        assert_eq!(verdict("TRACE", "/", &["a"]), 405);
        assert_eq!(verdict("CONNECT", "a:80", &["a"]), 405);
        assert_eq!(verdict(&"X".repeat(33), "/", &["a"]), 400);
        assert_eq!(verdict("PROPFIND", "/", &["a"]), 200);
        assert_eq!(verdict("GET", "*", &["a"]), 400);
        assert_eq!(verdict("OPTIONS", "*", &["a"]), 200);
        assert_eq!(verdict("GET", &format!("/{}", "x".repeat(8191)), &["a"]), 200);
        assert_eq!(verdict("GET", &format!("/{}", "x".repeat(8192)), &["a"]), 414);
    }

    #[test]
    fn long_header_values() {
        let request = |bytes| {
            Request::builder()
                .header(HOST, "a")
                .header("x-long", "x".repeat(bytes))
                .body(())
                .unwrap()
        };
        assert!(check(&RequestOptions::named("test"), &request(8192)).is_ok());
        let refused = check(&RequestOptions::named("test"), &request(8193)).unwrap_err();
        assert_eq!(refused.status, 431);
        assert!(refused.message.contains("x-long"));
    }
}
