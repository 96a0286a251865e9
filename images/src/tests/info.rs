use super::*;
use crate::Info;

fn info(source: &[u8]) -> Info {
    let settings = Settings::default();
    let output =
        transform(source, &Suffix::info(), &settings, &mut Scratch::default(), &|| true).unwrap();
    assert_eq!(output.format.content_type(), "application/json");
    serde_json::from_slice(&output.bytes).unwrap()
}

#[test]
fn what_a_picture_is_is_told() {
    let photo = photos::photo("astronaut_4000x3000.jpg");
    let told = info(&photo);
    assert_eq!((told.format.as_str(), told.width, told.height), ("jpeg", 4000, 3000));
    assert_eq!((told.orientation, told.bytes), (1, photo.len() as u64));
    assert_eq!((told.frames, told.has_alpha, told.progressive), (1, false, false));
    let hash = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, told.thumbhash).unwrap();
    let ratio = thumbhash::thumb_hash_to_approximate_aspect_ratio(&hash).unwrap();
    assert!((1.1..1.6).contains(&ratio), "{ratio}");
    // One colour is its own mean, and all that its hash shows.
    let red = make::png(3, 2, png::ColorType::Rgb, &[200, 10, 20].repeat(6));
    let told = info(&red);
    assert_eq!((told.average_color.as_str(), told.width, told.height), ("#c80a14", 3, 2));
    let hash = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, told.thumbhash).unwrap();
    let (r, g, b, a) = thumbhash::thumb_hash_to_average_rgba(&hash).unwrap();
    let near = |part: f32, whole: u8| (part * 255.0 - f32::from(whole)).abs() < 12.0;
    assert!(near(r, 200) && near(g, 10) && near(b, 20) && near(a, 255), "{r} {g} {b} {a}");
}
