//! One Segment message to our events: track, identify, page, screen, group, alias.

use revgauge_contract::{
    Timestamp,
    domain::normal_email,
    event::{EventDraft, Reception, Refusal},
};
use serde_json::Value;

use crate::{
    event_names::EventNames,
    files::convert::digest,
    http::{
        envelope::{direction_of, machine_class_of},
        machine,
    },
};

use super::fields::{Fields, first_number, first_text, id, snake_keys, take_object, time};

/// Before an anonymous id that stands for a contact, so that it can never meet a real id.
const ANONYMOUS: &str = "anon:";
/// Longest message id that events derived from a message extend as it is; a longer one stands as its digest.
const MAX_STEM_BYTES: usize = 200;
/// Fields of the transport, of no meaning once the message has arrived.
const TRANSPORT: [&str; 12] = [
    "type",
    "event",
    "messageId",
    "userId",
    "anonymousId",
    "groupId",
    "previousId",
    "writeKey",
    "integrations",
    "_metadata",
    "channel",
    "version",
];

/// What surrounds a message: its address, and the batch it came in.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) message_type: Option<&'static str>,
    pub(crate) sent_at: Option<Value>,
    pub(crate) context: Option<Value>,
    pub(crate) skew_tolerance_us: i64,
}

/// The events a message stands for: its own first, then what it says beside (who belongs to which account, which
/// anonymous visitor is which contact) under ids derived from the `messageId`.
///
/// # Errors
/// A [`Refusal`] of what keeps the message from being read; the drafts are judged later.
pub(crate) fn drafts_of(
    mut fields: Fields,
    frame: &Frame,
    names: &EventNames,
    reception: &Reception,
) -> Result<Vec<EventDraft>, Refusal> {
    let message_type = match frame.message_type {
        Some(implied) => implied.to_owned(),
        None => id(&fields, "type")?
            .ok_or_else(|| Refusal::field("missing_type", "type", "the message has no type"))?
            .to_ascii_lowercase(),
    };
    if matches!(fields.get("context"), None | Some(Value::Null))
        && let Some(context) = &frame.context
    {
        fields.insert("context".to_owned(), context.clone());
    }
    let message = Message {
        event_id: id(&fields, "messageId")?,
        user_id: id(&fields, "userId")?,
        anonymous_id: id(&fields, "anonymousId")?,
        group_id: id(&fields, "groupId")?,
        previous_id: id(&fields, "previousId")?,
        event_time: event_time(&fields, frame, reception)?,
        event: id(&fields, "event")?,
        context: take_object(&mut fields, "context")?,
        properties: take_object(&mut fields, "properties")?,
        traits: take_object(&mut fields, "traits")?,
        rest: fields,
    };
    match message_type.as_str() {
        "track" => message.track(names, &reception.tenant_id),
        "page" | "screen" => Ok(message.view(&message_type)),
        "identify" => Ok(message.identify()),
        "group" => Ok(message.group()),
        "alias" => message.alias(),
        other => Err(Refusal::field(
            "bad_type",
            "type",
            format!("'{other}' is no message type: use track, identify, page, screen, group or alias"),
        )),
    }
}

/// When it happened, on our clock.
///
/// Segment's rule is `timestamp = receivedAt - (sentAt - originalTimestamp)`. It is applied only when the sender's clock
/// is off by more than the tolerance: a retry has a fresh `sentAt`, and within the tolerance it must give the very same
/// time. Past it two deliveries may differ by their travel times; they still are one event, by their `messageId`.
/// With both `timestamp` and `originalTimestamp` the first is already corrected.
fn event_time(fields: &Fields, frame: &Frame, reception: &Reception) -> Result<Option<Timestamp>, Refusal> {
    let timestamp = time("timestamp", fields.get("timestamp"))?;
    let original = time("originalTimestamp", fields.get("originalTimestamp"))?;
    if timestamp.is_some() && original.is_some() {
        return Ok(timestamp);
    }
    let Some(original) = original.or(timestamp) else {
        return Ok(None);
    };
    let sent = fields
        .get("sentAt")
        .filter(|sent| !sent.is_null())
        .or(frame.sent_at.as_ref());
    let Some(sent) = time("sentAt", sent).ok().flatten() else {
        return Ok(Some(original));
    };
    let skew_us = reception.received_at.micros().saturating_sub(sent.micros());
    Ok(Some(if skew_us.saturating_abs() > frame.skew_tolerance_us {
        original.plus_micros(skew_us)
    } else {
        original
    }))
}

