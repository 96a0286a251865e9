use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Suffix {
    Suffix::parse(text).unwrap_or_else(|error| panic!("`{text}`: {error}"))
}

fn refusal(text: &str) -> SuffixError {
    Suffix::parse(text).expect_err(text)
}

#[test]
fn the_last_at_of_the_last_segment_splits() {
    for (name, expected) in [
        ("cats/tom.jpg@400w.webp", Some(("cats/tom.jpg", "400w.webp"))),
        ("a@b@100w", Some(("a@b", "100w"))),
        ("tom.jpg@", Some(("tom.jpg", ""))),
        ("me@home/tom.jpg", None),
        ("tom.jpg", None),
        ("", None),
        ("@100w", None),
        ("cats/@100w", None),
        ("katzen/süß@ö", Some(("katzen/süß", "ö"))),
    ] {
        assert_eq!(split(name), expected, "{name}");
    }
}

#[test]
fn every_shape_that_clients_send_is_read() {
    for text in [
        "",
        ".",
        "100h",
        "100w",
        ".webp",
        "1q.webp",
        "1e_1c.jpg",
        "104w_1e_1c.jpg",
        "104w_104h_1e_1c.webp",
        "112w_112h__1e_1c.webp",
        "2000w_1e.webp",
        "1125w_1125h_1e.webp",
        "564w_564h_1c.webp",
        "400w_250h_1c_100q.jpg",
        "96w_96h_85q.webp",
        "575w_360h_1e_1c_85q.webp",
        "240w_240h_1c_1s.webp",
        "942w_progressive.webp",
        "progressive",
        "672w_378h_1c_!web-home-common-cover",
        "240w_240h_1c_1s_!web-avatar-nav.webp",
        "100w100h",
        "100w_",
        "progressiveprogressive_",
        "100w_100h!tag",
        "!TAG.PNG",
        "100W_50H.JPG",
        ".avg_color",
        "9223372036854775807w",
        "000000000000000100w",
        "0f_1f_2f",
    ] {
        parse(text);
    }
}

#[test]
fn keys_are_understood() {
    let suffix = parse("100W_50H_2e_3c_150p_85q_0o_Progressive_!Web-Nav.WebP");
    assert_eq!(
        suffix,
        Suffix {
            width: Some(100),
            height: Some(50),
            fit: Fit::Stretch,
            crop: Some(Crop::TopRight),
            percent: 150,
            quality: Some(85),
            upright: false,
            progressive: true,
            tag: Some("web-nav".to_owned()),
            format: Some(OutputFormat::WebP),
            focus: None,
        }
    );
    assert_eq!(parse(""), Suffix::default());
    assert_eq!(parse("."), Suffix::default());
    assert_eq!(parse("100w_200w_1c_0c").width, Some(200));
    assert_eq!(parse("100w_200w_1c_0c").crop, None);
    assert_eq!(parse(".jpeg"), parse(".jpg"));
}

#[test]
fn other_texts_belong_to_the_name() {
    let long_tag = format!("!{}", "a".repeat(65));
    let long = "1w".repeat(129);
    for text in [
        "2x",
        "2x.png",
        "100x",
        "b",
        "100",
        "w",
        "_100w",
        "100w.bmp",
        "100w.webp.png",
        "100w!",
        "!",
        "!-a",
        "!!a",
        "!a_b",
        "!a.webp_100w",
        "100w .webp",
        " 100w",
        "100w\0",
        "-1w",
        "10000000000000000000w",
        "progressiv",
        "100progressive",
        "pröst",
        "１００w",
        "100w..",
        &long_tag,
        &long,
    ] {
        assert_eq!(refusal(text), SuffixError::NotASuffix, "{text}");
    }
    parse(&format!("!{}", "a".repeat(64)));
    parse(&"1w".repeat(128));
}

#[test]
fn values_out_of_range_name_their_key() {
    for (text, key, value) in [
        ("0w", 'w', 0),
        ("0h", 'h', 0),
        ("0s", 's', 0),
        ("3e", 'e', 3),
        ("4c", 'c', 4),
        ("0p", 'p', 0),
        ("1001p", 'p', 1001),
        ("0q", 'q', 0),
        ("101q", 'q', 101),
        ("2o", 'o', 2),
        ("3f", 'f', 3),
        ("9223372036854775808w", 'w', 9_223_372_036_854_775_808),
        ("9999999999999999999h", 'h', 9_999_999_999_999_999_999),
        ("0W_100w", 'w', 0),
        ("0w_101q.gif", 'w', 0),
    ] {
        match refusal(text) {
            SuffixError::InvalidArgument { key: k, value: v, .. } => {
                assert_eq!((k, v), (key, value), "{text}");
            }
            other => panic!("`{text}`: {other}"),
        }
    }
    assert_eq!(refusal("0w").to_string(), "`w` is 0, but must be 1 to 9223372036854775807");
    assert_eq!(refusal("0w_2x"), SuffixError::NotASuffix, "a name, whatever it starts with");
}

