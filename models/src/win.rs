//! What is the probability that a deal is won, by when, and why? Scores trained artifacts; links no trainer.

pub mod artifact;
pub mod curve;
pub mod encode;

pub use artifact::{ArtifactError, Judgement, WinArtifact};
pub use curve::WinCurve;
