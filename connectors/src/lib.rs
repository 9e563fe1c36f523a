//! Event in: HTTP, Segment, files with field mappings, generator.
