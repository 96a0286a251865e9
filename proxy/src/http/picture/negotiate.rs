//! Which format a client takes, where its URL names none.

use axum::http::HeaderMap;
use hayrick_directory::NegotiatedFormat;
use hayrick_images::OutputFormat;
use headers::HeaderMapExt as _;
use headers_accept::Accept;
use mediatype::MediaType;

/// The first of `offered` that the request names. One that takes anything (`*/*`) has not said that
/// it can show the newer formats, and most that say so cannot.
pub(super) fn negotiate(
    headers: &HeaderMap,
    offered: &[NegotiatedFormat],
    is_animated: bool,
) -> Option<OutputFormat> {
    let accept = headers.typed_get::<Accept>()?;
    // One that is not built in is not offered.
    let offered = offered.iter().map(|format| match format {
        NegotiatedFormat::Avif => OutputFormat::Avif,
        NegotiatedFormat::Webp => OutputFormat::WebP,
    });
    let mut offered =
        offered.filter(|format| format.is_built() && (!is_animated || format.is_animated()));
    offered.find(|format| is_named(&accept, format.content_type()))
}

/// Whether the type is in the list by name, and not to be avoided (`q=0`).
fn is_named(accept: &Accept, content_type: &str) -> bool {
    let Ok(wanted) = MediaType::parse(content_type) else { return false };
    accept.media_types().any(|named| named.essence() == wanted)
        && accept.negotiate([&wanted]).is_some()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use axum::http::header::ACCEPT;

    use super::*;

    const BOTH: [NegotiatedFormat; 2] = [NegotiatedFormat::Avif, NegotiatedFormat::Webp];

    fn chosen(accept: &'static str, is_animated: bool) -> Option<OutputFormat> {
        let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
        negotiate(&headers, &BOTH, is_animated)
    }

    #[test]
    fn only_what_is_named_is_sent() {
        let browser = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8";
        assert_eq!(chosen(browser, false), Some(OutputFormat::Avif));
        assert_eq!(chosen(browser, true), Some(OutputFormat::WebP));
        assert_eq!(chosen("image/webp;q=0.1", false), Some(OutputFormat::WebP));
        assert_eq!(chosen("image/avif;q=0, image/webp", false), Some(OutputFormat::WebP));
        for accept in ["*/*", "image/*", "image/png", "", "image/avif;q=0,*/*", "no such thing"] {
            assert_eq!(chosen(accept, false), None, "{accept}");
        }
        assert_eq!(negotiate(&HeaderMap::new(), &BOTH, false), None);
    }
}
