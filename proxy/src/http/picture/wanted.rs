//! What picture a path asks for, and whether its bucket lets it be made.

use hayrick_directory::{BoxSize, ImagePolicy, UnknownPresets};
use hayrick_images::{Suffix, SuffixError, split};

/// A picture that a path asks for.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::http) struct Wanted<'a> {
    /// The name of the object to make it of.
    pub(in crate::http) object: &'a str,
    /// What to make.
    pub(in crate::http) suffix: Suffix,
    /// Whether a preset alone asks for it, so that nobody but the bucket's owner chose what it is.
    pub(in crate::http) is_preset: bool,
    /// Whether it is asked for as from the image server of bfs, which answers with the object
    /// itself where there is no picture of it.
    pub(in crate::http) is_legacy: bool,
}

/// Why a picture is not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::http) enum Refusal {
    #[error(transparent)]
    Suffix(#[from] SuffixError),
    #[error("there is no preset `{0}` in this bucket")]
    NoPreset(String),
    /// A preset that nobody checked.
    #[error("preset `{name}`: {error}")]
    BrokenPreset { name: String, error: SuffixError },
    #[error("in this bucket only presets are served: @!{{name}}, with or without a format")]
    PresetsOnly,
    #[error("this size is not served here: use {}", listed(.0))]
    Size(Vec<BoxSize>),
}

impl<'a> Wanted<'a> {
    /// Reads the path of a request. `None` where it asks for no picture, but for an object of that name.
    pub(in crate::http) fn of_path(
        path: &'a str,
        policy: &ImagePolicy,
    ) -> Result<Option<Self>, Refusal> {
        if let Some((object, text)) = split(path) {
            match Suffix::parse(text) {
                Ok(asked) => return Self::asked(object, text, asked, policy).map(Some),
                Err(SuffixError::NotASuffix) => {}
                Err(error) => return Err(error.into()),
            }
        }
        match Suffix::of_legacy_path(path).filter(|_| policy.legacy_sizes) {
            Some((object, suffix)) => {
                let wanted = Self { object, suffix, is_preset: false, is_legacy: true };
                wanted.allowed_by(policy).map(Some)
            }
            None => Ok(None),
        }
    }

    fn asked(
        object: &'a str,
        text: &str,
        asked: Suffix,
        policy: &ImagePolicy,
    ) -> Result<Self, Refusal> {
        let is_bare = asked.is_bare();
        let name = asked.tag.clone().unwrap_or_default();
        let (suffix, is_preset) = match policy.preset(&name) {
            Some(preset) => {
                let broken = |error| Refusal::BrokenPreset { name, error };
                let preset = Suffix::parse(preset).map_err(broken)?;
                (Suffix::parse_onto(preset, text)?, is_bare)
            }
            None if asked.tag.is_some() && policy.unknown_presets == UnknownPresets::Refuse => {
                return Err(Refusal::NoPreset(name));
            }
            None => (asked, false),
        };
        Self { object, suffix, is_preset, is_legacy: false }.allowed_by(policy)
    }

    fn allowed_by(self, policy: &ImagePolicy) -> Result<Self, Refusal> {
        if self.is_preset {
            return Ok(self);
        }
        if policy.presets_only {
            return Err(Refusal::PresetsOnly);
        }
        if !policy.sizes.is_empty() && !is_listed(&self.suffix, &policy.sizes) {
            return Err(Refusal::Size(policy.sizes.clone()));
        }
        Ok(self)
    }
}

/// Whether the suffix asks for one of these boxes, or for none.
fn is_listed(suffix: &Suffix, sizes: &[BoxSize]) -> bool {
    let is_scaled = suffix.percent != 100 && !suffix.crops();
    let is_same = |side: Option<u32>, asked: Option<u64>| side.map(u64::from) == asked;
    let is_whole = suffix.width.or(suffix.height).is_none();
    let mut same = sizes
        .iter()
        .filter(|size| is_same(size.width, suffix.width) && is_same(size.height, suffix.height));
    !is_scaled && (is_whole || same.next().is_some())
}