struct Message {
    event_id: Option<String>,
    user_id: Option<String>,
    anonymous_id: Option<String>,
    group_id: Option<String>,
    previous_id: Option<String>,
    event_time: Option<Timestamp>,
    event: Option<String>,
    context: Fields,
    properties: Fields,
    traits: Fields,
    rest: Fields,
}

/// A contact as an event names it: by id, or by address, or both.
#[derive(Debug, Default, PartialEq)]
struct Contact {
    id: Option<String>,
    email: Option<String>,
}

impl Contact {
    /// A user id that is an address stands for the address, in the one form used as key.
    fn of_user(user_id: &str) -> Self {
        match normal_email(user_id) {
            Some(email) => Self {
                id: None,
                email: Some(email),
            },
            None => Self {
                id: Some(user_id.to_owned()),
                email: None,
            },
        }
    }

    fn key(&self) -> Option<String> {
        self.id.clone().or_else(|| self.email.clone())
    }
}

impl Message {
    fn track(mut self, names: &EventNames, tenant_id: &str) -> Result<Vec<EventDraft>, Refusal> {
        let name = self
            .event
            .take()
            .ok_or_else(|| Refusal::field("missing_event", "event", "a track message has no event name"))?;
        let event_type = names.type_of(tenant_id, &name).into_owned();
        let mut draft = self.draft(&event_type);
        draft.value = value_of(&event_type, &self.properties);
        draft.payload = std::mem::take(&mut self.properties);
        draft.payload.insert("_event".to_owned(), Value::String(name));
        self.keep_rest(&mut draft.payload);
        Ok(vec![draft])
    }

    fn view(mut self, message_type: &str) -> Vec<EventDraft> {
        let mut draft = self.draft("page.viewed");
        draft.payload = std::mem::take(&mut self.properties);
        draft
            .payload
            .insert("_event".to_owned(), Value::String(message_type.to_owned()));
        self.keep_rest(&mut draft.payload);
        vec![draft]
    }

    /// What is learnt about a person. Traits are its fields; a nested `company` names its account.
    fn identify(mut self) -> Vec<EventDraft> {
        let mut draft = self.draft("person.enriched");
        let mut payload = snake_keys(self.all_traits());
        if let Some(Value::Object(company)) = payload.get("company").cloned() {
            draft.account_id = draft
                .account_id
                .or_else(|| first_text(&company, &["id", "company_id"]));
            if let Some(name) = first_text(&company, &["name"]) {
                payload.entry("company_name").or_insert(Value::String(name));
            }
        }
        self.keep_rest(&mut payload);
        draft.payload = payload;
        let known_now = self.merge_of_visitor();
        std::iter::once(draft).chain(known_now).collect()
    }

    /// What is learnt about a company, and that the user belongs to it.
    fn group(mut self) -> Vec<EventDraft> {
        let contact = self.contact();
        let domain = domain_of(&self.traits);
        let mut payload = snake_keys(std::mem::take(&mut self.traits));
        self.keep_rest(&mut payload);
        let company = EventDraft {
            account_id: self.group_id.clone(),
            domain,
            payload,
            ..self.bare("company.enriched")
        };
        let member = (contact != Contact::default() && self.group_id.is_some())
            .then(|| self.derived("member", "person.enriched"))
            .map(|draft| EventDraft {
                account_id: self.group_id.clone(),
                contact_id: contact.id,
                email: contact.email,
                ..draft
            });
        std::iter::once(company).chain(member).collect()
    }

