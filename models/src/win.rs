//! What is the probability that a deal is won, by when, and why? Scores trained artifacts; links no trainer.

pub mod curve;

pub use curve::WinCurve;
