//! TLS in front of a server on loopback, with a certificate that only its file vouches for.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

/// A listener that speaks TLS and passes the bytes on. It stops when this is dropped.
pub struct Front {
    pub address: SocketAddr,
    folder: tempfile::TempDir,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// The certificate of a [`Front`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certificate {
    Sound,
    ForAnotherName,
    Expired,
}

impl Front {
    /// TLS in front of a server, whose endpoint begins with `http://`.
    pub fn of(endpoint: &str, certificate: Certificate) -> Self {
        let behind: SocketAddr = endpoint.strip_prefix("http://").unwrap().parse().unwrap();
        let name = if certificate == Certificate::ForAnotherName { "other.test" } else { "127.0.0.1" };
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        if certificate == Certificate::Expired {
            (params.not_before, params.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
        }
        let key = KeyPair::generate().unwrap();
        let made = params.self_signed(&key).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), made.pem()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = config.with_no_client_auth().with_single_cert(vec![made.der().clone()], key).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).unwrap();
                let accepting = accept(listener, TlsAcceptor::from(Arc::new(config)), behind);
                tokio::select! { _ = stopped => {}, () = accepting => {} }
            });
        });
        Self { address, folder, stop: Some(stop), thread: Some(thread) }
    }

    pub fn endpoint(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The file of the certificate.
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, behind: SocketAddr) {
    loop {
        let Ok((connection, _)) = listener.accept().await else { continue };
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            // Clients of tests refuse certificates, or speak no TLS.
            let Ok(mut client) = acceptor.accept(connection).await else { return };
            let Ok(mut server) = TcpStream::connect(behind).await else { return };
            let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
        });
    }
}

/// One file with the certificates of these.
pub fn bundle(fronts: &[&Front], path: &Path) {
    let read = |front: &&Front| std::fs::read_to_string(front.authority()).unwrap();
    std::fs::write(path, fronts.iter().map(read).collect::<String>()).unwrap();
}
