//! A client that writes down what it sent and got: one entry for one request.
//!
//! Invariant: the bytes sent are the bytes given, and an entry is written for every request, whatever became of it.

mod bulk;
mod unread;

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::Linger;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use crate::certificate::certificate;
use crate::clock::monotonic_ns;
use crate::framing::{self, Body};
use crate::ledger::Entry;
use crate::server::Endpoint;

/// How long a read may take: a server with two hundred requests before it needs most of a minute on a busy machine.
const READ_LIMIT: Duration = Duration::from_mins(2);

/// So many does OpenSSL send behind a handshake of TLS 1.3, unless told otherwise (`SSL_CTX_set_num_tickets`).
const TICKETS: u32 = 2;

/// A request to send.
#[derive(Debug, Clone)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The target, as it stands in the request line.
    pub target: String,
    /// Every byte of it.
    pub bytes: Vec<u8>,
}

impl Request {
    /// A GET with the least of headers.
    pub fn get(target: &str) -> Self {
        Self::new("GET", target, "", b"")
    }

    /// A request with these header lines, each ended by CR LF, and this body, whose framing the lines must tell.
    pub fn new(method: &str, target: &str, headers: &str, body: &[u8]) -> Self {
        let mut bytes = format!("{method} {target} HTTP/1.1\r\nHost: app.test\r\n{headers}\r\n").into_bytes();
        bytes.extend_from_slice(body);
        Self { method: method.to_owned(), target: target.to_owned(), bytes }
    }

    /// A POST with a body of this many bytes.
    pub fn post(target: &str, body_bytes: usize) -> Self {
        let headers = format!("Content-Length: {body_bytes}\r\nContent-Type: text/plain\r\n");
        Self::new("POST", target, &headers, &vec![b'x'; body_bytes])
    }
}

/// A request that was sent and waits for its response.
#[derive(Debug)]
#[must_use]
pub struct Sent {
    request: Request,
    start_ns: u64,
}

/// A connection to a server.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    /// Bytes read and not yet of any response.
    buffer: Vec<u8>,
    local: Option<SocketAddr>,
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    Unix(UnixStream),
}

