use proptest::prelude::*;

use super::*;

const A: Size = Size { width: 1920, height: 1080 };
const B: Size = Size { width: 1080, height: 1920 };
const C: Size = Size { width: 300, height: 200 };

fn plan(source: Size, suffix: &str) -> Plan {
    Plan::new(source, &Suffix::parse(suffix).unwrap(), GeometryOptions::default())
}

fn size(text: &str) -> Size {
    let (width, height) = text.split_once('x').unwrap();
    Size { width: width.parse().unwrap(), height: height.parse().unwrap() }
}

/// `WxH`, with `@x,y` after it where the offset is of interest, and the size of
/// the whole source, `/WxH`, after that.
fn check(source: Size, suffix: &str, expected: &str) {
    let plan = plan(source, suffix);
    let (rest, cover) = expected.split_once('/').map_or((expected, None), |(r, c)| (r, Some(c)));
    let (target, offset) = rest.split_once('@').map_or((rest, None), |(t, o)| (t, Some(o)));
    assert_eq!(plan.target, size(target), "{suffix} of {source:?}");
    if let Some(offset) = offset {
        let got = format!("{},{}", plan.window.left, plan.window.top);
        assert_eq!(got, offset, "offset of {suffix} of {source:?}");
    }
    if let Some(cover) = cover {
        assert_eq!(plan.cover, size(cover), "cover of {suffix} of {source:?}");
    }
}

