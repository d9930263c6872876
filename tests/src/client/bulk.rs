//! Exchanges whose bodies are counted, not kept.
//!
//! Invariant: memory does not grow with the bodies.

use anyhow::{Context as _, bail, ensure};

use super::{Connection, Request, Stream};
use crate::clock::monotonic_ns;
use crate::framing::{self, Body};
use crate::ledger::Entry;
use std::io::Read as _;

const PIECE_BYTES: usize = 1 << 20;

impl Connection {
    /// Sends a request's head, then a body of so many bytes, which its headers must tell. Reads a response whose
    /// `Content-Length` is known.
    pub fn exchange_bulk(&mut self, head: Request, body_bytes: u64) -> anyhow::Result<Entry> {
        let sent = self.send(head)?;
        let piece = vec![b'x'; PIECE_BYTES];
        let mut left = body_bytes;
        while left > 0 {
            let len = left.min(PIECE_BYTES as u64);
            self.write(&piece[..len as usize])?;
            left -= len;
        }
        let mut entry = self.entry(sent);
        entry.request_bytes += body_bytes;
        let head = loop {
            if let Some(head) = framing::head(&self.buffer, &entry.method)? {
                break head;
            }
            ensure!(self.fill()? > 0, "the server has closed");
            entry.first_ns = entry.first_ns.max(monotonic_ns());
        };
        let Body::Length(length) = head.body else { bail!("no Content-Length: {head:?}") };
        entry.status = Some(head.status);
        entry.response_bytes = (head.len + length) as u64;
        let left = entry.response_bytes.checked_sub(self.buffer.len() as u64);
        self.skip(left.context("more than the response has come")?)?;
        self.buffer.clear();
        entry.last_ns = monotonic_ns();
        (entry.complete, entry.keeps_alive) = (true, head.keeps_alive);
        Ok(entry)
    }

    fn skip(&mut self, mut left: u64) -> anyhow::Result<()> {
        let mut piece = vec![0; PIECE_BYTES];
        while left > 0 {
            let room = &mut piece[..left.min(PIECE_BYTES as u64) as usize];
            let len = match &mut self.stream {
                Stream::Tcp(stream) => stream.read(room),
                Stream::Tls(stream) => stream.read(room),
                Stream::Unix(stream) => stream.read(room),
            };
            let len = len.context("read the response")?;
            ensure!(len > 0, "the server has closed, {left} bytes too early");
            left -= len as u64;
        }
        Ok(())
    }
}
