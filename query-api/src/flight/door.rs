//! The listening socket: TLS, plain text on this machine only, the number of connections, HTTP/2.

use std::{
    fmt, io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, atomic::AtomicU64},
    task::{Context, Poll},
    time::Duration,
};

use arrow_flight::flight_service_server::FlightServiceServer;
use futures::{Stream, stream};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tonic::transport::{Server, server::Connected};

use super::{prepared::Statements, service::Service};
use crate::{api::Api, settings::FlightSettings};

/// First byte of a TLS handshake; HTTP/2 begins with `P`.
const TLS_HANDSHAKE: u8 = 0x16;

/// The Arrow Flight SQL door.
#[derive(Clone)]
pub struct FlightDoor {
    api: Arc<Api>,
    settings: FlightSettings,
    tls: Arc<ServerConfig>,
}

impl fmt::Debug for FlightDoor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlightDoor")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl FlightDoor {
    /// Makes the door. `tls` must offer `h2` (ALPN).
    #[must_use]
    pub fn new(api: Arc<Api>, tls: Arc<ServerConfig>) -> Self {
        let settings = api.settings.flight.clone();
        Self { api, settings, tls }
    }

    /// Serves until `stop` is done; open streams end with it.
    ///
    /// # Errors
    /// What the transport met.
    pub async fn serve(
        self,
        listener: TcpListener,
        stop: impl Future<Output = ()> + Send,
    ) -> Result<(), tonic::transport::Error> {
        let service = Service {
            api: self.api,
            settings: self.settings.clone(),
            statements: Statements::default(),
            handles: AtomicU64::new(0),
        };
        let idle = Duration::from_millis(self.settings.stalled_client_ms);
        Server::builder()
            // A peer that answers no ping is gone, or has stopped reading.
            .http2_keepalive_interval(Some(idle))
            .http2_keepalive_timeout(Some(idle))
            .add_service(FlightServiceServer::new(service))
            .serve_with_incoming_shutdown(accepted(listener, self.tls, &self.settings), stop)
            .await
    }
}

/// Connections with TLS done. Handshakes run beside each other, so a slow one holds nobody up.
fn accepted(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    settings: &FlightSettings,
) -> impl Stream<Item = io::Result<Connection>> {
    let places = Arc::new(Semaphore::new(settings.connections));
    let patience = Duration::from_millis(settings.handshake_ms);
    let acceptor = TlsAcceptor::from(tls);
    let (sender, receiver) = mpsc::channel(16);
    let accepting = tokio::spawn(async move {
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            let socket = tokio::select! {
                () = sender.closed() => return,
                accepted = listener.accept() => accepted,
            };
            let (socket, peer) = match socket {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    continue;
                }
            };
            let (acceptor, sender) = (acceptor.clone(), sender.clone());
            tokio::spawn(async move {
                match timeout(patience, secured(socket, peer, acceptor)).await {
                    Ok(Ok(socket)) => {
                        let _ = sender
                            .send(Ok(Connection {
                                socket,
                                _place: place,
                            }))
                            .await;
                    }
                    Ok(Err(error)) => tracing::debug!(%error, "a connection broke off before it began"),
                    Err(_) => tracing::debug!("a connection did not begin in time"),
                }
            });
        }
    });
    let guard = tokio_util::task::AbortOnDropHandle::new(accepting);
    stream::unfold((receiver, guard), |(mut receiver, guard)| async move {
        let connection = receiver.recv().await?;
        Some((connection, (receiver, guard)))
    })
}

async fn secured(socket: TcpStream, peer: SocketAddr, acceptor: TlsAcceptor) -> io::Result<Socket> {
    socket.set_nodelay(true)?;
    let mut first = [0_u8];
    socket.peek(&mut first).await?;
    if first[0] == TLS_HANDSHAKE {
        return Ok(Socket::Tls(Box::new(acceptor.accept(socket).await?)));
    }
    if peer.ip().is_loopback() {
        return Ok(Socket::Plain(socket));
    }
    Err(io::Error::new(
        io::ErrorKind::PermissionDenied,
        "plain text is taken from this machine only: use grpc+tls://",
    ))
}

enum Socket {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection and its place among those allowed.
struct Connection {
    socket: Socket,
    _place: OwnedSemaphorePermit,
}

impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) -> Self::ConnectInfo {}
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Plain(socket) => Pin::new(socket).poll_read(context, buffer),
            Socket::Tls(socket) => Pin::new(socket).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.socket {
            Socket::Plain(socket) => Pin::new(socket).poll_write(context, bytes),
            Socket::Tls(socket) => Pin::new(socket).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Plain(socket) => Pin::new(socket).poll_flush(context),
            Socket::Tls(socket) => Pin::new(socket).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Plain(socket) => Pin::new(socket).poll_shutdown(context),
            Socket::Tls(socket) => Pin::new(socket).poll_shutdown(context),
        }
    }
}