/// Suffixes, and what they make of the three sources.
pub(crate) type Vector = (&'static [&'static str], [&'static str; 3]);

pub(crate) fn vectors() -> Vec<Vector> {
    let crop = ["100x100@39,0/178x100", "100x100@0,39/100x178", "100x100@25,0/150x100"];
    vec![
        (&["", "."][..], ["1920x1080", "1080x1920", "300x200"]),
        (&["100w", "100w_1c"], ["100x56", "100x178", "100x67"]),
        (&["100h"], ["178x100", "56x100", "150x100"]),
        (&["100w_100h", "100w_100h_0e", "100w_100h_0c"], ["100x56", "56x100", "100x67"]),
        (&["100w_100h_1e"], ["178x100", "100x178", "150x100"]),
        (&["100w_100h_2e"], ["100x100", "100x100", "100x100"]),
        (&["100w_100h_1c", "100w_100h_1e_1c", "100w_100h_1c_50p"], crop),
        (&["100w_100h_2c"], ["100x100@0,0", "100x100@0,0", "100x100@0,0"]),
        (&["100w_100h_3c"], ["100x100@78,0", "100x100@0,0", "100x100@50,0"]),
        (&["50p"], ["960x540", "540x960", "150x100"]),
        (&["200p"], ["1920x1080", "1080x1920", "300x200"]),
        (&["333w"], ["333x187", "333x592", "300x200"]),
        (&["400w_200p"], ["800x450", "800x1422", "300x200"]),
        (&["100w_100h_50p"], ["50x28", "28x50", "50x33"]),
        (&["3000w", "9223372036854775807w"], ["1920x1080", "1080x1920", "300x200"]),
        (&["3000w_10h_2e"], ["3000x10", "3000x10", "3000x10"]),
        (&["500w_2000h_2e"], ["500x2000", "500x2000", "300x200"]),
        (&["2000w_2000h", "2000w_2000h_1e"], ["1920x1080", "1080x1920", "300x200"]),
        (&["2000w_2000h_1c"], ["1080x1080@420,0", "1080x1080@0,420", "200x200@50,0"]),
        (&["400w_600h_1c"], ["400x600@333,0/1067x600", "400x600@0,55/400x711", "133x200@83,0"]),
        (&["672w_378h_1c_!web-home-common-cover"], ["672x378", "672x378@0,408", "300x169@0,15"]),
        (
            &["976w_550h_1c_!web-home-carousel-cover"],
            ["976x550@1,0/978x550", "976x550@0,592", "300x169@0,15"],
        ),
        (&["1052w_!web-dynamic.webp"], ["1052x592", "1052x1870", "300x200"]),
        (
            &["240w_240h_1c_1s_!web-avatar-space-header"],
            ["240x240@93,0", "240x240@0,93", "200x200@50,0"],
        ),
        (&["942w_progressive.webp"], ["942x530", "942x1675", "300x200"]),
        (&["112w_112h__1e_1c.webp"], ["112x112@43,0", "112x112@0,43", "112x112@28,0"]),
        (&["100W_50H.JPG"], ["89x50", "28x50", "75x50"]),
        (&["100w_200w"], ["200x113", "200x356", "200x133"]),
    ]
}

#[test]
fn the_documented_vectors() {
    for (suffixes, expected) in vectors() {
        for suffix in suffixes {
            for (source, expected) in [A, B, C].into_iter().zip(expected) {
                check(source, suffix, expected);
            }
        }
    }
}

#[test]
fn other_documentation_agrees() {
    check(size("200x400"), "100w_100h", "50x100");
    check(size("200x400"), "100w_100h_1e", "100x200");
    check(size("200x100"), "150w_80h", "150x75");
    check(size("200x100"), "150w_80h_1e", "160x80");
    check(size("200x100"), "150w_80h_1c", "150x80");
    check(size("3000x4000"), "100w", "100x133");
    check(size("4000x3000"), "100w_0o", "100x75");
}

#[test]
fn the_operator_may_choose() {
    let suffix = Suffix::parse("100w_100h_1c").unwrap();
    let corner =
        GeometryOptions { crop_anchor: CropAnchor::BottomRight, ..GeometryOptions::default() };
    let window = Plan::new(A, &suffix, corner).window;
    assert_eq!((window.left, window.top), (78, 0));

    let skip = GeometryOptions { crop_oversize: CropOversize::Skip, ..GeometryOptions::default() };
    assert_eq!(Plan::new(A, &suffix, skip).target, size("100x100"));
    let oversize = Suffix::parse("2000w_100h_1c_50p").unwrap();
    assert_eq!(Plan::new(A, &oversize, skip).target, A);
}

fn focused(source: Size, suffix: &str, focus: &str) -> (u32, u32) {
    let focus = Some(focus.parse().unwrap());
    let suffix = Suffix { focus, ..Suffix::parse(suffix).unwrap() };
    let window = Plan::new(source, &suffix, GeometryOptions::default()).window;
    (window.left, window.top)
}

#[test]
fn a_focus_stays_in_view() {
    // 178x100 and 100x178 to cut 100x100 from.
    assert_eq!(focused(A, "100w_100h_1c", "0.5,0.5"), (39, 0));
    assert_eq!(focused(A, "100w_100h_1c", "0,0"), (0, 0));
    assert_eq!(focused(A, "100w_100h_1c", "1,1"), (78, 0));
    assert_eq!(focused(A, "100w_100h_1c", "0.4,0"), (21, 0));
    assert_eq!(focused(B, "100w_100h_1c", "0,0.4"), (0, 21));
    assert_eq!(focused(A, "100w_100h_3c", "0,0"), (78, 0), "a corner is asked for by name");
}

#[test]
fn the_older_kind_of_size_only_shrinks() {
    for (path, expected) in [
        ("a.jpg_100x100.jpg", "100x100"),
        ("a.jpg_100x0.jpg", "100x56"),
        ("a.jpg_0x100.jpg", "178x100"),
        ("a.jpg_2000x100.jpg", "1920x1080"),
    ] {
        let (_, suffix) = Suffix::of_legacy_path(path).unwrap();
        assert_eq!(Plan::new(A, &suffix, GeometryOptions::default()).target, size(expected));
    }
}

#[test]
fn no_side_is_longer_than_allowed() {
    let options = GeometryOptions { max_side: 500, ..GeometryOptions::default() };
    let target = |suffix: &str| Plan::new(A, &Suffix::parse(suffix).unwrap(), options).target;
    assert_eq!(target(""), size("500x281"));
    assert_eq!(target("600w"), size("500x281"));
    assert_eq!(target("500w"), size("500x281"));
    assert_eq!(target("600w_10h_2e"), size("500x281"));
    assert_eq!(target("1000w_1000h_1c"), size("500x500"));
    assert_eq!(target("400w"), size("400x225"));
}

#[test]
fn one_pixel_stays() {
    check(size("1x16384"), "1h", "1x1");
    check(size("16384x1"), "1w_1h_1c", "1x1");
    check(size("1x1"), "1p", "1x1");
    check(size("1x1"), "9223372036854775807w_9223372036854775807h_2e_1000p", "1x1");
}

#[test]
fn the_source_rectangle_is_what_the_crop_shows() {
    let rect = plan(A, "100w_100h_2c").source_rect();
    assert!(rect.left == 0.0 && rect.top == 0.0);
    assert!((rect.width - 1920.0 * 100.0 / 178.0).abs() < 1e-9);
    assert!((rect.height - 1080.0).abs() < 1e-9);
    let whole = plan(A, "77w").source_rect();
    assert_eq!(whole, Rect { left: 0.0, top: 0.0, width: 1920.0, height: 1080.0 });
}

fn side() -> impl Strategy<Value = Option<u64>> {
    let max = i64::MAX.unsigned_abs();
    prop_oneof![Just(None), (1..=5000u64).prop_map(Some), (1..=max).prop_map(Some), Just(Some(max)),]
}

fn source_side() -> impl Strategy<Value = u32> {
    prop_oneof![1..=8u32, 1..=5000u32, 1..=u32::MAX, Just(u32::MAX)]
}

prop_compose! {
    fn any_suffix()(
        width in side(),
        height in side(),
        fit in prop_oneof![Just(Fit::Inside), Just(Fit::Cover), Just(Fit::Stretch)],
        crop in prop_oneof![
            Just(None), Just(Some(Crop::Default)), Just(Some(Crop::TopLeft)), Just(Some(Crop::TopRight)),
        ],
        percent in 1..=1000u16,
    ) -> Suffix {
        Suffix { width, height, fit, crop, percent, ..Suffix::default() }
    }
}

prop_compose! {
    fn any_options()(bottom_right: bool, skip: bool, max_side in 1..=70_000u32) -> GeometryOptions {
        GeometryOptions {
            crop_anchor: if bottom_right { CropAnchor::BottomRight } else { CropAnchor::Center },
            crop_oversize: if skip { CropOversize::Skip } else { CropOversize::FillDown },
            max_side,
        }
    }
}

proptest! {
    #[test]
    fn nothing_overflows_or_grows(
        width in source_side(),
        height in source_side(),
        suffix in any_suffix(),
        options in any_options(),
    ) {
        let source = Size { width, height };
        let plan = Plan::new(source, &suffix, options);
        prop_assert!(plan.target.width >= 1 && plan.target.height >= 1);
        prop_assert!(plan.target.pixels() <= source.pixels());
        prop_assert!(plan.target.width.max(plan.target.height) <= options.max_side);
        let Window { left, top, size } = plan.window;
        prop_assert!(left + size.width <= plan.cover.width);
        prop_assert!(top + size.height <= plan.cover.height);
        let rect = plan.source_rect();
        let slack = 1e-6 * f64::from(width.max(height));
        prop_assert!(rect.left >= 0.0 && rect.left + rect.width <= f64::from(width) + slack);
        prop_assert!(rect.top >= 0.0 && rect.top + rect.height <= f64::from(height) + slack);
    }
}
