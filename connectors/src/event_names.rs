//! Which of our types a foreign event name means.
