//! The next action (SO-08 to SO-10): the most urgent rule that holds, with channel and time.

use revgauge_contract::{Timestamp, score::Score};
use serde_json::json;

use super::{
    channel,
    responses::Responses,
    send_time::{self, BestTime},
};
use crate::{
    assembly::{Detail, Maker, ScoreFacts, part},
    definitions::{Actions, Versioned, actions::ActionRule},
    facts::ContactFacts,
    wording::ago,
};

/// What the rules look at.
#[derive(Debug)]
pub(super) struct Situation<'a> {
    pub(super) facts: &'a ContactFacts,
    pub(super) responses: &'a Responses,
    pub(super) unresponsive: bool,
    pub(super) engagement: Option<f64>,
    pub(super) segment_rhythm: &'a [f64; 168],
    pub(super) at: Timestamp,
}

/// A rule that holds.
struct Held<'a> {
    name: &'static str,
    rule: &'a ActionRule,
    /// Since when, for people.
    since: Timestamp,
    /// 1 when fresh, halving with age.
    strength: f64,
}

/// Urgency 0-1 of the next action. The value is `urgency * strength * ((1 - mix) + mix * engagement / 100)`.
pub(super) fn score(
    definition: &Versioned<Actions>,
    situation: &Situation<'_>,
    fingerprint: &str,
    detail: Detail,
) -> Score {
    let maker = Maker {
        name: "next_action",
        definition: definition.id(),
        fingerprint,
    };
    let held = most_urgent(definition, situation);
    let fresh = held.rule.urgency * held.strength;
    let mix = definition.engagement_mix;
    let from_rule = fresh * (1.0 - mix);
    let from_engagement = fresh * mix * situation.engagement.unwrap_or_default() / 100.0;
    let value = from_rule + from_engagement;
    let (parts, facts) = if detail.is_full() {
        let mut because = part(format!("rule:{}", held.name), from_rule, reason(&held, situation));
        because.advice = Some(held.rule.advice.clone());
        let mut parts = vec![because];
        if let Some(engagement) = situation.engagement {
            parts.push(part(
                "engagement",
                from_engagement,
                format!("engagement is {engagement:.0}"),
            ));
        }
        (parts, score_facts(definition, situation, &held))
    } else {
        (Vec::new(), ScoreFacts::new())
    };
    let mut score = maker.scored(value, parts, facts, detail);
    score.tier = Some(held.name.to_owned());
    score
}

fn most_urgent<'a>(definition: &'a Actions, situation: &Situation<'_>) -> Held<'a> {
    let at = situation.at;
    let holding = definition.rules.all().into_iter().filter_map(|(name, rule)| {
        let since = trigger(name, definition, situation)?;
        let age = at.days_since(since) - rule.after_days;
        let strength = (-age.max(0.0) / rule.fade_days).exp2();
        (age >= 0.0).then_some(Held {
            name,
            rule,
            since,
            strength,
        })
    });
    holding
        .max_by(|a, b| (a.rule.urgency * a.strength).total_cmp(&(b.rule.urgency * b.strength)))
        .unwrap_or(Held {
            name: "keep_going",
            rule: &definition.rules.keep_going,
            since: at,
            strength: 1.0,
        })
}

/// The instant from which on a rule's age counts; `None` when it does not hold.
fn trigger(name: &str, definition: &Actions, situation: &Situation<'_>) -> Option<Timestamp> {
    let Situation { responses, at, .. } = situation;
    // Absent times compare as earlier than any.
    let after = |event: Option<Timestamp>, others: &[Option<Timestamp>]| {
        event.filter(|_| others.iter().all(|other| event > *other))
    };
    match name {
        "answer_reply" => after(
            responses.last_written,
            &[responses.last_touch, responses.last_opt_out],
        ),
        "rebook_meeting" => after(
            responses.last_missed,
            &[responses.last_booked, responses.last_met],
        ),
        "follow_up_meeting" => after(responses.last_met, &[responses.last_touch]),
        "schedule_meeting" => situation
            .engagement
            .filter(|engagement| *engagement >= definition.escalate_at && !responses.meeting_ahead(*at))
            .and(responses.last_activity),
        "change_channel" => after(responses.last_opt_out, &[responses.last_written]),
        "repair_address" => after(responses.last_bounce, &[responses.last_activity]),
        "pause_sequence" => responses.last_touch.filter(|_| situation.unresponsive),
        "reach_out" => after(responses.last_activity, &[responses.last_touch])
            .filter(|_| responses.last_opt_out.is_none()),
        _ => Some(*at),
    }
}

fn reason(held: &Held<'_>, situation: &Situation<'_>) -> String {
    let since = ago(situation.at, held.since);
    match held.name {
        "answer_reply" => format!("they wrote {since} and have no answer"),
        "rebook_meeting" => format!("the meeting fell through {since} and no new one is set"),
        "follow_up_meeting" => format!("the meeting was {since} and nobody wrote since"),
        "schedule_meeting" => format!(
            "engagement is {:.0} and no meeting is set; last activity {since}",
            situation.engagement.unwrap_or_default()
        ),
        "change_channel" => format!("they opted out of e-mail {since}"),
        "repair_address" => format!("the address bounced {since}"),
        "pause_sequence" => {
            format!(
                "{} touches without an answer, the last {since}",
                situation.responses.touches_since
            )
        }
        "reach_out" => format!("they were active {since} and nobody wrote since"),
        _ => "nothing more urgent holds".to_owned(),
    }
}

fn score_facts(definition: &Actions, situation: &Situation<'_>, held: &Held<'_>) -> ScoreFacts {
    let Situation {
        facts: contact,
        responses,
        at,
        ..
    } = situation;
    let mut facts = ScoreFacts::new();
    facts.insert("action".into(), json!(held.name));
    facts.insert("advice".into(), json!(held.rule.advice));
    facts.insert("unresponsive".into(), json!(situation.unresponsive));
    facts.insert("touches_since_answer".into(), json!(responses.touches_since));
    facts.insert("touches_exact".into(), json!(responses.touches_exact));
    facts.insert("actions_accepted".into(), json!(responses.actions_accepted));
    facts.insert("actions_rejected".into(), json!(responses.actions_rejected));
    let channels = channel::rated(definition, contact, *at);
    if let Some(best) = channels.first().filter(|best| best.closed_because.is_none()) {
        facts.insert("channel".into(), json!(best.name));
    }
    let rates: Vec<_> = channels
        .iter()
        .map(|rated| json!({"channel": rated.name, "response_rate": rated.rate, "closed_because": rated.closed_because}))
        .collect();
    facts.insert("channels".into(), json!(rates));
    if let Some((zone, from)) = send_time::zone(&definition.send_time, &contact.fields) {
        facts.insert("timezone".into(), json!(zone.name()));
        facts.insert("timezone_from".into(), json!(from));
    }
    if let Some(best) = send_time::best(definition, contact, situation.segment_rhythm, *at) {
        let BestTime {
            hour_of_week_utc,
            next,
            local,
            lift,
            events,
        } = best;
        facts.insert("best_hour_of_week_utc".into(), json!(hour_of_week_utc));
        facts.insert("best_at".into(), json!(next));
        facts.insert("best_local".into(), json!(local));
        facts.insert("expected_lift".into(), json!(lift));
        facts.insert("rhythm_events".into(), json!(events));
    }
    facts
}
