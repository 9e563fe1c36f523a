//! The object store under journal and lake: local disk with synced creates, or S3.
