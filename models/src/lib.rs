//! Layer 2: definitions, scores, explanation.
