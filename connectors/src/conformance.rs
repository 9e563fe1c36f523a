//! What every connector must do, as functions that its tests call.
//!
//! A connector under test is a function from bytes, as its source gives them, to one outcome an event: the id of the
//! accepted event, or why it was refused.

use revgauge_contract::event::Refusal;

/// What became of one event: its id, or the refusal.
pub type Outcome = Result<String, Refusal>;

/// Checks the laws all connectors share over sound and unsound samples.
///
/// 1. The same bytes twice give the same ids and refusals, so that a resend is the same event.
/// 2. Every sample of `sound` gives at least one accepted event and no refusal; ids are distinct and not empty.
/// 3. Every refusal has a code in snake case and a message for people: lower case, without a full stop.
/// 4. Nothing panics on garbage: truncations, flipped bits and noise made from the samples.
///
/// # Panics
/// When a law is broken, naming it and the sample.
pub fn check(connector: &dyn Fn(&[u8]) -> Vec<Outcome>, sound: &[&[u8]], unsound: &[&[u8]]) {
    for sample in sound {
        let outcomes = connector(sample);
        let mut ids: Vec<_> = outcomes
            .iter()
            .filter_map(|outcome| outcome.as_ref().ok())
            .collect();
        assert!(
            !ids.is_empty() && ids.len() == outcomes.len(),
            "a sound sample was refused: {outcomes:?} for {}",
            String::from_utf8_lossy(sample)
        );
        assert!(ids.iter().all(|id| !id.is_empty()), "an event has an empty id");
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), outcomes.len(), "two events of one sample share an id");
    }
    for sample in unsound {
        let refused = connector(sample).iter().any(Result::is_err);
        assert!(
            refused,
            "nothing was refused in {}",
            String::from_utf8_lossy(sample)
        );
    }
    for sample in sound.iter().chain(unsound) {
        let outcomes = connector(sample);
        assert_eq!(outcomes, connector(sample), "the same bytes gave other outcomes");
        refusals_speak(&outcomes);
        survives_garbage(connector, sample);
    }
}

/// Checks that every refusal tells a program and a person what was wrong.
///
/// # Panics
/// When one does not.
pub fn refusals_speak(outcomes: &[Outcome]) {
    for refusal in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
        let snake = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        assert!(
            !refusal.code.is_empty() && refusal.code.chars().all(snake),
            "'{}' is no code",
            refusal.code
        );
        assert!(
            !refusal.message.is_empty(),
            "refusal '{}' has no message",
            refusal.code
        );
        let first = refusal.message.chars().next();
        assert!(
            !first.is_some_and(char::is_uppercase) && !refusal.message.ends_with('.'),
            "message '{}' is not in house style",
            refusal.message
        );
    }
}

/// Feeds garbage made from a sample; outcomes do not matter, only that there are some and that refusals speak.
///
/// # Panics
/// When the connector does, or when a refusal is mute.
pub fn survives_garbage(connector: &dyn Fn(&[u8]) -> Vec<Outcome>, sample: &[u8]) {
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    let step = (sample.len() / 24).max(1);
    for end in (0..sample.len()).step_by(step) {
        refusals_speak(&connector(&sample[..end]));
    }
    for _ in 0..64 {
        let mut bytes = sample.to_vec();
        for _ in 0..=noise.below(4) {
            if !bytes.is_empty() {
                let at = noise.below(bytes.len());
                bytes[at] ^= 1 << noise.below(8);
            }
        }
        refusals_speak(&connector(&bytes));
    }
    for length in [0, 1, 7, 64, 1_000] {
        let bytes: Vec<u8> = (0..length).map(|_| noise.next() as u8).collect();
        refusals_speak(&connector(&bytes));
    }
}

/// A tiny fixed sequence (xorshift64*), so that a failure repeats.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}
