//! What the pipeline is fed with, and the file that keeps it: a recording replays to the same spans.
//!
//! A recording is the line [`MAGIC`], four bytes that tell the byte order and the ABI, then frames: a kind byte, a
//! length of four bytes (little endian), and so many bytes. It holds what passed over the sockets, passwords and
//! all, so it is made readable by its owner only.
//!
//! Invariant: any file gives frames or an error; no length in it is believed before it is checked.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use model::{Exceptions, Process, Routes};

/// The first line of a recording.
const MAGIC: &[u8] = b"stardust-probe recording 1\n";
/// Records are in the byte order of the host that made them, and as long as its ABI says.
const MARK: u32 = 0x0100 + size_of::<ebpf::abi::SocketCall>() as u32;
/// Stands for no time.
const NEVER_NS: u64 = u64::MAX;
/// No frame is longer.
const FRAME_BYTES_MAX: u32 = 1 << 24;

/// One step of the pipeline's input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame<'a> {
    /// Where the ids come from. First of all.
    Seed(u64),
    /// Wall minus monotonic time from here on.
    Clock {
        /// In nanoseconds.
        offset_ns: i64,
    },
    /// A process is known.
    Process(Arc<Process>),
    /// A record of the kernel.
    Record(&'a [u8]),
    /// A look into `/proc` found that a connection is closed.
    Closed {
        /// The connection.
        connection: u64,
        /// The process that used it last.
        pid: u32,
        /// When it was found so.
        now_ns: u64,
    },
    /// A look into a process's memory found what the exceptions in a record of the kernel say.
    Exceptions {
        /// When they were reported.
        at_ns: u64,
        /// The process.
        pid: u32,
        /// In words.
        exceptions: Exceptions,
    },
    /// Every copy of a process's contexts has a record from some time on, or not any more.
    CopiesSeen {
        /// The process.
        pid: u32,
        /// Monotonic nanoseconds.
        since_ns: Option<u64>,
    },
    /// Every collection of garbage of a process has a record from some time on, or not any more.
    CollectionsSeen {
        /// The process.
        pid: u32,
        /// Monotonic nanoseconds.
        since_ns: Option<u64>,
    },
    /// A look into a process's memory found the routes of its app.
    Routes {
        /// When.
        now_ns: u64,
        /// The process.
        pid: u32,
        /// All of them.
        routes: Arc<Routes>,
    },
    /// Time has passed.
    Tick {
        /// Monotonic nanoseconds.
        now_ns: u64,
    },
    /// The probe stops. Last of all.
    Stop {
        /// Monotonic nanoseconds.
        now_ns: u64,
    },
}

/// Writes a recording.
#[derive(Debug)]
pub struct Recorder {
    file: BufWriter<File>,
}

/// Reads a recording.
#[derive(Debug)]
pub struct Recording {
    file: BufReader<File>,
    buffer: Vec<u8>,
}