    /// The previous id is the user from now on. It may have been an anonymous one, so that is merged too.
    fn alias(mut self) -> Result<Vec<EventDraft>, Refusal> {
        let missing = |field: &str| {
            Refusal::field(
                "missing_subject",
                field,
                format!("an alias message has no {field}"),
            )
        };
        let previous = self.previous_id.take().ok_or_else(|| missing("previousId"))?;
        let user = self.user_id.as_deref().ok_or_else(|| missing("userId"))?;
        let into = Contact::of_user(user).key();
        let from = Contact::of_user(&previous);
        let visitor = from
            .id
            .is_some()
            .then(|| self.derived("anon", "contact.merged"))
            .map(|draft| EventDraft {
                contact_id: Some(format!("{ANONYMOUS}{previous}")),
                payload: merge_payload(into.as_deref()),
                ..draft
            });
        let mut payload = merge_payload(into.as_deref());
        self.keep_rest(&mut payload);
        let merged = EventDraft {
            contact_id: from.id,
            email: from.email,
            payload,
            ..self.bare("contact.merged")
        };
        Ok(std::iter::once(merged).chain(visitor).collect())
    }

    /// That the anonymous visitor is the user who now gave a name.
    fn merge_of_visitor(&self) -> Option<EventDraft> {
        let anonymous_id = self.anonymous_id.as_deref()?;
        let user_id = self.user_id.as_deref().filter(|user| *user != anonymous_id)?;
        Some(EventDraft {
            contact_id: Some(format!("{ANONYMOUS}{anonymous_id}")),
            payload: merge_payload(Contact::of_user(user_id).key().as_deref()),
            ..self.derived("anon", "contact.merged")
        })
    }

    /// Id, type and time; no subject yet.
    fn bare(&self, event_type: &str) -> EventDraft {
        EventDraft {
            event_id: self.event_id.clone(),
            event_type: Some(event_type.to_owned()),
            event_time: self.event_time,
            ..EventDraft::default()
        }
    }

    /// An event that the message implies beside its own, under its own lasting id.
    fn derived(&self, what: &str, event_type: &str) -> EventDraft {
        let stem = self.event_id.as_ref().map(|id| {
            if id.len() > MAX_STEM_BYTES {
                digest("long", id.as_bytes())
            } else {
                id.clone()
            }
        });
        EventDraft {
            event_id: stem.map(|stem| format!("{stem}:{what}")),
            ..self.bare(event_type)
        }
    }

    /// The draft with everything that properties, traits and context say about its subject.
    fn draft(&self, event_type: &str) -> EventDraft {
        let properties = &self.properties;
        let contact = self.contact();
        let direction = first_text(properties, &["direction"]);
        EventDraft {
            contact_id: contact.id,
            email: contact.email,
            account_id: first_text(
                properties,
                &["account_id", "accountId", "company_id", "companyId", "groupId"],
            )
            .or_else(|| self.group_id.clone())
            .or_else(|| first_text(&self.context, &["groupId"])),
            deal_id: first_text(
                properties,
                &["deal_id", "dealId", "opportunity_id", "opportunityId"],
            ),
            user_id: first_text(properties, &["rep_id", "repId", "owner_id", "ownerId"]),
            domain: domain_of(properties).or_else(|| domain_of(&self.all_traits())),
            direction: direction.as_deref().and_then(direction_of),
            machine_class: self.machine_class(event_type),
            ..self.bare(event_type)
        }
    }

