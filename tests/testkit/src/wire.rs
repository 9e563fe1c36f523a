//! A plain PostgreSQL client for tests: the frames as they are, so that a test can also send what no driver would.

use std::{collections::BTreeMap, io, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, pki_types::ServerName},
};

/// Anything frames go over.
trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A connection.
pub struct Wire {
    socket: Box<dyn Io>,
    /// What the server said at login: `server_version`, ...
    pub parameters: BTreeMap<String, String>,
    /// Number and secret of the server's side, for cancelling.
    pub backend: (i32, i32),
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wire")
            .field("backend", &self.backend)
            .finish_non_exhaustive()
    }
}

/// What the server said was wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// SQLSTATE.
    pub code: String,
    /// In words.
    pub message: String,
}

/// Everything until the server is ready again.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    /// Name, type and format of each column.
    pub columns: Vec<(String, u32, i16)>,
    /// Values as they came.
    pub rows: Vec<Vec<Option<Vec<u8>>>>,
    /// Command tags.
    pub tags: Vec<String>,
    /// Bytes of COPY.
    pub copied: Vec<u8>,
    /// The last error.
    pub refusal: Option<Refusal>,
    /// `I`, `T` or `E`.
    pub status: u8,
    /// Whether a portal was left with more rows.
    pub suspended: bool,
}

impl Reply {
    /// SQLSTATE of the error, empty without one.
    #[must_use]
    pub fn code(&self) -> &str {
        self.refusal.as_ref().map_or("", |refusal| &refusal.code)
    }

    /// Rows as texts, `NULL` for a missing value.
    #[must_use]
    pub fn texts(&self) -> Vec<Vec<String>> {
        let text = |value: &Option<Vec<u8>>| {
            value.as_ref().map_or_else(
                || "NULL".to_owned(),
                |bytes| String::from_utf8_lossy(bytes).into_owned(),
            )
        };
        self.rows
            .iter()
            .map(|row| row.iter().map(text).collect())
            .collect()
    }
}

/// A statement of the extended protocol.
#[derive(Debug, Clone, Default)]
pub struct Ask<'a> {
    /// The statement.
    pub sql: &'a str,
    /// Types of the parameters, 0 where the server may say.
    pub types: &'a [u32],
    /// Values of the parameters.
    pub values: &'a [Option<&'a [u8]>],
    /// Whether the values are binary.
    pub binary_values: bool,
    /// Whether the rows shall be binary.
    pub binary_rows: bool,
    /// Most rows wanted; 0 for all.
    pub max_rows: i32,
}

fn broken(text: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text.into())
}

fn cstring(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
    out.push(0);
}

/// The text up to the next zero byte, and what comes after it.
fn split_text(bytes: &[u8]) -> (String, &[u8]) {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let rest = bytes.get(end + 1..).unwrap_or_default();
    (String::from_utf8_lossy(&bytes[..end]).into_owned(), rest)
}

fn refusal_of(body: &[u8]) -> Refusal {
    let (mut code, mut message) = (String::new(), String::new());
    let mut rest = body;
    while let [kind, text @ ..] = rest
        && *kind != 0
    {
        let (value, after) = split_text(text);
        match kind {
            b'C' => code = value,
            b'M' => message = value,
            _ => {}
        }
        rest = after;
    }
    Refusal { code, message }
}

fn number(bytes: &[u8], at: usize) -> i32 {
    let four = bytes.get(at..at + 4).and_then(|four| four.try_into().ok());
    four.map_or(0, i32::from_be_bytes)
}

fn short(bytes: &[u8], at: usize) -> i16 {
    let two = bytes.get(at..at + 2).and_then(|two| two.try_into().ok());
    two.map_or(0, i16::from_be_bytes)
}

