//! Mail addresses and company domains in the one form used as keys.

use std::borrow::Cow;

/// Mail hosts that belong to nobody's company; a contact there gets no account from its address.
const FREE_MAIL: &[&str] = &[
    "gmail.com",
    "googlemail.com",
    "yahoo.com",
    "yahoo.co.uk",
    "yahoo.fr",
    "yahoo.de",
    "ymail.com",
    "hotmail.com",
    "hotmail.co.uk",
    "hotmail.fr",
    "outlook.com",
    "outlook.fr",
    "live.com",
    "live.co.uk",
    "msn.com",
    "icloud.com",
    "me.com",
    "mac.com",
    "aol.com",
    "gmx.de",
    "gmx.net",
    "gmx.com",
    "gmx.at",
    "web.de",
    "t-online.de",
    "freenet.de",
    "mail.com",
    "mail.ru",
    "yandex.ru",
    "yandex.com",
    "proton.me",
    "protonmail.com",
    "pm.me",
    "tutanota.com",
    "fastmail.com",
    "hey.com",
    "zoho.com",
    "qq.com",
    "163.com",
    "126.com",
    "sina.com",
    "naver.com",
    "daum.net",
    "orange.fr",
    "wanadoo.fr",
    "free.fr",
    "laposte.net",
    "sfr.fr",
    "libero.it",
    "virgilio.it",
    "tin.it",
    "uol.com.br",
    "bol.com.br",
    "terra.com.br",
    "comcast.net",
    "verizon.net",
    "att.net",
    "sbcglobal.net",
    "bellsouth.net",
    "cox.net",
    "charter.net",
    "shaw.ca",
    "rogers.com",
    "btinternet.com",
    "sky.com",
    "rediffmail.com",
    "bigpond.com",
    "optonline.net",
    "earthlink.net",
    "juno.com",
    "seznam.cz",
    "wp.pl",
    "o2.pl",
    "onet.pl",
    "interia.pl",
    "abv.bg",
];

/// The address as a key: trimmed and lower-cased. `None` when it is not `local@host` with a dotted host, or is
/// longer than 254 characters (RFC 5321).
#[must_use]
pub fn normal_email(text: &str) -> Option<String> {
    normal_email_of(text).map(Cow::into_owned)
}

/// [`normal_email`] that copies only where the address is not lower case already.
#[must_use]
pub fn normal_email_of(text: &str) -> Option<Cow<'_, str>> {
    let text = text.trim();
    let text = text.strip_prefix("mailto:").unwrap_or(text);
    let (local, host) = text.rsplit_once('@')?;
    let bad = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '<' | '>' | ',' | ';' | '"');
    let plain =
        |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'@' | b'-' | b'_' | b'+');
    let is_plain = text.bytes().all(plain);
    if local.is_empty() || text.len() > 254 || (!is_plain && text.contains(bad)) || local.contains('@') {
        return None;
    }
    if !host.contains('.') || host.starts_with('.') || host.ends_with('.') || host.contains("..") {
        return None;
    }
    Some(if is_plain {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(text.to_lowercase())
    })
}

/// The registered domain (public-suffix list) of a host name, URL or address.
///
/// `None` for free-mail hosts, bare suffixes, IP addresses and texts that are no host. Cost: one table walk, no
/// allocation but the answer.
#[must_use]
pub fn company_domain(text: &str) -> Option<String> {
    company_domain_of(Cow::Borrowed(text)).map(Cow::into_owned)
}

/// [`company_domain`] that copies only where the host is not lower case already.
#[must_use]
pub fn company_domain_of(text: Cow<'_, str>) -> Option<Cow<'_, str>> {
    match text {
        Cow::Borrowed(text) => {
            let host = host_of(text)?;
            if host
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-'))
            {
                registered_domain(host).map(Cow::Borrowed)
            } else {
                registered_domain(&host.to_lowercase()).map(|domain| Cow::Owned(domain.to_owned()))
            }
        }
        Cow::Owned(text) => {
            registered_domain(&host_of(&text)?.to_lowercase()).map(|domain| Cow::Owned(domain.to_owned()))
        }
    }
}

fn host_of(text: &str) -> Option<&str> {
    let text = text.trim();
    let text = text.rsplit_once('@').map_or(text, |(_, host)| host);
    let text = text.split_once("://").map_or(text, |(_, rest)| rest);
    text.split(['/', '?', '#', ':'])
        .next()
        .map(|host| host.trim_end_matches('.'))
}

fn registered_domain(host: &str) -> Option<&str> {
    if host.is_empty() || host.len() > 253 || host.parse::<std::net::IpAddr>().is_ok() {
        return None;
    }
    let domain = psl::domain(host.as_bytes())?;
    if !domain.suffix().is_known() {
        return None;
    }
    let domain = std::str::from_utf8(domain.as_bytes()).ok()?;
    (!FREE_MAIL.contains(&domain)).then_some(domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_are_registered_ones() {
        assert_eq!(
            company_domain("Jo.Doe@Mail.Acme.co.uk").as_deref(),
            Some("acme.co.uk")
        );
        assert_eq!(
            company_domain("https://www.acme.io/pricing?x=1").as_deref(),
            Some("acme.io")
        );
        for none in ["x@gmail.com", "co.uk", "127.0.0.1", "localhost", "", "x@"] {
            assert_eq!(company_domain(none), None, "{none}");
        }
    }

    #[test]
    fn addresses_are_lower_case_keys() {
        assert_eq!(normal_email(" Jo@Acme.IO ").as_deref(), Some("jo@acme.io"));
        for none in ["jo", "@acme.io", "jo@acme", "a b@c.io", "a@b@c.io", "a@.io"] {
            assert_eq!(normal_email(none), None, "{none}");
        }
    }
}
