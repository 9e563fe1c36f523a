//! What is the probability that a deal is won, by when, and why? Scores trained artifacts; links no trainer.

pub mod artifact;
pub mod batch;
pub mod curve;
pub mod encode;
pub mod hazard;
pub mod leads;
pub mod naive_bayes;
pub mod rows;
pub mod served;
mod shapley;

pub use artifact::{ArtifactError, Judgement, WinArtifact};
pub use curve::WinCurve;
pub use hazard::{DealCurves, HazardModel};
pub use naive_bayes::NaiveBayes;
pub use served::{Served, WinAnswer, WinModel};
