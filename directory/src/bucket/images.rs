//! What a bucket lets be made of its pictures.
//!
//! The directory keeps this and knows nothing of pictures: what a preset's text asks for is for the
//! proxies to read, and for whoever writes it to check.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{NameError, text_conversions};

/// The longest text of a preset, in bytes.
const MAX_PRESET_BYTES: usize = 256;
/// The most presets, and the most sizes.
const MAX_ENTRIES: usize = 256;

/// What a bucket lets be made of its pictures. The default lets anything be made that the suffix
/// of a URL can ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImagePolicy {
    /// Suffixes with a name: `avatar` may stand for `96w_96h_1c_85q.webp`, and is asked for as
    /// `@!avatar`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub presets: BTreeMap<PresetName, String>,
    /// Nothing but presets is made, in whatever format.
    #[serde(skip_serializing_if = "is_default")]
    pub presets_only: bool,
    /// What a name means that no preset has.
    #[serde(skip_serializing_if = "is_default")]
    pub unknown_presets: UnknownPresets,
    /// If there are any, no other boxes may be asked for but by presets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sizes: Vec<BoxSize>,
    /// Anything but a bare preset needs a token signed for the whole name with its suffix.
    #[serde(skip_serializing_if = "is_default")]
    pub signed: bool,
    /// Where the URL names no format, the first of these that the client says it takes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub negotiate: Vec<NegotiatedFormat>,
    /// What is answered where no picture can be made of an object.
    #[serde(skip_serializing_if = "is_default")]
    pub on_error: OnImageError,
    /// Whether `name.jpg_100x80.jpg` asks for a picture of `name.jpg`, as with the image server
    /// of bfs.
    #[serde(skip_serializing_if = "is_default")]
    pub legacy_sizes: bool,
    /// Presets that are made as soon as an object is uploaded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pregenerate: Vec<PresetName>,
}

/// The name of a preset: 1 to 64 of `a-z`, `0-9` and `-`, beginning with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PresetName(Box<str>);

/// The box that a picture may be asked into: `400x300`, `400x` or `x300`, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BoxSize {
    /// Its width, if it has one.
    pub width: Option<u32>,
    /// Its height, if it has one.
    pub height: Option<u32>,
}

/// What a preset's name means that no preset has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnknownPresets {
    /// Nothing: the rest of the suffix counts.
    #[default]
    Ignore,
    /// That there is no such picture.
    Refuse,
}

/// A format that is chosen by what a client says it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NegotiatedFormat {
    /// AVIF.
    Avif,
    /// WebP.
    Webp,
}

/// What is answered where no picture can be made of an object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnImageError {
    /// Why.
    #[default]
    Error,
    /// The object as it is, where it is no picture, a broken one, or of a kind that is not read.
    Original,
}

/// Why a policy is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImagePolicyError {
    /// More than can be looked through for every picture.
    #[error("{count} {what} are too many: at most {MAX_ENTRIES}")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How many.
        count: usize,
    },
    /// A preset that is longer than any suffix.
    #[error("preset {0} has more than {MAX_PRESET_BYTES} bytes")]
    TooLong(PresetName),
    /// It cannot be made ahead.
    #[error("there is no preset {0} to make ahead")]
    NoPreset(PresetName),
    /// Nothing could be asked for at all.
    #[error("only presets may be asked for, and there is none")]
    Nothing,
}

impl ImagePolicy {
    /// Whether the parts of the policy fit each other.
    pub fn check(&self) -> Result<(), ImagePolicyError> {
        let counts = [("presets", self.presets.len()), ("sizes", self.sizes.len())];
        if let Some((what, count)) = counts.into_iter().find(|(_, count)| *count > MAX_ENTRIES) {
            return Err(ImagePolicyError::TooMany { what, count });
        }
        let is_too_long = |text: &str| text.len() > MAX_PRESET_BYTES;
        if let Some((name, _)) = self.presets.iter().find(|(_, text)| is_too_long(text)) {
            return Err(ImagePolicyError::TooLong(name.clone()));
        }
        if let Some(name) = self.pregenerate.iter().find(|name| !self.presets.contains_key(*name)) {
            return Err(ImagePolicyError::NoPreset(name.clone()));
        }
        if self.presets_only && self.presets.is_empty() {
            return Err(ImagePolicyError::Nothing);
        }
        Ok(())
    }

    /// The text of a preset.
    pub fn preset(&self, name: &str) -> Option<&str> {
        self.presets.get(name).map(String::as_str)
    }
}

