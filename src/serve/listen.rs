//! Connections: accepted, bounded in number and time, and finished when the server stops.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tower_service::Service as _;

use super::app::{self, App};
use super::options::ServeOptions;
use super::patient::Patient;
use super::routes::router;
use crate::env;
use crate::error::{Error, Result};
use crate::store::Store;

/// Most bytes of a request's line and headers.
const MAX_HEAD: usize = 64 << 10;
/// True once the server stops.
type Stopped = watch::Receiver<bool>;

/// The pause after an accept that failed, for example without free file descriptors.
const PAUSE: Duration = Duration::from_millis(50);

/// A server that listens.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    app: App,
    options: ServeOptions,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Server {
    /// Listens on the address. Connections wait until [`run`](Self::run).
    ///
    /// # Errors
    ///
    /// `InvalidInput` where the options would let strangers in by accident, the address is not
    /// free, or a certificate cannot be used.
    pub async fn bind(store: Arc<dyn Store>, options: ServeOptions) -> Result<Self> {
        options.check()?;
        let tls = match &options.tls {
            Some((certificates, key)) => Some(acceptor(certificates, key)?),
            None => None,
        };
        let wanted = options.address;
        let unusable = |error: io::Error| {
            Error::invalid(format!("cannot listen on {wanted}: {error}; choose another address with `--address`"))
        };
        let listener = TcpListener::bind(wanted).await.map_err(unusable)?;
        let address = listener.local_addr().map_err(unusable)?;
        let app = App::new(store, options.clone(), None);
        Ok(Self { listener, address, tls, app, options })
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers requests until `stop` is ready. Then it takes no more, and finishes those under way
    /// within [`grace`](ServeOptions::grace). Every write that was accepted is decided before it
    /// returns.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let Self { listener, tls, app, options, .. } = self;
        let router = router(app.clone());
        let stopping = app.stopping();
        let mut stop = std::pin::pin!(stop);
        loop {
            let accepted = async {
                let permit = app.connections().clone().acquire_owned().await.ok()?;
                Some((listener.accept().await, permit))
            };
            let accepted = tokio::select! {
                () = &mut stop => break,
                accepted = accepted => accepted,
            };
            let Some((accepted, permit)) = accepted else { break };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    env::sleep(PAUSE).await;
                    continue;
                }
            };
            let (router, tls, stopped, limit) =
                (router.clone(), tls.clone(), stopping.subscribe(), options.read_timeout);
            drop(env::spawn(async move {
                connection(stream, tls, router, stopped, limit).await;
                drop(permit);
            }));
        }
        drop(listener);
        // Each connection finishes its request, each follower ends, and they drop their receivers.
        stopping.send_replace(true);
        if env::timeout(options.grace, stopping.closed()).await.is_none() {
            tracing::warn!("some requests took longer than the grace of the stop, and were cut");
        }
        app.pool().flush().await;
    }
}

async fn connection(stream: TcpStream, tls: Option<TlsAcceptor>, router: Router, stopped: Stopped, limit: Duration) {
    // Answers are small, and clients wait for each.
    let _ = stream.set_nodelay(true);
    let stream = Patient::new(stream, limit);
    match tls {
        None => serve(stream, router, stopped, limit).await,
        Some(tls) => match env::timeout(limit, tls.accept(stream)).await {
            Some(Ok(stream)) => serve(stream, router, stopped, limit).await,
            Some(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            None => tracing::debug!("a TLS handshake took too long"),
        },
    }
}

async fn serve<S>(stream: S, router: Router, mut stopped: Stopped, limit: Duration)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        router.clone().call(request.map(Body::new))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limit)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = app::stopped(&mut stopped) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke off");
    }
}

/// TLS with the certificates and the key of PEM files.
fn acceptor(certificates: &Path, key: &Path) -> Result<TlsAcceptor> {
    let unusable = |path: &Path, error: &dyn std::fmt::Display| {
        Error::invalid(format!("`{}` cannot be used for TLS: {error}; name a PEM file", path.display()))
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificates)
        .and_then(Iterator::collect)
        .map_err(|error| unusable(certificates, &error))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(key, &error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private))
        .map_err(|error| unusable(certificates, &error))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