fn listed(sizes: &[BoxSize]) -> String {
    let sizes: Vec<_> = sizes.iter().map(ToString::to_string).collect();
    sizes.join(", ")
}

#[cfg(test)]
mod tests {
    use hayrick_images::Fit;

    use super::*;

    fn policy(json: &str) -> ImagePolicy {
        serde_json::from_str(json).unwrap()
    }

    fn canonical(path: &str, policy: &ImagePolicy) -> Result<String, Refusal> {
        Wanted::of_path(path, policy).map(|wanted| wanted.unwrap().suffix.canonical())
    }

    #[test]
    fn a_preset_stands_for_its_text_and_may_be_varied() {
        let policy = policy(r#"{"presets":{"avatar":"96w_96h_1c_85q.webp"}}"#);
        let canonical = |path| canonical(path, &policy).unwrap();
        assert_eq!(canonical("a.jpg@!avatar"), "96w_96h_1c_85q.webp");
        assert_eq!(canonical("a.jpg@!Avatar.jpg"), "96w_96h_1c_85q.jpg");
        assert_eq!(canonical("a.jpg@48w_48h_!avatar"), "48w_48h_1c_85q.webp");
        assert_eq!(canonical("a.jpg@48w_!web-nav"), "48w", "a name that nobody knows");
        for (path, is_preset) in
            [("a@!avatar", true), ("a@!avatar.png", true), ("a@1q_!avatar", false), ("a@1w", false)]
        {
            assert_eq!(Wanted::of_path(path, &policy).unwrap().unwrap().is_preset, is_preset);
        }
    }

    #[test]
    fn a_bucket_may_serve_nothing_but_presets() {
        let policy = policy(
            r#"{"presets":{"a":"9w","bad":"0w"},"presets_only":true,"unknown_presets":"refuse"}"#,
        );
        assert_eq!(canonical("x@!a.png", &policy).unwrap(), "9w.png");
        for path in ["x@", "x@9w", "x@8w_!a", "x@.webp"] {
            assert_eq!(canonical(path, &policy), Err(Refusal::PresetsOnly), "{path}");
        }
        assert_eq!(canonical("x@!b", &policy), Err(Refusal::NoPreset("b".to_owned())));
        assert!(matches!(canonical("x@!bad", &policy), Err(Refusal::BrokenPreset { .. })));
        assert_eq!(Wanted::of_path("x@2x.png", &policy), Ok(None), "a name as any other");
    }

    #[test]
    fn a_bucket_may_serve_few_sizes() {
        let policy = policy(r#"{"presets":{"a":"9w"},"sizes":["400x300","200x"]}"#);
        for path in ["x@400w_300h_1c.webp", "x@200w", "x@.png", "x@", "x@!a", "x@200w_!a"] {
            assert!(canonical(path, &policy).is_ok(), "{path}");
        }
        for path in ["x@401w_300h", "x@400w", "x@200w_1h", "x@50p", "x@200w_50p", "x@9w_!a"] {
            let Err(refusal) = canonical(path, &policy) else { panic!("{path}") };
            assert_eq!(refusal.to_string(), "this size is not served here: use 400x300, 200x");
        }
    }

    #[test]
    fn the_older_kind_of_size_is_read_where_it_is_wanted() {
        let path = "cats/tom.jpg_100x80.jpg";
        assert_eq!(Wanted::of_path(path, &ImagePolicy::default()), Ok(None));
        let wanted = Wanted::of_path(path, &policy(r#"{"legacy_sizes":true}"#)).unwrap().unwrap();
        assert_eq!((wanted.object, wanted.suffix.fit), ("cats/tom.jpg", Fit::StretchDown));
        assert!(wanted.is_legacy);
        let few = policy(r#"{"legacy_sizes":true,"sizes":["100x100"]}"#);
        assert!(matches!(Wanted::of_path(path, &few), Err(Refusal::Size(_))));
    }
}