fn keyed(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

impl Wire {
    /// Connects; with `tls` the connection is encrypted before anything else is said.
    ///
    /// # Errors
    /// What the socket met, or a server without TLS.
    pub async fn connect(address: &str, tls: Option<Arc<ClientConfig>>) -> io::Result<Self> {
        let mut socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        let socket: Box<dyn Io> = match tls {
            None => Box::new(socket),
            Some(config) => {
                socket.write_all(&8_i32.to_be_bytes()).await?;
                socket.write_all(&80_877_103_i32.to_be_bytes()).await?;
                if socket.read_u8().await? != b'S' {
                    return Err(broken("the server offers no TLS"));
                }
                let name = ServerName::try_from("localhost").map_err(|error| broken(error.to_string()))?;
                Box::new(TlsConnector::from(config).connect(name, socket).await?)
            }
        };
        Ok(Self {
            socket,
            parameters: BTreeMap::new(),
            backend: (0, 0),
        })
    }

    /// Connects and logs in with SCRAM.
    ///
    /// # Errors
    /// As [`Self::connect`] and [`Self::login`]; a refusal in the inner result.
    pub async fn open(
        address: &str,
        tls: Option<Arc<ClientConfig>>,
        user: &str,
        key: &str,
    ) -> io::Result<Result<Self, Refusal>> {
        let mut wire = Self::connect(address, tls).await?;
        Ok(wire.login(user, key).await?.map(|()| wire))
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// What the socket met.
    pub async fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes).await?;
        self.socket.flush().await
    }

    /// Sends a message.
    ///
    /// # Errors
    /// What the socket met.
    pub async fn send(&mut self, tag: u8, body: &[u8]) -> io::Result<()> {
        let length = i32::try_from(body.len() + 4).map_err(|error| broken(error.to_string()))?;
        let mut frame = vec![tag];
        frame.extend_from_slice(&length.to_be_bytes());
        frame.extend_from_slice(body);
        self.raw(&frame).await
    }

    /// The next message.
    ///
    /// # Errors
    /// What the socket met; `UnexpectedEof` when the server has closed.
    pub async fn next(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let tag = self.socket.read_u8().await?;
        let length = self.socket.read_i32().await?;
        let length = usize::try_from(length - 4).map_err(|error| broken(error.to_string()))?;
        let mut body = vec![0; length];
        self.socket.read_exact(&mut body).await?;
        Ok((tag, body))
    }

    /// Sends the first message of a login.
    ///
    /// # Errors
    /// What the socket met.
    pub async fn startup(&mut self, user: &str) -> io::Result<()> {
        let mut body = 196_608_i32.to_be_bytes().to_vec();
        for text in ["user", user, "database", "revgauge"] {
            cstring(&mut body, text);
        }
        body.push(0);
        let length = i32::try_from(body.len() + 4).map_err(|error| broken(error.to_string()))?;
        let mut frame = length.to_be_bytes().to_vec();
        frame.extend(body);
        self.raw(&frame).await
    }

    /// Logs in with SCRAM-SHA-256, and checks that the server knows the key too.
    ///
    /// # Errors
    /// What the socket met; a refusal in the inner result.
    pub async fn login(&mut self, user: &str, key: &str) -> io::Result<Result<(), Refusal>> {
        self.startup(user).await?;
        let bare = format!("n={user},r=clientnonce0123456789");
        let mut signature = Vec::new();
        let mut first = String::new();
        loop {
            let (tag, body) = self.next().await?;
            match (tag, number(&body, 0)) {
                (b'E', _) => return Ok(Err(refusal_of(&body))),
                (b'R', 10) => {
                    let text = format!("n,,{bare}");
                    let mut answer = Vec::new();
                    cstring(&mut answer, "SCRAM-SHA-256");
                    let length = i32::try_from(text.len()).map_err(|error| broken(error.to_string()))?;
                    answer.extend_from_slice(&length.to_be_bytes());
                    answer.extend_from_slice(text.as_bytes());
                    self.send(b'p', &answer).await?;
                }
                (b'R', 11) => {
                    first = String::from_utf8_lossy(&body[4..]).into_owned();
                    let (proof, expected) = prove(&bare, &first, key)?;
                    signature = expected;
                    self.send(b'p', proof.as_bytes()).await?;
                }
                (b'R', 12) => {
                    let said = String::from_utf8_lossy(&body[4..]).into_owned();
                    if said != format!("v={}", STANDARD.encode(&signature)) {
                        return Err(broken(format!("the server proves nothing: {said} after {first}")));
                    }
                }
                (b'S', _) => {
                    let (name, rest) = split_text(&body);
                    self.parameters.insert(name, split_text(rest).0);
                }
                (b'K', pid) => self.backend = (pid, number(&body, 4)),
                (b'Z', _) => return Ok(Ok(())),
                _ => {}
            }
        }
    }

    /// Everything up to the next ReadyForQuery.
    ///
    /// # Errors
    /// What the socket met.
    pub async fn reply(&mut self) -> io::Result<Reply> {
        let mut reply = Reply::default();
        loop {
            let (tag, body) = self.next().await?;
            match tag {
                b'T' => reply.columns = columns_of(&body),
                b'D' => reply.rows.push(row_of(&body)),
                b'C' => reply.tags.push(split_text(&body).0),
                b'd' => reply.copied.extend(body),
                b's' => reply.suspended = true,
                b'E' => reply.refusal = Some(refusal_of(&body)),
                b'Z' => {
                    reply.status = body.first().copied().unwrap_or(0);
                    return Ok(reply);
                }
                _ => {}
            }
        }
    }

    /// A simple query.
    ///
    /// # Errors
    /// What the socket met.
    pub async fn query(&mut self, sql: &str) -> io::Result<Reply> {
        let mut body = Vec::new();
        cstring(&mut body, sql);
        self.send(b'Q', &body).await?;
        self.reply().await
    }

    /// Parse, bind, describe, execute and sync.
    ///
    /// # Errors
    /// What the socket met.
    pub async fn ask(&mut self, ask: &Ask<'_>) -> io::Result<Reply> {
        let count = |length: usize| i16::try_from(length).map_err(|error| broken(error.to_string()));
        let mut parse = vec![0];
        cstring(&mut parse, ask.sql);
        parse.extend_from_slice(&count(ask.types.len())?.to_be_bytes());
        for kind in ask.types {
            parse.extend_from_slice(&kind.to_be_bytes());
        }
        self.send(b'P', &parse).await?;
        let mut bind = vec![0, 0];
        bind.extend_from_slice(&1_i16.to_be_bytes());
        bind.extend_from_slice(&i16::from(ask.binary_values).to_be_bytes());
        bind.extend_from_slice(&count(ask.values.len())?.to_be_bytes());
        for value in ask.values {
            match value {
                None => bind.extend_from_slice(&(-1_i32).to_be_bytes()),
                Some(bytes) => {
                    bind.extend_from_slice(&i32::from(count(bytes.len())?).to_be_bytes());
                    bind.extend_from_slice(bytes);
                }
            }
        }
        bind.extend_from_slice(&1_i16.to_be_bytes());
        bind.extend_from_slice(&i16::from(ask.binary_rows).to_be_bytes());
        self.send(b'B', &bind).await?;
        self.send(b'D', b"P\0").await?;
        let mut execute = vec![0];
        execute.extend_from_slice(&ask.max_rows.to_be_bytes());
        self.send(b'E', &execute).await?;
        self.send(b'S', &[]).await?;
        self.reply().await
    }

    /// Asks the server, over a connection of its own, to cancel what this one runs.
    ///
    /// # Errors
    /// What the socket met.
    pub async fn cancel(address: &str, backend: (i32, i32)) -> io::Result<()> {
        let mut socket = TcpStream::connect(address).await?;
        for part in [16, 80_877_102, backend.0, backend.1] {
            socket.write_all(&part.to_be_bytes()).await?;
        }
        socket.flush().await
    }
}

