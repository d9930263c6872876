//! The form of packets: three bytes of length, one of sequence, a payload (MySQL source documentation, "MySQL
//! Packets"; commands: "Command Phase"). Invariant: what is kept of a packet is bounded.

use crate::database::{Frame, Measure};
use crate::sql::{Dialect, summarize};

/// Most bytes kept of a packet: enough for statements' beginnings and a login.
const MAX_PAYLOAD_BYTES: usize = 4096;
/// A packet of this length is continued in the next.
const CONTINUED: u64 = 0xff_ffff;

pub(super) const COM_QUIT: u8 = 0x01;
pub(super) const COM_INIT_DB: u8 = 0x02;
pub(super) const COM_QUERY: u8 = 0x03;
pub(super) const COM_FIELD_LIST: u8 = 0x04;
pub(super) const COM_STATISTICS: u8 = 0x09;
pub(super) const COM_PROCESS_INFO: u8 = 0x0a;
pub(super) const COM_CHANGE_USER: u8 = 0x11;
pub(super) const COM_BINLOG_DUMP: u8 = 0x12;
pub(super) const COM_TABLE_DUMP: u8 = 0x13;
pub(super) const COM_STMT_PREPARE: u8 = 0x16;
pub(super) const COM_STMT_EXECUTE: u8 = 0x17;
pub(super) const COM_STMT_SEND_LONG_DATA: u8 = 0x18;
pub(super) const COM_STMT_CLOSE: u8 = 0x19;
pub(super) const COM_STMT_FETCH: u8 = 0x1c;
pub(super) const COM_BINLOG_DUMP_GTID: u8 = 0x1e;
/// MariaDB's own.
pub(super) const COM_STMT_BULK_EXECUTE: u8 = 0xfa;

/// Another result set follows (`SERVER_MORE_RESULTS_EXISTS`).
pub(super) const MORE_RESULTS: u16 = 0x0008;
/// Rows are to be fetched (`SERVER_STATUS_CURSOR_EXISTS`).
pub(super) const CURSOR_EXISTS: u16 = 0x0040;

/// The verb of a command that is not named by its statement.
pub(super) const fn verb(code: u8) -> Option<&'static str> {
    Some(match code {
        COM_QUERY | COM_STMT_EXECUTE | COM_STMT_BULK_EXECUTE => return None,
        COM_STMT_PREPARE => "PREPARE",
        COM_STMT_FETCH => "FETCH",
        COM_INIT_DB => "USE",
        COM_CHANGE_USER => "CHANGE USER",
        COM_FIELD_LIST => "SHOW COLUMNS",
        COM_STATISTICS => "STATISTICS",
        0x0e => "PING",
        0x1a | 0x1f => "RESET",
        0x1b => "SET OPTION",
        0x0c => "KILL",
        _ => "ADMIN",
    })
}

pub(super) fn framing(bytes: &[u8]) -> Measure {
    let [a, b, c, _, ..] = *bytes else { return Measure::More };
    let payload = u64::from(u32::from_le_bytes([a, b, c, 0]));
    Measure::Known { header: 4, payload, keep: MAX_PAYLOAD_BYTES }
}

/// A greeting, or a refusal in its place: the first packet of its direction, and a short one.
pub(super) fn greeting_framing(bytes: &[u8]) -> Measure {
    match framing(bytes) {
        known @ Measure::Known { payload: 3..=1024, .. } if bytes.get(3) == Some(&0) => known,
        Measure::Known { .. } => Measure::Bad,
        other => other,
    }
}

/// The number of a packet in its exchange: 0 begins a command.
pub(super) fn sequence(frame: &Frame) -> u8 {
    frame.header[3]
}

pub(super) fn is_continued(frame: &Frame) -> bool {
    frame.payload_bytes == CONTINUED
}

/// An EOF packet of the old kind: `fe`, warnings, status.
pub(super) fn is_eof(frame: &Frame) -> bool {
    frame.payload_bytes == 5 && frame.payload.first() == Some(&0xfe)
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4).map(|four| u32::from_le_bytes([four[0], four[1], four[2], four[3]]))
}

/// A number of variable length ("Length-Encoded Integer"), and how many bytes it takes.
pub(super) fn length_encoded(bytes: &[u8]) -> Option<(u64, usize)> {
    let (&first, rest) = bytes.split_first()?;
    let take = |count: usize| {
        let digits = rest.get(..count)?;
        Some((digits.iter().rev().fold(0, |value, digit| value << 8 | u64::from(*digit)), count + 1))
    };
    match first {
        0..=0xfa => Some((u64::from(first), 1)),
        0xfc => take(2),
        0xfd => take(3),
        0xfe => take(8),
        0xfb | 0xff => None,
    }
}

/// Whether a call of `len` bytes that begins so is a command with a statement: what is needed where the
/// connection's beginning was not seen.
pub(crate) fn looks_like_command(bytes: &[u8], len: u64) -> bool {
    let [a, b, c, 0, code, ref text @ ..] = *bytes else { return false };
    let payload = u64::from(u32::from_le_bytes([a, b, c, 0]));
    if payload + 4 != len || payload == CONTINUED {
        return false;
    }
    match code {
        COM_QUERY | COM_STMT_PREPARE => {
            let text = if text.first() == Some(&0) { text.get(2..).unwrap_or(text) } else { text };
            summarize(text, Dialect::Mysql, false).operation.is_some()
        }
        // Statement, flags, and the number of iterations, which is always 1.
        COM_STMT_EXECUTE => payload >= 10 && u32_at(text, 5) == Some(1),
        _ => false,
    }
}

/// Whether a call ends with the packet that ends rows, and no other result set follows: an EOF packet, or an OK
/// packet without text in its place.
pub(super) fn ends_rows(ending: &[u8]) -> bool {
    let status = if let Some([5, 0, 0, _, 0xfe, _, _, low, high]) = ending.last_chunk::<9>() {
        u16::from_le_bytes([*low, *high])
    } else if let Some([7, 0, 0, _, 0xfe, 0, 0, low, high, _, _]) = ending.last_chunk::<11>() {
        u16::from_le_bytes([*low, *high])
    } else {
        return false;
    };
    status & MORE_RESULTS == 0
}
