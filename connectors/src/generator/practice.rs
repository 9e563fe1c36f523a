//! Practice sessions of the reps: a score and the skills behind it, drawn apart from the accounts' days so that these
//! stay as they were.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use revgauge_contract::event::EventDraft;
use serde_json::{Map, Value};

use super::{
    config::GeneratorConfig,
    emit::{Day, rep_id, with},
};

const SKILLS: [&str; 5] = ["closing", "discovery", "listening", "objections", "value"];

/// The sessions of a working day. `drives` are the reps' latents, 0.5 to 1.5.
pub(super) fn sessions(config: &GeneratorConfig, number: u32, drives: &[f64]) -> Vec<EventDraft> {
    let mut day = Day::new(
        config.start,
        number,
        format!("sim{}-{number}-practice", config.seed),
    );
    if day.weekday() >= 5 {
        return Vec::new();
    }
    for (rep, drive) in (0..config.reps).zip(drives) {
        let mut own = ChaCha8Rng::seed_from_u64(config.seed ^ (u64::from(rep) << 32) ^ 0x5eed);
        let strengths = SKILLS.map(|_| own.random_range(-12.0..12.0));
        let mut rng =
            ChaCha8Rng::seed_from_u64(config.seed ^ (u64::from(rep) << 32) ^ u64::from(number) << 8);
        if !rng.random_bool(0.35) {
            continue;
        }
        // Practice helps, less with time.
        let learnt = 12.0 * (1.0 - (-f64::from(number) / 90.0).exp());
        let scores = strengths.map(|strength| {
            let score: f64 = 38.0 + 26.0 * drive + strength + learnt + rng.random_range(-7.0..7.0);
            score.clamp(0.0, 100.0).round()
        });
        let skills: Map<String, Value> = SKILLS
            .iter()
            .zip(scores)
            .map(|(skill, score)| ((*skill).to_owned(), Value::from(score)))
            .collect();
        let draft = EventDraft {
            user_id: Some(rep_id(rep)),
            value: Some((scores.iter().sum::<f64>() / scores.len() as f64).round()),
            ..EventDraft::default()
        };
        let at = day.at(rng.random_range(8 * 3_600..11 * 3_600));
        day.push(
            with(draft, serde_json::json!({"skills": skills})),
            "practice.completed",
            at,
        );
    }
    day.drafts
}
