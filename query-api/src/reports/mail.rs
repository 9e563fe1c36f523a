//! A report by mail: a table to read, the CSV attached, one Message-ID for one due instant.

use std::time::{Duration, SystemTime};

use lettre::{
    AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor,
    message::{Attachment, Mailbox, MultiPart, header::ContentType},
    transport::smtp::{
        authentication::Credentials,
        client::{Tls, TlsParameters},
    },
};
use revgauge_contract::Timestamp;

use super::{
    delivery_settings::{SmtpSettings, SmtpTls},
    saved::SavedError,
};

/// One mail.
#[derive(Debug)]
pub(super) struct Mail<'a> {
    pub(super) id: &'a str,
    pub(super) to: &'a [String],
    pub(super) subject: &'a str,
    pub(super) at: Timestamp,
    pub(super) text: String,
    pub(super) html: String,
    pub(super) file_name: &'a str,
    pub(super) csv: String,
}

/// What kept a mail from going out, and whether another attempt may help.
#[derive(Debug)]
pub(super) struct Bounced {
    pub(super) why: String,
    pub(super) may_pass: bool,
}

/// An address as people write it.
pub(super) fn mailbox(address: &str) -> Result<Mailbox, SavedError> {
    address.trim().parse().map_err(|error| {
        let shown: String = address.chars().take(80).collect();
        SavedError::Refused(format!("'{shown}' is no mail address: {error}"))
    })
}

/// Gives a mail to the server; when it returns, the server has taken it.
pub(super) async fn send(settings: &SmtpSettings, timeout: Duration, mail: Mail<'_>) -> Result<(), Bounced> {
    let lasting = |why: String| Bounced { why, may_pass: false };
    let message = message(settings, mail).map_err(lasting)?;
    let transport = transport(settings, timeout).map_err(lasting)?;
    match transport.send(message).await {
        Ok(_) => Ok(()),
        Err(error) => Err(Bounced {
            why: format!(
                "the mail server {}:{} said: {error}",
                settings.host, settings.port
            ),
            may_pass: !error.is_permanent(),
        }),
    }
}

fn message(settings: &SmtpSettings, mail: Mail<'_>) -> Result<Message, String> {
    let from = mailbox(&settings.from).map_err(|error| error.to_string())?;
    let host = from.email.domain().to_owned();
    let mut builder = Message::builder()
        .from(from)
        .subject(mail.subject)
        .date(SystemTime::from(mail.at.to_datetime()))
        .message_id(Some(format!("<{}@{host}>", mail.id)));
    for address in mail.to {
        builder = builder.to(mailbox(address).map_err(|error| error.to_string())?);
    }
    let kind = ContentType::parse("text/csv; charset=utf-8").map_err(|error| error.to_string())?;
    let attached = Attachment::new(mail.file_name.to_owned()).body(mail.csv, kind);
    let read = MultiPart::alternative_plain_html(mail.text, mail.html);
    builder
        .multipart(MultiPart::mixed().multipart(read).singlepart(attached))
        .map_err(|error| format!("cannot write the mail: {error}"))
}

fn transport(
    settings: &SmtpSettings,
    timeout: Duration,
) -> Result<AsyncSmtpTransport<Tokio1Executor>, String> {
    let tls = match settings.tls {
        SmtpTls::None => Tls::None,
        SmtpTls::Starttls | SmtpTls::Tls => {
            let parameters = TlsParameters::new(settings.host.clone())
                .map_err(|error| format!("cannot set up TLS to '{}': {error}", settings.host))?;
            if settings.tls == SmtpTls::Tls {
                Tls::Wrapper(parameters)
            } else {
                Tls::Required(parameters)
            }
        }
    };
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&settings.host)
        .port(settings.port)
        .timeout(Some(timeout))
        .tls(tls);
    if !settings.username.is_empty() {
        let password = match &settings.password_file {
            None => String::new(),
            Some(path) => std::fs::read_to_string(path)
                .map_err(|error| format!("cannot read the password in '{}': {error}", path.display()))?,
        };
        let password = password.trim_end_matches(['\r', '\n']).to_owned();
        builder = builder.credentials(Credentials::new(settings.username.clone(), password));
    }
    Ok(builder.build())
}
