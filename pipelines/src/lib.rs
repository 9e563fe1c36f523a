//! Layer 1: streaming SQL pipelines and the incremental engine that runs them.