impl Connection {
    /// Connects, without Nagle's delay.
    pub fn open(endpoint: &Endpoint) -> anyhow::Result<Self> {
        let (stream, local) = match endpoint {
            Endpoint::Tcp(address) | Endpoint::Tls(address) => {
                let stream = TcpStream::connect(address).with_context(|| format!("connect to {address}"))?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(READ_LIMIT))?;
                let local = stream.local_addr()?;
                let stream = match endpoint {
                    Endpoint::Tls(_) => {
                        let name = ServerName::from(address.ip()).to_owned();
                        let session = ClientConnection::new(certificate()?.client()?, name)?;
                        Stream::Tls(Box::new(StreamOwned::new(session, stream)))
                    }
                    _ => Stream::Tcp(stream),
                };
                (stream, Some(local))
            }
            Endpoint::Unix(path) => {
                let stream =
                    UnixStream::connect(path).with_context(|| format!("connect to {}", path.display()))?;
                stream.set_read_timeout(Some(READ_LIMIT))?;
                (Stream::Unix(stream), None)
            }
        };
        Ok(Self { stream, buffer: Vec::new(), local })
    }

    /// This side's address.
    pub fn local(&self) -> Option<SocketAddr> {
        self.local
    }

    /// Sends a request in one piece.
    pub fn send(&mut self, request: Request) -> anyhow::Result<Sent> {
        let start_ns = monotonic_ns();
        self.write(&request.bytes)?;
        Ok(Sent { request, start_ns })
    }

    /// Sends several requests in one piece, before any response.
    pub fn send_pipelined(&mut self, requests: Vec<Request>) -> anyhow::Result<Vec<Sent>> {
        let start_ns = monotonic_ns();
        self.write(&requests.iter().flat_map(|request| request.bytes.iter().copied()).collect::<Vec<u8>>())?;
        Ok(requests.into_iter().map(|request| Sent { request, start_ns }).collect())
    }

    /// Sends a request in pieces of this many bytes, each in a call of its own, with a pause after the server has
    /// read it.
    pub fn send_pieces(
        &mut self,
        request: Request,
        piece_bytes: usize,
        pause: Duration,
    ) -> anyhow::Result<Sent> {
        let start_ns = monotonic_ns();
        for (index, piece) in request.bytes.chunks(piece_bytes).enumerate() {
            if index > 0 {
                if let Stream::Tcp(_) = &self.stream {
                    self.wait_until_read()?;
                }
                std::thread::sleep(pause);
            }
            self.write(piece)?;
        }
        Ok(Sent { request, start_ns })
    }

    /// Sends the first `head_bytes` of a request, waits for an interim response, then sends the rest.
    pub fn send_expecting(&mut self, request: Request, head_bytes: usize) -> anyhow::Result<Sent> {
        let start_ns = monotonic_ns();
        self.write(&request.bytes[..head_bytes])?;
        while framing::head(&self.buffer, &request.method)?.is_none() && self.fill()? > 0 {}
        self.write(&request.bytes[head_bytes..])?;
        Ok(Sent { request, start_ns })
    }

    /// Sends one request and reads its response.
    pub fn exchange(&mut self, request: Request) -> anyhow::Result<Entry> {
        let sent = self.send(request)?;
        self.receive(sent)
    }

    /// Reads the response to a request: the oldest that has none yet.
    pub fn receive(&mut self, sent: Sent) -> anyhow::Result<Entry> {
        let mut entry = self.entry(sent);
        let head = loop {
            if !self.buffer.is_empty() && entry.first_ns == 0 {
                entry.first_ns = monotonic_ns();
            }
            match framing::head(&self.buffer, &entry.method)? {
                // Interim responses are not the response.
                Some(interim) if interim.status < 200 => {
                    self.buffer.drain(..interim.len);
                    entry.first_ns = 0;
                }
                Some(head) => break head,
                None if self.fill()? == 0 => {
                    entry.last_ns = monotonic_ns();
                    return Ok(entry);
                }
                None => {}
            }
        };
        entry.status = Some(head.status);
        let (end, complete) = loop {
            let end = match head.body {
                Body::Length(length) => Some(head.len + length).filter(|end| *end <= self.buffer.len()),
                Body::Chunked => framing::chunked_end(&self.buffer[head.len..])?.map(|end| head.len + end),
                Body::Close => None,
            };
            match end {
                Some(end) => break (end, true),
                None if self.fill()? == 0 => break (self.buffer.len(), head.body == Body::Close),
                None => {}
            }
        };
        entry.complete = complete;
        entry.last_ns = monotonic_ns();
        entry.body = self.buffer[head.len..end].to_vec();
        entry.response_bytes = end as u64;
        entry.keeps_alive = head.keeps_alive;
        self.buffer.drain(..end);
        Ok(entry)
    }

    /// Closes without reading the response.
    pub fn abandon(self, sent: Sent) -> Entry {
        self.entry(sent)
    }

    /// Reads the response's head and closes.
    pub fn abandon_amid(mut self, sent: Sent) -> anyhow::Result<Entry> {
        let mut entry = self.entry(sent);
        while entry.status.is_none() && self.fill()? > 0 {
            entry.status = framing::head(&self.buffer, &entry.method)?.map(|head| head.status);
        }
        Ok(entry)
    }

    /// Closes with a reset instead of an end, as a client does that is killed or gives up at once.
    pub fn reset(self) -> anyhow::Result<()> {
        let at_once = libc::linger { l_onoff: 1, l_linger: 0 };
        match &self.stream {
            Stream::Tcp(stream) => setsockopt(stream, Linger, &at_once),
            Stream::Tls(stream) => setsockopt(&stream.sock, Linger, &at_once),
            Stream::Unix(_) => bail!("a unix socket knows no reset"),
        }
        .context("close with a reset")
    }

    /// Waits until the server has read all that was sent.
    pub fn wait_until_read(&self) -> anyhow::Result<()> {
        let peer = match &self.stream {
            Stream::Tcp(stream) => stream.peer_addr()?,
            Stream::Tls(stream) => stream.sock.peer_addr()?,
            Stream::Unix(_) => bail!("only TCP tells what was read"),
        };
        unread::wait_until_read(self.local.context("TCP has addresses")?, peer)
    }

    /// Reads what the server sends behind the handshake of TLS: who closes with that unread resets. It must have answered
    /// the handshake, or be about to.
    pub fn take_tickets(&mut self) -> anyhow::Result<()> {
        let Stream::Tls(stream) = &mut self.stream else { return Ok(()) };
        while stream.conn.tls13_tickets_received() < TICKETS {
            ensure!(
                stream.conn.read_tls(&mut stream.sock).context("read a ticket")? > 0,
                "the server closed"
            );
            stream.conn.process_new_packets().context("read a ticket")?;
        }
        Ok(())
    }

    /// Waits until something of an answer has come.
    pub fn wait_for_answer(&mut self) -> anyhow::Result<()> {
        self.fill().map(drop)
    }

    /// Waits until the server has closed, with whatever it sends before.
    pub fn wait_until_closed(mut self) -> anyhow::Result<()> {
        while self.fill()? > 0 {}
        Ok(())
    }

    /// Sends bytes as they are.
    pub fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        match &mut self.stream {
            Stream::Tcp(stream) => stream.write_all(bytes),
            Stream::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
            Stream::Unix(stream) => stream.write_all(bytes),
        }
        .context("send")
    }

    /// Closes the sending side: TLS says so first, as an end without that is an error there.
    pub fn finish_sending(&mut self) -> io::Result<()> {
        match &mut self.stream {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Tls(stream) => {
                stream.conn.send_close_notify();
                stream.flush()?;
                stream.sock.shutdown(Shutdown::Write)
            }
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
    }

    /// Reads once; 0 at the end of the stream, or if the server has reset it.
    fn fill(&mut self) -> anyhow::Result<usize> {
        let mut piece = [0; 16_384];
        let read = match &mut self.stream {
            Stream::Tcp(stream) => stream.read(&mut piece),
            Stream::Tls(stream) => stream.read(&mut piece),
            Stream::Unix(stream) => stream.read(&mut piece),
        };
        let len = match read {
            // TLS wants a farewell, which not every server says.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof) =>
            {
                0
            }
            other => other.context("read the response")?,
        };
        self.buffer.extend_from_slice(&piece[..len]);
        Ok(len)
    }

    fn entry(&self, sent: Sent) -> Entry {
        Entry {
            method: sent.request.method,
            target: sent.request.target,
            request_bytes: sent.request.bytes.len() as u64,
            start_ns: sent.start_ns,
            local: self.local,
            ..Entry::default()
        }
    }
}
