//! The media type of an object.

use std::borrow::Cow;
use std::ops::Deref;

use serde::{Deserialize, Serialize};

/// What most objects are. Not an order, nor a limit: any other type is kept as well.
const USUAL: [&str; 16] = [
    "image/jpeg",
    "image/png",
    "image/webp",
    "image/avif",
    "image/gif",
    "image/heic",
    "image/svg+xml",
    "image/tiff",
    "video/mp4",
    "video/quicktime",
    "audio/mpeg",
    "application/octet-stream",
    "application/pdf",
    "application/json",
    "text/plain",
    "text/html",
];

/// A media type, as it was told. A usual one takes no memory beside the row, of which many are
/// remembered, and need not be fetched from there when the row is used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String")]
pub struct ContentType(Cow<'static, str>);

impl ContentType {
    /// The text, where it is a usual type.
    pub fn as_usual(&self) -> Option<&'static str> {
        match self.0 {
            Cow::Borrowed(usual) => Some(usual),
            Cow::Owned(_) => None,
        }
    }

    /// The bytes that it takes in the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        self.as_usual().map_or(self.len(), |_| 0)
    }
}

impl Deref for ContentType {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl From<Cow<'_, str>> for ContentType {
    fn from(text: Cow<'_, str>) -> Self {
        let usual = USUAL.into_iter().find(|usual| *usual == text);
        Self(usual.map_or_else(|| Cow::Owned(text.into_owned()), Cow::Borrowed))
    }
}

impl From<&str> for ContentType {
    fn from(text: &str) -> Self {
        Cow::Borrowed(text).into()
    }
}

impl From<String> for ContentType {
    fn from(text: String) -> Self {
        Cow::<'_, str>::Owned(text).into()
    }
}

impl From<ContentType> for String {
    fn from(content_type: ContentType) -> Self {
        content_type.0.into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_is_kept_and_a_usual_type_takes_no_memory() {
        for (text, usual) in [("image/jpeg", true), ("image/JPEG", false), ("x", false)] {
            let json = format!("{text:?}");
            let read: ContentType = serde_json::from_str(&json).unwrap();
            for content_type in [text.into(), text.to_owned().into(), read] {
                let content_type: ContentType = content_type;
                assert_eq!(&*content_type, text);
                assert_eq!(content_type.as_usual(), usual.then_some(text));
                assert_eq!(content_type.heap_bytes() == 0, usual);
                assert_eq!(serde_json::to_string(&content_type).unwrap(), json);
                assert_eq!(String::from(content_type), text);
            }
        }
        assert_eq!(&*ContentType::default(), "");
    }
}
