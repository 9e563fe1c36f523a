//! Which user agents are machines (N-8): tagged, never dropped.

use revgauge_contract::event::MachineClass;

/// Image proxies that fetch on behalf of a person, at unknown delay.
const PROXIES: [&str; 4] = [
    "googleimageproxy",
    "yahoomailproxy",
    "duckduckgo-email",
    "ggpht.com",
];
/// Link and attachment scanners of mail gateways.
const SCANNERS: [&str; 12] = [
    "barracuda",
    "proofpoint",
    "mimecast",
    "bitdefender",
    "symantec",
    "messagelabs",
    "trendmicro",
    "forcepoint",
    "fireeye",
    "sophos",
    "safelinks",
    "urlscan",
];
/// Robots and programs.
const BOTS: [&str; 18] = [
    "bot/",
    "bot;",
    "bot)",
    "crawler",
    "spider",
    "slurp",
    "headlesschrome",
    "phantomjs",
    "curl/",
    "wget/",
    "python-requests",
    "python-urllib",
    "go-http-client",
    "java/",
    "okhttp",
    "axios/",
    "facebookexternalhit",
    "preview",
];

/// The class a user agent gives away; `None` when it looks like a person's.
///
/// A bare `Mozilla/5.0` on an opened mail is Apple's privacy proxy (ALGORITHMS.md 4.2); anywhere else it is a robot that
/// does not say its name.
pub(crate) fn class_of_agent(event_type: &str, user_agent: &str) -> Option<MachineClass> {
    let agent = user_agent.trim().to_ascii_lowercase();
    let has = |signs: &[&str]| signs.iter().any(|sign| agent.contains(sign));
    if agent == "mozilla/5.0" {
        return Some(if event_type == "email.opened" {
            MachineClass::Proxy
        } else {
            MachineClass::Bot
        });
    }
    if has(&PROXIES) {
        return Some(MachineClass::Proxy);
    }
    if has(&SCANNERS) {
        return Some(MachineClass::Scanner);
    }
    has(&BOTS).then_some(MachineClass::Bot)
}

/// Whether machines make events of this type that look like a person's.
pub(crate) fn is_suspect(event_type: &str) -> bool {
    matches!(event_type, "email.opened" | "email.clicked" | "page.viewed")
}

/// The class that an event's own fields give away: what the mail tool says, else its user agent.
pub(crate) fn class_of_fields(
    event_type: &str,
    fields: &serde_json::Map<String, serde_json::Value>,
) -> Option<MachineClass> {
    let truthy = |name: &str| fields.get(name).and_then(serde_json::Value::as_bool) == Some(true);
    if truthy("sg_machine_open") || truthy("machine_open") || truthy("is_machine_open") {
        return Some(MachineClass::Proxy);
    }
    if truthy("is_bot") || truthy("bot") || truthy("filteredEvent") {
        return Some(MachineClass::Bot);
    }
    ["user_agent", "userAgent", "useragent", "user-agent"]
        .iter()
        .find_map(|name| fields.get(*name).and_then(serde_json::Value::as_str))
        .and_then(|agent| class_of_agent(event_type, agent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_are_told_apart() {
        let safari =
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148";
        let gmail =
            "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)";
        for (event_type, agent, class) in [
            ("email.opened", "Mozilla/5.0", Some(MachineClass::Proxy)),
            ("page.viewed", "Mozilla/5.0", Some(MachineClass::Bot)),
            ("email.opened", gmail, Some(MachineClass::Proxy)),
            ("email.opened", safari, None),
            (
                "email.clicked",
                "BarracudaCentral/1.0",
                Some(MachineClass::Scanner),
            ),
            (
                "page.viewed",
                "Mozilla/5.0 (compatible; Googlebot/2.1)",
                Some(MachineClass::Bot),
            ),
        ] {
            assert_eq!(class_of_agent(event_type, agent), class, "{event_type} {agent}");
        }
    }
}