    /// Who it is about: the user id, else the address among traits and properties, else the anonymous id.
    fn contact(&self) -> Contact {
        let email = first_text(&self.traits, &["email"])
            .or_else(|| first_text(&self.context_traits(), &["email"]))
            .or_else(|| {
                let names = [
                    "email",
                    "email_address",
                    "emailAddress",
                    "recipient",
                    "recipient_email",
                ];
                first_text(&self.properties, &names)
            });
        let sound = email.as_deref().and_then(normal_email);
        if let Some(user_id) = &self.user_id {
            let contact = Contact::of_user(user_id);
            let email = contact.email.or(sound);
            return Contact { email, ..contact };
        }
        if sound.is_some() {
            return Contact {
                id: None,
                email: sound,
            };
        }
        match &self.anonymous_id {
            Some(anonymous) => Contact {
                id: Some(format!("{ANONYMOUS}{anonymous}")),
                email: None,
            },
            // Nothing but a broken address: let the judgement say so.
            None => Contact { id: None, email },
        }
    }

    fn context_traits(&self) -> Fields {
        match self.context.get("traits") {
            Some(Value::Object(traits)) => traits.clone(),
            _ => Fields::new(),
        }
    }

    /// The context's traits, overridden by the message's own.
    fn all_traits(&self) -> Fields {
        let mut traits = self.context_traits();
        traits.extend(self.traits.clone());
        traits
    }

    fn machine_class(&self, event_type: &str) -> Option<revgauge_contract::event::MachineClass> {
        let said = first_text(&self.properties, &["machine_class"]);
        if let Some(class) = said.as_deref().and_then(machine_class_of) {
            return Some(class);
        }
        if !machine::is_suspect(event_type) {
            return None;
        }
        machine::class_of_fields(event_type, &self.properties)
            .or_else(|| machine::class_of_fields(event_type, &self.context))
    }

    /// Keeps in the payload what has no place in the envelope: the context, the visitor and every unknown field.
    fn keep_rest(&mut self, payload: &mut Fields) {
        if !self.context.is_empty() {
            let context = std::mem::take(&mut self.context);
            payload.insert("_context".to_owned(), Value::Object(context));
        }
        if let Some(anonymous_id) = &self.anonymous_id {
            payload.insert("_anonymous_id".to_owned(), Value::String(anonymous_id.clone()));
        }
        for (name, value) in std::mem::take(&mut self.rest) {
            let is_time = matches!(
                name.as_str(),
                "timestamp" | "originalTimestamp" | "sentAt" | "receivedAt"
            );
            if !is_time && !TRANSPORT.contains(&name.as_str()) && !value.is_null() {
                payload.entry(name).or_insert(value);
            }
        }
    }
}

fn merge_payload(into: Option<&str>) -> Fields {
    let into = into.map_or(Value::Null, |into| Value::String(into.to_owned()));
    Fields::from_iter([("into".to_owned(), into)])
}

/// The company's host among fields, also of a nested `company`.
fn domain_of(fields: &Fields) -> Option<String> {
    let names = [
        "domain",
        "company_domain",
        "companyDomain",
        "website",
        "company_website",
    ];
    first_text(fields, &names).or_else(|| match fields.get("company") {
        Some(Value::Object(company)) => first_text(company, &["domain", "website"]),
        _ => None,
    })
}

/// The type's number: start of a scheduled meeting, seconds of a call or meeting, else a value or revenue.
fn value_of(event_type: &str, properties: &Fields) -> Option<f64> {
    match event_type {
        "meeting.scheduled" => {
            let names = [
                "starts_at",
                "start_time",
                "startTime",
                "scheduled_at",
                "start",
                "meeting_time",
            ];
            let at = names
                .iter()
                .find_map(|name| time(name, properties.get(*name)).ok().flatten());
            at.map(Timestamp::seconds_f64)
        }
        "call.completed" | "meeting.attended" => {
            let seconds = first_number(properties, &["duration_seconds", "durationSeconds", "duration"]);
            let millis = || first_number(properties, &["duration_ms", "durationMs", "hs_call_duration"]);
            seconds.or_else(|| millis().map(|millis| millis / 1_000.0))
        }
        _ => first_number(properties, &["value", "revenue"]),
    }
}