impl PresetName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for PresetName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for PresetName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let begins_well = text.bytes().next().is_some_and(super::is_lower_alphanumeric);
        let is_fit = |byte| super::is_lower_alphanumeric(byte) || byte == b'-';
        if begins_well && text.len() <= 64 && text.bytes().all(is_fit) {
            return Ok(Self(text.into()));
        }
        let reason = "1 to 64 of a-z, 0-9 and `-`, beginning with a letter or digit";
        Err(NameError::new("the name of a preset", reason, text))
    }
}

impl FromStr for BoxSize {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let error = || NameError::new("a size", "write 400x300, 400x or x300", text);
        let side = |side: &str| match side.parse() {
            _ if side.is_empty() => Ok(None),
            Ok(pixels) if pixels > 0 => Ok(Some(pixels)),
            _ => Err(error()),
        };
        let (width, height) = text.split_once('x').ok_or_else(error)?;
        let size = Self { width: side(width)?, height: side(height)? };
        if size.width.or(size.height).is_none() { Err(error()) } else { Ok(size) }
    }
}

impl std::fmt::Display for BoxSize {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let side = |side: Option<u32>| side.map(|side| side.to_string()).unwrap_or_default();
        write!(f, "{}x{}", side(self.width), side(self.height))
    }
}

impl TryFrom<String> for BoxSize {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<BoxSize> for String {
    fn from(size: BoxSize) -> Self {
        size.to_string()
    }
}

text_conversions!(PresetName);

/// For serde: a policy that is shared in memory is written like any other.
pub(super) mod shared {
    use std::sync::Arc;

    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    use super::ImagePolicy;

    pub(in crate::bucket) fn serialize<S: Serializer>(
        policy: &Arc<ImagePolicy>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        policy.as_ref().serialize(serializer)
    }

    pub(in crate::bucket) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Arc<ImagePolicy>, D::Error> {
        ImagePolicy::deserialize(deserializer).map(Arc::new)
    }
}

/// For serde: what is as always need not be written down.
pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_read_as_it_was_written() {
        let text = r#"{"presets":{"avatar":"96w_96h_1c.webp"},"presets_only":true,"unknown_presets":"refuse",
            "sizes":["400x300","400x","x300"],"signed":true,"negotiate":["avif","webp"],
            "on_error":"original","legacy_sizes":true,"pregenerate":["avatar"]}"#;
        let policy: ImagePolicy = serde_json::from_str(text).unwrap();
        assert_eq!(policy.check(), Ok(()));
        let written = serde_json::to_string(&policy).unwrap();
        assert_eq!(serde_json::from_str::<ImagePolicy>(&written).unwrap(), policy);
        assert_eq!(written, text.replace(['\n', ' '], ""));
        assert_eq!(serde_json::to_string(&ImagePolicy::default()).unwrap(), "{}");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for text in [
            r#"{"presets":{"Avatar":""}}"#,
            r#"{"presets":{"-a":""}}"#,
            r#"{"sizes":["400"]}"#,
            r#"{"sizes":["x"]}"#,
            r#"{"sizes":["0x3"]}"#,
            r#"{"sizes":["-1x3"]}"#,
            r#"{"negotiate":["jpeg"]}"#,
            r#"{"preset_only":true}"#,
        ] {
            assert!(serde_json::from_str::<ImagePolicy>(text).is_err(), "{text}");
        }
        let avatar = || "avatar".parse::<PresetName>().unwrap();
        let nothing = ImagePolicy { presets_only: true, ..ImagePolicy::default() };
        assert_eq!(nothing.check(), Err(ImagePolicyError::Nothing));
        let ahead = ImagePolicy { pregenerate: vec![avatar()], ..ImagePolicy::default() };
        assert_eq!(ahead.check(), Err(ImagePolicyError::NoPreset(avatar())));
        let long = ImagePolicy {
            presets: [(avatar(), "1".repeat(MAX_PRESET_BYTES + 1))].into(),
            ..ImagePolicy::default()
        };
        assert_eq!(long.check(), Err(ImagePolicyError::TooLong(avatar())));
        let size = BoxSize { width: Some(1), height: None };
        let many = ImagePolicy { sizes: vec![size; MAX_ENTRIES + 1], ..ImagePolicy::default() };
        assert!(matches!(many.check(), Err(ImagePolicyError::TooMany { what: "sizes", .. })));
    }
}
