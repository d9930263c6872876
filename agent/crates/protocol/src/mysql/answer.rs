//! The answer to a command, packet by packet (MySQL source documentation, "Command Phase" and "Text Resultset").
//! Invariant: a packet that cannot stand where it does is said to be strange, never counted as something else.

use super::packet::{self, MORE_RESULTS, length_encoded, u16_at, u32_at};
use crate::database::Frame;

/// What is longer is a row: an error's text has at most 512 bytes (`MYSQL_ERRMSG_SIZE`, `include/mysql_com.h`), an EOF or
/// OK packet in its place is shorter yet.
const MIN_ROW_BYTES: u64 = 1024;

/// What is to come of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answering {
    /// OK, an error, a file's request, or the number of columns.
    First,
    /// After a request for a file: OK or an error.
    File,
    /// So many definitions of columns, then perhaps an EOF packet.
    Columns {
        left: u64,
    },
    /// An EOF packet or the first row.
    AfterColumns,
    Rows,
    /// One packet, whatever it is.
    Single,
    /// Definitions of columns up to an EOF packet.
    Fields,
    /// Packets of an authentication up to OK.
    Change,
    /// The number of a prepared statement.
    Preparing,
    /// So many definitions of parameters and of columns, with or without EOF packets.
    Definitions {
        parameters: u16,
        columns: u16,
        eof_due: bool,
    },
}

/// What a packet meant.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    More,
    /// The statement has this number; its definitions follow.
    Prepared(u32),
    /// The statement has this number; nothing follows.
    PreparedAll(u32),
    End,
    Error(String),
    Strange,
}

impl Answering {
    /// How a command is answered. `None`: not at all, or it is not known.
    pub(super) fn to(code: u8) -> Option<Self> {
        Some(match code {
            packet::COM_QUERY
            | packet::COM_STMT_EXECUTE
            | packet::COM_STMT_BULK_EXECUTE
            | packet::COM_PROCESS_INFO => Self::First,
            packet::COM_STMT_PREPARE => Self::Preparing,
            packet::COM_STMT_FETCH => Self::Rows,
            packet::COM_FIELD_LIST => Self::Fields,
            packet::COM_CHANGE_USER => Self::Change,
            0x02 | 0x05..=0x09 | 0x0b..=0x0e | 0x1a | 0x1b | 0x1f => Self::Single,
            _ => return None,
        })
    }

    /// Rows may be passing.
    pub(super) fn may_be_in_rows(&self) -> bool {
        matches!(self, Self::First | Self::Columns { .. } | Self::AfterColumns | Self::Rows)
    }

    /// Whether a packet of so many bytes can be many things here, which only its first byte tells apart.
    fn needs_first_byte(&self, payload_bytes: u64) -> bool {
        match self {
            Self::Columns { .. } | Self::Definitions { .. } => false,
            Self::AfterColumns | Self::Rows => (1..MIN_ROW_BYTES).contains(&payload_bytes),
            _ => payload_bytes > 0,
        }
    }

    /// Whether a packet begins as an error of which the number was not seen. No row begins so.
    fn is_cut_error(&self, frame: &Frame) -> bool {
        !matches!(self, Self::Columns { .. } | Self::Definitions { .. })
            && matches!(frame.payload[..], [0xff] | [0xff, _])
            && frame.payload_bytes > 2
    }