impl Recorder {
    /// Makes the file, which must not be there yet.
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        let mut file = BufWriter::with_capacity(1 << 16, file);
        file.write_all(MAGIC)?;
        file.write_all(&MARK.to_ne_bytes())?;
        Ok(Self { file })
    }

    /// Appends a frame.
    pub fn write(&mut self, frame: &Frame<'_>) -> io::Result<()> {
        match frame {
            Frame::Seed(seed) => self.put(b'I', &[&seed.to_le_bytes()]),
            Frame::Clock { offset_ns } => self.put(b'C', &[&offset_ns.to_le_bytes()]),
            Frame::Process(process) => self.put(b'P', &[&serde_json::to_vec(process)?]),
            Frame::Record(record) => self.put(b'R', &[record]),
            Frame::Closed { connection, pid, now_ns } => {
                self.put(b'X', &[&connection.to_le_bytes(), &pid.to_le_bytes(), &now_ns.to_le_bytes()])
            }
            Frame::Exceptions { at_ns, pid, exceptions } => {
                let text = serde_json::to_vec(exceptions)?;
                self.put(b'E', &[&at_ns.to_le_bytes(), &pid.to_le_bytes(), &text])
            }
            Frame::CopiesSeen { pid, since_ns } => {
                let since_ns = since_ns.unwrap_or(NEVER_NS);
                self.put(b'V', &[&since_ns.to_le_bytes(), &pid.to_le_bytes()])
            }
            Frame::CollectionsSeen { pid, since_ns } => {
                let since_ns = since_ns.unwrap_or(NEVER_NS);
                self.put(b'G', &[&since_ns.to_le_bytes(), &pid.to_le_bytes()])
            }
            Frame::Routes { now_ns, pid, routes } => {
                let text = serde_json::to_vec(routes)?;
                self.put(b'F', &[&now_ns.to_le_bytes(), &pid.to_le_bytes(), &text])
            }
            Frame::Tick { now_ns } => self.put(b'T', &[&now_ns.to_le_bytes()]),
            Frame::Stop { now_ns } => self.put(b'S', &[&now_ns.to_le_bytes()]),
        }
    }

    /// Writes out what is buffered.
    pub fn finish(mut self) -> io::Result<()> {
        self.file.flush()
    }

    fn put(&mut self, kind: u8, parts: &[&[u8]]) -> io::Result<()> {
        let length = parts.iter().map(|part| part.len()).sum::<usize>() as u32;
        self.file.write_all(&[kind])?;
        self.file.write_all(&length.to_le_bytes())?;
        parts.iter().try_for_each(|part| self.file.write_all(part))
    }
}

impl Recording {
    /// Opens a recording made by this version on a host of this byte order.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut file = BufReader::with_capacity(1 << 16, File::open(path)?);
        let mut magic = [0; MAGIC.len()];
        let mut mark = [0; 4];
        file.read_exact(&mut magic).map_err(|_| broken("it is no recording of stardust-probe"))?;
        if magic != MAGIC {
            return Err(broken("it is no recording of this version of stardust-probe"));
        }
        file.read_exact(&mut mark)?;
        if u32::from_ne_bytes(mark) != MARK {
            return Err(broken("it was made by another version, or on a host of another byte order"));
        }
        Ok(Self { file, buffer: Vec::new() })
    }

    /// The next frame; `None` at the end. A file that was cut short ends where it was cut.
    pub fn next(&mut self) -> io::Result<Option<Frame<'_>>> {
        let mut head = [0; 5];
        match self.file.read_exact(&mut head) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        }
        let length = u32::from_le_bytes([head[1], head[2], head[3], head[4]]);
        if length > FRAME_BYTES_MAX {
            return Err(broken("a frame is too long"));
        }
        self.buffer.resize(length as usize, 0);
        match self.file.read_exact(&mut self.buffer) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        }
        parse(head[0], &self.buffer).map(Some)
    }
}

fn parse(kind: u8, bytes: &[u8]) -> io::Result<Frame<'_>> {
    let number = |at: usize| {
        let bytes = bytes.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
        bytes.map(u64::from_le_bytes).ok_or_else(|| broken("a frame is too short"))
    };
    let pid = || {
        let bytes = bytes.get(8..12).and_then(|bytes| bytes.try_into().ok());
        bytes.map(u32::from_le_bytes).ok_or_else(|| broken("a frame is too short"))
    };
    Ok(match kind {
        b'I' => Frame::Seed(number(0)?),
        b'C' => Frame::Clock { offset_ns: number(0)?.cast_signed() },
        b'P' => Frame::Process(serde_json::from_slice(bytes)?),
        b'R' => Frame::Record(bytes),
        b'X' => Frame::Closed { connection: number(0)?, pid: pid()?, now_ns: number(12)? },
        b'E' => {
            let exceptions = serde_json::from_slice(bytes.get(12..).unwrap_or_default())?;
            Frame::Exceptions { at_ns: number(0)?, pid: pid()?, exceptions }
        }
        b'V' => {
            let since_ns = Some(number(0)?).filter(|since_ns| *since_ns != NEVER_NS);
            Frame::CopiesSeen { pid: pid()?, since_ns }
        }
        b'G' => {
            let since_ns = Some(number(0)?).filter(|since_ns| *since_ns != NEVER_NS);
            Frame::CollectionsSeen { pid: pid()?, since_ns }
        }
        b'F' => {
            let routes = serde_json::from_slice(bytes.get(12..).unwrap_or_default())?;
            Frame::Routes { now_ns: number(0)?, pid: pid()?, routes: Arc::new(routes) }
        }
        b'T' => Frame::Tick { now_ns: number(0)? },
        b'S' => Frame::Stop { now_ns: number(0)? },
        _ => return Err(broken("a frame is of an unknown kind")),
    })
}