/// `client-final-message` and the signature that the server must answer with (RFC 5802).
fn prove(bare: &str, first: &str, key: &str) -> io::Result<(String, Vec<u8>)> {
    let part = |name: &str| {
        first
            .split(',')
            .find_map(|part| part.strip_prefix(name))
            .ok_or_else(|| broken(format!("no {name} in {first}")))
    };
    let salt = STANDARD
        .decode(part("s=")?)
        .map_err(|error| broken(error.to_string()))?;
    let rounds: u32 = part("i=")?.parse().map_err(|_| broken("rounds are no number"))?;
    let mut salted = [0_u8; 32];
    pbkdf2::pbkdf2_hmac::<Sha256>(key.as_bytes(), &salt, rounds, &mut salted);
    let client_key = keyed(&salted, b"Client Key");
    let without_proof = format!("c=biws,r={}", part("r=")?);
    let signed = format!("{bare},{first},{without_proof}");
    let stored = Sha256::digest(&client_key);
    let signature = keyed(&stored, signed.as_bytes());
    let proof: Vec<u8> = client_key.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
    let server_key = keyed(&salted, b"Server Key");
    Ok((
        format!("{without_proof},p={}", STANDARD.encode(proof)),
        keyed(&server_key, signed.as_bytes()),
    ))
}

fn columns_of(body: &[u8]) -> Vec<(String, u32, i16)> {
    let mut columns = Vec::new();
    let mut rest = body.get(2..).unwrap_or_default();
    for _ in 0..short(body, 0) {
        let (name, after) = split_text(rest);
        let kind = number(after, 6).cast_unsigned();
        columns.push((name, kind, short(after, 16)));
        rest = after.get(18..).unwrap_or_default();
    }
    columns
}

fn row_of(body: &[u8]) -> Vec<Option<Vec<u8>>> {
    let mut row = Vec::new();
    let mut rest = body.get(2..).unwrap_or_default();
    for _ in 0..short(body, 0) {
        let length = number(rest, 0);
        rest = rest.get(4..).unwrap_or_default();
        let Ok(length) = usize::try_from(length) else {
            row.push(None);
            continue;
        };
        row.push(Some(rest.get(..length).unwrap_or_default().to_vec()));
        rest = rest.get(length..).unwrap_or_default();
    }
    row
}