    /// Takes a packet of the server.
    pub(super) fn hear(&mut self, frame: &Frame, deprecate_eof: Option<bool>) -> Heard {
        let payload = &frame.payload[..];
        let first = payload.first().copied();
        if let Some(code) = error_code(payload)
            && !matches!(self, Self::Columns { .. } | Self::Definitions { .. })
        {
            return Heard::Error(code);
        }
        // MariaDB reports progress in error packets of number 65535.
        if is_progress(payload) {
            return Heard::More;
        }
        if self.is_cut_error(frame) || first.is_none() && self.needs_first_byte(frame.payload_bytes) {
            return Heard::Strange;
        }
        match *self {
            Self::Single => Heard::End,
            Self::File => self.ok(payload),
            Self::First => match first {
                Some(0) => self.ok(payload),
                Some(0xfb) => {
                    *self = Self::File;
                    Heard::More
                }
                // No columns: the OK of a command that has an EOF in its place.
                Some(0xfe) if frame.payload_bytes < 9 => Heard::End,
                _ => match length_encoded(payload) {
                    Some((columns @ 1..=0xffff, digits)) if frame.payload_bytes <= digits as u64 + 1 => {
                        // MariaDB may say in one more byte that the columns are those of the last time.
                        let skipped = payload.get(digits) == Some(&0);
                        *self = if skipped { Self::AfterColumns } else { Self::Columns { left: columns } };
                        Heard::More
                    }
                    _ => Heard::Strange,
                },
            },
            Self::Columns { left } => {
                *self = if left <= 1 { Self::AfterColumns } else { Self::Columns { left: left - 1 } };
                Heard::More
            }
            Self::AfterColumns if packet::is_eof(frame) => {
                let status = u16_at(payload, 3).unwrap_or(0);
                if status & packet::CURSOR_EXISTS != 0 {
                    return self.after(status);
                }
                *self = Self::Rows;
                Heard::More
            }
            Self::AfterColumns | Self::Rows => {
                *self = Self::Rows;
                if first != Some(0xfe) || frame.payload_bytes >= 0xff_ffff {
                    return Heard::More;
                }
                if packet::is_eof(frame) {
                    return self.after(u16_at(payload, 3).unwrap_or(0));
                }
                // An OK packet with another first byte.
                self.ok(payload)
            }
            Self::Fields if first == Some(0xfe) && frame.payload_bytes < 0xff_ffff => Heard::End,
            Self::Change if first == Some(0) => Heard::End,
            Self::Fields | Self::Change => Heard::More,
            Self::Preparing => self.prepared(payload),
            Self::Definitions { parameters, columns, eof_due } => {
                self.definition(frame, (parameters, columns, eof_due), deprecate_eof)
            }
        }
    }

    /// An OK packet: header, affected rows, last id, status.
    fn ok(&mut self, payload: &[u8]) -> Heard {
        let status = || {
            let mut at = 1;
            for _ in 0..2 {
                at += length_encoded(payload.get(at..)?)?.1;
            }
            u16_at(payload, at)
        };
        match status() {
            Some(status) => self.after(status),
            None => Heard::Strange,
        }
    }

    /// A result set is over.
    fn after(&mut self, status: u16) -> Heard {
        if status & MORE_RESULTS == 0 {
            return Heard::End;
        }
        *self = Self::First;
        Heard::More
    }

    fn prepared(&mut self, payload: &[u8]) -> Heard {
        let (Some(0), Some(id)) = (payload.first(), u32_at(payload, 1)) else { return Heard::Strange };
        let (Some(columns), Some(parameters)) = (u16_at(payload, 5), u16_at(payload, 7)) else {
            return Heard::Strange;
        };
        if columns == 0 && parameters == 0 {
            return Heard::PreparedAll(id);
        }
        *self = Self::Definitions { parameters, columns, eof_due: false };
        Heard::Prepared(id)
    }

    /// A definition, or the EOF packet behind some.
    fn definition(
        &mut self,
        frame: &Frame,
        (parameters, columns, eof_due): (u16, u16, bool),
        deprecate_eof: Option<bool>,
    ) -> Heard {
        let (mut parameters, mut columns, mut due) = (parameters, columns, false);
        if packet::is_eof(frame) {
            if !eof_due {
                return Heard::Strange;
            }
        } else if parameters > 0 {
            parameters -= 1;
            due = parameters == 0;
        } else if columns > 0 {
            columns -= 1;
            due = columns == 0;
        } else {
            return Heard::Strange;
        }
        // Where it is not known whether an EOF packet follows, the last definition is the end.
        let awaited = due && (deprecate_eof == Some(false) || (deprecate_eof.is_none() && columns > 0));
        if parameters == 0 && columns == 0 && !awaited {
            return Heard::End;
        }
        *self = Self::Definitions { parameters, columns, eof_due: due };
        Heard::More
    }
}

/// The number of an error packet: `ff`, number, `#`, SQLSTATE, message. 65535 is no error.
pub(super) fn error_code(payload: &[u8]) -> Option<String> {
    let code = payload.strip_prefix(&[0xff]).and_then(|rest| u16_at(rest, 0))?;
    (code != 0xffff && code >= 1000).then(|| code.to_string())
}

fn is_progress(payload: &[u8]) -> bool {
    payload.starts_with(&[0xff, 0xff, 0xff])
}
