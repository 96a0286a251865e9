//! What pixels that become one leave of their brightness.
//!
//! Light is what adds up, and sRGB values are not proportional to it: averaged as
//! they are, fine bright detail on dark ground comes out too dark. By how much
//! follows from the variance of the values, so that a mean of light needs their
//! squares, but not each pixel's light.

/// What is averaged where pixels become fewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Averaging {
    /// The light that values stand for: a picture is as bright as its source.
    Light,
    /// sRGB values as they are, which is faster.
    Values,
}

/// Added to sRGB values, it makes differences of their squares into differences of
/// light, nearly.
const TOE: f32 = 14.0;
/// How much of the variance shows. The curve has 1.4 for small differences; for
/// large ones, less.
const BEND: f32 = 1.3;

/// The sRGB value, 0 to 255, that stands for the mean light of values with this mean
/// and this variance. From the second derivative of sRGB's curve, bent so that even
/// black and white in one block come out within a few levels.
#[inline]
pub(super) fn lightened(mean: f32, variance: f32) -> f32 {
    let raised = mean.max(0.0) + TOE;
    (raised * raised + BEND * variance).sqrt() - TOE
}
