//! Messages of the protocols, as servers and clients write them.

/// A message of PostgreSQL with its type.
pub fn pg(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend_from_slice(&(payload.len() as u32 + 4).to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

pub fn pg_startup(database: &str) -> Vec<u8> {
    let text = format!("user\0app\0database\0{database}\0application_name\0x\0\0");
    let mut bytes = (text.len() as u32 + 8).to_be_bytes().to_vec();
    bytes.extend_from_slice(&0x0003_0000_u32.to_be_bytes());
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

pub fn pg_query(sql: &str) -> Vec<u8> {
    pg(b'Q', format!("{sql}\0").as_bytes())
}

/// `AuthenticationOk`, a parameter, a key, `ReadyForQuery`.
pub fn pg_welcome() -> Vec<u8> {
    [pg(b'R', &[0; 4]), pg(b'S', b"TimeZone\0UTC\0"), pg(b'K', &[1; 8]), pg_ready()].concat()
}

pub fn pg_ready() -> Vec<u8> {
    pg(b'Z', b"I")
}

pub fn pg_error(severity: &str, code: &str) -> Vec<u8> {
    pg(b'E', format!("S{severity}\0V{severity}\0C{code}\0Msecret message\0\0").as_bytes())
}

/// So many rows of so many bytes, and what ends them.
pub fn pg_rows(rows: usize, bytes: usize) -> Vec<u8> {
    let mut out = pg(b'T', b"\0\x01id\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    for _ in 0..rows {
        out.extend(pg(b'D', &vec![b'x'; bytes]));
    }
    out.extend(pg(b'C', format!("SELECT {rows}\0").as_bytes()));
    out
}

/// A packet of MySQL.
pub fn my(sequence: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_le_bytes()[..3].to_vec();
    bytes.push(sequence);
    bytes.extend_from_slice(payload);
    bytes
}

pub const MY_BASE: u32 = 1 << 3 | 1 << 9 | 1 << 15 | 1 << 19 | 1 << 21;
pub const MY_DEPRECATE_EOF: u32 = 1 << 24;

pub fn my_greeting(version: &str, capabilities: u32) -> Vec<u8> {
    let mut payload = vec![10];
    payload.extend_from_slice(version.as_bytes());
    payload.extend_from_slice(&[0, 7, 0, 0, 0]);
    payload.extend_from_slice(b"12345678\0");
    payload.extend_from_slice(&(capabilities as u16).to_le_bytes());
    payload.extend_from_slice(&[45, 2, 0]);
    payload.extend_from_slice(&((capabilities >> 16) as u16).to_le_bytes());
    payload.extend_from_slice(&[21, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    payload.extend_from_slice(b"123456789012\0mysql_native_password\0");
    my(0, &payload)
}

pub fn my_login(capabilities: u32, database: &str) -> Vec<u8> {
    let mut payload = capabilities.to_le_bytes().to_vec();
    payload.extend_from_slice(&[0; 28]);
    payload.extend_from_slice(b"app\0");
    payload.push(20);
    payload.extend_from_slice(&[9; 20]);
    payload.extend_from_slice(database.as_bytes());
    payload.extend_from_slice(b"\0mysql_native_password\0");
    my(1, &payload)
}

pub fn my_ok(sequence: u8, status: u16) -> Vec<u8> {
    let [low, high] = status.to_le_bytes();
    my(sequence, &[0, 0, 0, low, high, 0, 0])
}

pub fn my_eof(sequence: u8, status: u16) -> Vec<u8> {
    let [low, high] = status.to_le_bytes();
    my(sequence, &[0xfe, 0, 0, low, high])
}

/// An OK packet in place of an EOF packet.
pub fn my_ok_eof(sequence: u8, status: u16) -> Vec<u8> {
    let [low, high] = status.to_le_bytes();
    my(sequence, &[0xfe, 0, 0, low, high, 0, 0])
}

pub fn my_error(sequence: u8, code: u16) -> Vec<u8> {
    let [low, high] = code.to_le_bytes();
    my(sequence, &[&[0xff, low, high][..], b"#42S02secret message"].concat())
}

pub fn my_command(code: u8, argument: &[u8]) -> Vec<u8> {
    my(0, &[&[code][..], argument].concat())
}

/// A result set of one column.
pub fn my_rows(rows: usize, bytes: usize, deprecate_eof: bool, status: u16) -> Vec<u8> {
    let mut out = [my(1, &[1]), my(2, b"\x03def\0\0\0\x02id\0\x0c\x3f\0\x0b\0\0\0\x03\0\0\0\0\0")].concat();
    if !deprecate_eof {
        out.extend(my_eof(3, 2));
    }
    for row in 0..rows {
        out.extend(my(4 + row as u8, &vec![b'x'; bytes]));
    }
    let last = 4 + rows as u8;
    out.extend(if deprecate_eof { my_ok_eof(last, status) } else { my_eof(last, status) });
    out
}

/// A command of Redis.
pub fn resp(words: &[&str]) -> Vec<u8> {
    let mut text = format!("*{}\r\n", words.len());
    for word in words {
        text.extend(["$", &word.len().to_string(), "\r\n", word, "\r\n"]);
    }
    text.into_bytes()
}
