//! A server that gives every request the same answer, whatever is asked.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The server. Its thread ends with the process.
pub struct Stranger {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Stranger {
    /// A server that answers with this status line, these further header lines and this body.
    pub fn http(status: &str, headers: &str, body: &str) -> Self {
        let length = body.len();
        Self::raw(format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"))
    }

    /// A server that answers with these bytes.
    pub fn raw(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = connections.clone();
        std::thread::spawn(move || {
            while let Ok((mut connection, _)) = listener.accept() {
                counted.fetch_add(1, Ordering::SeqCst);
                let answer = answer.clone();
                std::thread::spawn(move || {
                    let mut request = [0; 16 << 10];
                    let _ = connection.read(&mut request);
                    let _ = connection.write_all(&answer);
                    // Reads the rest: a close with unread bytes would take the answer back.
                    let _ = connection.shutdown(Shutdown::Write);
                    while connection.read(&mut request).is_ok_and(|bytes| bytes > 0) {}
                });
            }
        });
        Self { address, connections }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Connections since the last call.
    pub fn connections(&self) -> usize {
        self.connections.swap(0, Ordering::SeqCst)
    }
}