fn broken(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn exceptions() -> Exceptions {
        let exception = model::Exception {
            raised_ns: 4,
            type_name: "shop.NoStock".to_owned(),
            message: None,
            stacktrace: "shop.NoStock".to_owned(),
        };
        Exceptions {
            on: model::Bearer::Connection(model::ConnectionId(1)),
            sent: 9,
            stream: Some(3),
            displaced_ns: Some(4),
            exceptions: vec![exception],
        }
    }

    fn routes() -> Routes {
        let rule = model::Rule {
            template: "/a/<b>".to_owned(),
            pieces: vec![model::Piece::Literal("/a/".to_owned()), model::Piece::Segment],
            methods: Some(vec!["GET".to_owned()]),
            target: model::Target::Endpoint,
        };
        Routes { order: model::Order::First, rules: vec![rule] }
    }

    fn frames() -> Vec<Frame<'static>> {
        vec![
            Frame::Seed(7),
            Frame::Clock { offset_ns: -5 },
            Frame::Record(b"not even a record"),
            Frame::Closed { connection: 1, pid: 2, now_ns: 3 },
            Frame::Exceptions { at_ns: 5, pid: 2, exceptions: exceptions() },
            Frame::CopiesSeen { pid: 2, since_ns: Some(6) },
            Frame::CopiesSeen { pid: 2, since_ns: None },
            Frame::CollectionsSeen { pid: 2, since_ns: Some(6) },
            Frame::CollectionsSeen { pid: 2, since_ns: None },
            Frame::Routes { now_ns: 6, pid: 2, routes: Arc::new(routes()) },
            Frame::Tick { now_ns: 4 },
            Frame::Stop { now_ns: u64::MAX },
        ]
    }

    #[test]
    fn what_is_written_reads_back_and_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events");
        let mut recorder = Recorder::create(&path).unwrap();
        for frame in frames() {
            recorder.write(&frame).unwrap();
        }
        recorder.finish().unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Recorder::create(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);

        let mut recording = Recording::open(&path).unwrap();
        for frame in frames() {
            assert_eq!(recording.next().unwrap(), Some(frame));
        }
        assert_eq!(recording.next().unwrap(), None);
    }

    #[test]
    fn cut_and_foreign_files_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events");
        let mut recorder = Recorder::create(&path).unwrap();
        for frame in frames() {
            recorder.write(&frame).unwrap();
        }
        recorder.finish().unwrap();
        let whole = std::fs::read(&path).unwrap();
        let cut = dir.path().join("cut");
        for end in 0..whole.len() {
            std::fs::write(&cut, &whole[..end]).unwrap();
            let Ok(mut recording) = Recording::open(&cut) else {
                assert!(end < MAGIC.len() + 4);
                continue;
            };
            while recording.next().unwrap().is_some() {}
        }
        for foreign in [&b"GIF89a"[..], b"stardust-probe recording 2\n1234"] {
            std::fs::write(&cut, foreign).unwrap();
            assert!(Recording::open(&cut).is_err());
        }
        let mut long = whole[..MAGIC.len() + 4].to_vec();
        long.extend([b'R', 255, 255, 255, 255]);
        std::fs::write(&cut, long).unwrap();
        assert_eq!(Recording::open(&cut).unwrap().next().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