#[test]
fn formats_not_built_are_told() {
    let avif = Suffix::parse("100w.AVIF");
    if cfg!(feature = "avif") {
        assert_eq!(avif.map(|suffix| suffix.format), Ok(Some(OutputFormat::Avif)));
    } else {
        assert_eq!(avif, Err(SuffixError::UnsupportedFormat { format: "avif" }));
    }
}

#[test]
fn what_asks_for_the_same_has_one_form() {
    for (text, canonical) in [
        ("", ""),
        (".", ""),
        ("100p_1o_1s_2f_0c_0e_!tag", ""),
        ("50H_100W", "100w_50h"),
        ("100w_2e", "100w"),
        ("100w_1c", "100w"),
        ("100w_100h_1e_2c_50p", "100w_100h_2c"),
        ("100w_100h_1e_50p", "100w_100h_1e_50p"),
        ("0o_80q_progressive.JPEG", "0o_80q_progressive.jpg"),
        ("80q_progressive.png", "progressive.png"),
        ("80q_progressive.gif", ".gif"),
        ("80q_progressive.webp", "80q.webp"),
        ("80q_progressive", "80q_progressive"),
        ("100w_0100w.avg_color", "100w.avg_color"),
    ] {
        assert_eq!(parse(text).canonical(), canonical, "{text}");
    }
}

#[test]
fn what_a_text_leaves_open_is_as_in_its_base() {
    let base = parse("96w_96h_1c_85q.webp");
    let onto = |text| Suffix::parse_onto(base.clone(), text).unwrap().canonical();
    assert_eq!(onto("!avatar"), "96w_96h_1c_85q.webp");
    assert_eq!(onto("50w_50h_!avatar.jpg"), "50w_50h_1c_85q.jpg");
    assert_eq!(onto("0c_30q"), "96w_96h_30q.webp");
    assert!(Suffix::parse_onto(base.clone(), "0w").is_err());
    for (text, bare) in [("!avatar", true), ("!avatar.png", true), ("", true), ("1q_!a", false)] {
        assert_eq!(parse(text).is_bare(), bare, "{text}");
    }
}

#[test]
fn a_focus_makes_another_picture_only_where_it_counts() {
    let with = |text| Suffix { focus: Some("0.1,0.9".parse().unwrap()), ..parse(text) }.canonical();
    assert_ne!(with("10w_10h_1c"), parse("10w_10h_1c").canonical());
    for text in ["10w_10h_2c", "10w_1c", "10w_10h", ""] {
        assert_eq!(with(text), parse(text).canonical(), "{text}");
    }
}

fn any_suffix() -> impl Strategy<Value = String> {
    let item = prop_oneof![
        "[1-9][0-9]{0,3}[wh]_{0,2}",
        "[0-2][ef]_?",
        "[0-3]c_?",
        "[01]o_?",
        "[1-9][0-9]?[pq]_?",
        "[pP]rogressive_?",
        "[0-9]{1,21}[a-z]",
    ];
    let tag = prop_oneof![4 => Just(String::new()), 1 => "![a-z0-9-]{0,6}"];
    let format = prop_oneof!["", "\\.(jpg|jpeg|png|webp|avif|gif|avg_color|bmp)?"];
    (proptest::collection::vec(item, 0..6), tag, format)
        .prop_map(|(items, tag, format)| items.concat() + &tag + &format)
}

proptest! {
    #[test]
    fn no_text_panics(text in ".{0,300}") {
        let _ = Suffix::parse(&text);
        let _ = split(&text);
    }

    #[test]
    fn the_canonical_form_is_read_as_itself(text in any_suffix()) {
        if let Ok(suffix) = Suffix::parse(&text) {
            let canonical = suffix.canonical();
            prop_assert_eq!(parse(&canonical).canonical(), canonical);
        }
    }
}
