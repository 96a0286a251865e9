//! `hayrick bucket images`.

use clap::{Args, ValueEnum};
use hayrick_directory::{
    BoxSize, Bucket, BucketName, ImagePolicy, NegotiatedFormat, OnImageError, PresetName,
    UnknownPresets,
};
use hayrick_images::Suffix;

use super::path;
use crate::admin::{Admin, AdminArgs};
use crate::failure::Failure;
use crate::output::{Output, facts};

/// Clears a list.
const NONE: &str = "none";

/// `hayrick bucket images`.
#[derive(Debug, Args)]
pub struct ImagesArgs {
    /// Which bucket
    name: BucketName,
    /// A suffix with a name, as in `avatar=96w_96h_1c.webp`; without a suffix, `avatar=`, it is
    /// removed. May be given several times
    #[arg(long = "preset", value_name = "NAME=SUFFIX", value_parser = preset)]
    presets: Vec<(PresetName, String)>,
    /// Whether nothing but presets is served
    #[arg(long, value_enum)]
    presets_only: Option<Switch>,
    /// What `@!name` means where no preset has the name
    #[arg(long, value_enum)]
    unknown_presets: Option<Unknown>,
    /// The only boxes that may be asked for without a preset, as in `400x300,200x,x100`; `none` for
    /// any
    #[arg(long, value_delimiter = ',')]
    sizes: Option<Vec<String>>,
    /// Whether anything but a preset needs a token for its whole name (`hayrick sign`)
    #[arg(long, value_enum)]
    signed: Option<Switch>,
    /// Formats for clients that say they take them, best first, as in `avif,webp`; or `none`
    #[arg(long, value_delimiter = ',')]
    negotiate: Option<Vec<String>>,
    /// What is answered where no picture can be made of an object
    #[arg(long, value_enum)]
    on_error: Option<OnError>,
    /// Whether `name.jpg_100x80.jpg` is a picture of `name.jpg`, as with the image server of bfs
    #[arg(long, value_enum)]
    legacy_sizes: Option<Switch>,
    /// Presets to make of every new object; or `none`
    #[arg(long, value_delimiter = ',')]
    pregenerate: Option<Vec<String>>,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Switch {
    On,
    Off,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Unknown {
    /// Nothing: the rest of the suffix counts
    Ignore,
    /// That there is no such picture
    Refuse,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum OnError {
    /// Why
    Error,
    /// The object as it is
    Original,
}

/// Shows what the bucket lets be made of its pictures, or changes it.
pub(super) async fn run(args: ImagesArgs, output: Output) -> Result<(), Failure> {
    let admin = Admin::new(&args.admin);
    let mut bucket: Bucket = admin.get(&path(&args.name)).await?;
    let mut images = bucket.images.as_ref().clone();
    args.apply(&mut images)?;
    if images != *bucket.images {
        images.check().map_err(|error| Failure::usage(error.to_string()))?;
        bucket = admin.replace(&format!("{}/images", path(&args.name)), &images).await?;
    }
    output.answer(&*bucket.images, shown)
}

impl ImagesArgs {
    fn apply(&self, policy: &mut ImagePolicy) -> Result<(), Failure> {
        for (name, suffix) in &self.presets {
            if suffix.is_empty() {
                policy.presets.remove(name.as_str());
            } else {
                policy.presets.insert(name.clone(), suffix.clone());
            }
        }
        let is_on = |switch| matches!(switch, Switch::On);
        set(&mut policy.presets_only, self.presets_only.map(is_on));
        set(&mut policy.signed, self.signed.map(is_on));
        set(&mut policy.legacy_sizes, self.legacy_sizes.map(is_on));
        let unknown = self.unknown_presets.map(|unknown| match unknown {
            Unknown::Ignore => UnknownPresets::Ignore,
            Unknown::Refuse => UnknownPresets::Refuse,
        });
        set(&mut policy.unknown_presets, unknown);
        let on_error = self.on_error.map(|on_error| match on_error {
            OnError::Error => OnImageError::Error,
            OnError::Original => OnImageError::Original,
        });
        set(&mut policy.on_error, on_error);
        set(&mut policy.sizes, list(self.sizes.as_deref(), str::parse::<BoxSize>)?);
        set(&mut policy.negotiate, list(self.negotiate.as_deref(), format)?);
        set(&mut policy.pregenerate, list(self.pregenerate.as_deref(), str::parse::<PresetName>)?);
        Ok(())
    }
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

/// The words of a list, read one by one.
fn list<T, E: std::fmt::Display>(
    words: Option<&[String]>,
    read: impl Fn(&str) -> Result<T, E>,
) -> Result<Option<Vec<T>>, Failure> {
    let Some(words) = words else { return Ok(None) };
    if words == [NONE] {
        return Ok(Some(Vec::new()));
    }
    let read = words.iter().map(|word| read(word)).collect::<Result<_, _>>();
    read.map(Some).map_err(|error: E| Failure::usage(error.to_string()))
}

fn format(word: &str) -> Result<NegotiatedFormat, String> {
    match word {
        "avif" => Ok(NegotiatedFormat::Avif),
        "webp" => Ok(NegotiatedFormat::Webp),
        _ => Err(format!("`{word}` is not a format to negotiate: use avif, webp or none")),
    }
}

/// What a suffix may not ask for is refused here, where somebody can mend it.
fn preset(text: &str) -> Result<(PresetName, String), String> {
    let (name, suffix) =
        text.split_once('=').ok_or("write NAME=SUFFIX, as in avatar=96w_96h_1c")?;
    let name = name.parse().map_err(|error| format!("{error}"))?;
    let suffix = suffix.trim_start_matches('@');
    Suffix::parse(suffix).map_err(|error| format!("`{suffix}`: {error}"))?;
    Ok((name, suffix.to_owned()))
}

fn shown(policy: &ImagePolicy) -> String {
    let word = |on| if on { "on" } else { "off" }.to_owned();
    let joined = |words: Vec<String>| {
        if words.is_empty() { NONE.to_owned() } else { words.join(", ") }
    };
    let sizes = policy.sizes.iter().map(ToString::to_string).collect();
    let formats = policy.negotiate.iter().map(|format| match format {
        NegotiatedFormat::Avif => "avif".to_owned(),
        NegotiatedFormat::Webp => "webp".to_owned(),
    });
    let unknown = match policy.unknown_presets {
        UnknownPresets::Ignore => "ignored",
        UnknownPresets::Refuse => "refused",
    };
    let on_error = match policy.on_error {
        OnImageError::Error => "the error",
        OnImageError::Original => "the object as it is",
    };
    let presets =
        policy.presets.iter().map(|(name, suffix)| format!("{name} = {suffix}")).collect();
    facts([
        ("presets", joined(presets)),
        ("nothing but presets", word(policy.presets_only)),
        ("unknown presets", unknown.to_owned()),
        ("sizes", if policy.sizes.is_empty() { "any".to_owned() } else { joined(sizes) }),
        ("others are signed", word(policy.signed)),
        ("formats by Accept", joined(formats.collect())),
        ("on error", on_error.to_owned()),
        ("sizes as in bfs", word(policy.legacy_sizes)),
        ("made ahead", joined(policy.pregenerate.iter().map(ToString::to_string).collect())),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preset_is_checked_before_it_is_kept() {
        let (name, suffix) = preset("avatar=@96w_96h_1c.webp").unwrap();
        assert_eq!((name.as_str(), suffix.as_str()), ("avatar", "96w_96h_1c.webp"));
        for bad in ["avatar", "Avatar=1w", "avatar=0w", "avatar=100x", "=1w"] {
            assert!(preset(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn lists_are_replaced_as_a_whole() {
        let words = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
        let sizes = |text| list(Some(&words(text)), str::parse::<BoxSize>);
        assert_eq!(sizes("400x300,200x").unwrap().unwrap().len(), 2);
        assert_eq!(sizes("none").unwrap(), Some(Vec::new()));
        assert!(sizes("400").is_err());
        assert_eq!(list(None, str::parse::<BoxSize>).unwrap(), None);
    }
}
