//! What a file is to TLS: a library, what calls one, or neither; and the sites in it.

use super::behind::Moved;
use super::imports::Imports;
use super::{Fields, Kind, Placed};
use crate::discover::MappedFile;
use crate::probe_site::{CHECK_SIGNALS, CallSite, GivenCall, Gives, Image, KeptCall, NoSite, Operand, Site};

/// Every function asked for.
const FUNCTIONS: [&str; 14] = [
    "SSL_read",
    "SSL_write",
    "SSL_read_ex",
    "SSL_write_ex",
    "SSL_write_ex2",
    SENDFILE,
    "SSL_do_handshake",
    "SSL_shutdown",
    "SSL_free",
    BIO,
    STATE,
    AGREED,
    CHECK_SIGNALS,
    BORINGSSL,
];
/// What reads and writes in BoringSSL begins with a call of it (`include/openssl/err.h`, `ssl/ssl_lib.cc`); OpenSSL has
/// nothing of that name.
const BORINGSSL: &str = "ERR_clear_system_error";
/// It sends a file where the kernel encrypts (3.0 and later, `ssl/ssl_lib.c`), by the system call of that name.
pub(super) const SENDFILE: &str = "SSL_sendfile";
const SENDS: &str = "sendfile";
/// It gives the BIO that a connection reads from, and so tells where that is.
const BIO: &str = "SSL_get_rbio";
/// It gives what was said of a connection's end.
const STATE: &str = "SSL_get_shutdown";
/// It tells which protocol the handshake has agreed on (`ssl/ssl_lib.c`).
const AGREED: &str = "SSL_get0_alpn_selected";
/// Arguments of the functions that read and write, the place for the length aside.
const ARGUMENTS: usize = 3;

/// What a file is to TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Role {
    /// It neither has nor calls the functions.
    None,
    /// Python's `_ssl` module, the one caller of the library in most Python processes.
    Module { sites: Vec<Placed>, kept: Vec<Kept>, refused: Vec<String>, imports: Imports },
    /// It calls the functions of a library.
    Caller(Imports),
    /// It has the functions: the library, or a program that the library is linked into.
    Library { sites: Vec<Placed>, refused: Vec<String>, fields: Fields },
}

/// A call that reads or writes, whose arguments can be had behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) function: &'static str,
    pub(super) writes: bool,
    pub(super) site: Site,
    pub(super) object: Operand,
    pub(super) buffer: Operand,
    pub(super) moved: Moved,
}

pub(super) fn role(file: &MappedFile) -> Role {
    // A file that cannot be read is none that could be probed.
    let Ok(image) = Image::load(&file.path, &FUNCTIONS) else { return Role::None };
    let reads = |has: &dyn Fn(&str) -> bool| has("SSL_read") || has("SSL_read_ex");
    if reads(&|name| image.defines(name)) {
        if image.defines(BORINGSSL) || image.imports(BORINGSSL) {
            let (sites, refused) = boringssl(&image);
            return Role::Library { sites, refused, fields: Fields::default() };
        }
        let given = |name| image.given_field(name).and_then(|bytes| u32::try_from(bytes).ok());
        let fields = Fields {
            bio_bytes: given(BIO),
            state_bytes: given(STATE),
            // To the kernel programs 0 stands for none.
            agreed: image.told_text(AGREED).filter(|field| field.at > 0 && field.within != Some(0)),
        };
        let (mut sites, refused) = library(&image);
        if !sites.is_empty() && image.defines(SENDFILE) {
            sites.extend(sendfile(file).into_iter().flatten());
        }
        Role::Library { sites, refused, fields }
    } else if reads(&|name| image.imports(name)) {
        let name = file.shown.file_name().unwrap_or_default().to_string_lossy();
        let imports = Imports::new(&image, |name| name.starts_with("SSL_"));
        if name.starts_with("_ssl.") {
            let (sites, refused) = module(&image);
            Role::Module { sites, kept: kept(&image), refused, imports }
        } else {
            Role::Caller(imports)
        }
    } else {
        Role::None
    }
}

/// Python's module, by its calls. 3.10 went over to the functions that tell length and result apart
/// (`Modules/_ssl.c`).
fn module(image: &Image) -> (Vec<Placed>, Vec<String>) {
    let (mut sites, mut refused) = (Vec::new(), Vec::new());
    for (function, kind) in [
        ("SSL_read", Kind::Read),
        ("SSL_write", Kind::Write),
        ("SSL_read_ex", Kind::ReadEx),
        ("SSL_write_ex", Kind::WriteEx),
        ("SSL_do_handshake", Kind::Handshake),
        ("SSL_shutdown", Kind::Shutdown),
        ("SSL_free", Kind::Free),
    ] {
        if !image.imports(function) {
            continue;
        }
        match image.call_sites(function) {
            Ok(calls) => calls.into_iter().for_each(|call| place(function, kind, call, &mut sites)),
            Err(error) => refused.push(error.to_string()),
        }
    }
    (sites, refused)
}

/// The calls of Python's module that read and write; none, if of any the arguments cannot be had behind it.
///
/// Reads that find nothing are as many as those that give something, where a loop reads until there is no more (asyncio,
/// uvloop): they are left out where the code tells them apart.
fn kept(image: &Image) -> Vec<Kept> {
    let all = [
        ("SSL_read", kept_of::<2>(image, "SSL_read", false)),
        ("SSL_write", kept_of::<2>(image, "SSL_write", true)),
        ("SSL_read_ex", kept_of::<4>(image, "SSL_read_ex", false)),
        ("SSL_write_ex", kept_of::<4>(image, "SSL_write_ex", true)),
    ];
    let called = all.into_iter().filter(|(function, _)| image.imports(function));
    called.map(|(_, kept)| kept).collect::<Option<Vec<_>>>().unwrap_or_default().concat()
}

/// The calls of one function; of four arguments the last one is where the length goes.
fn kept_of<const COUNT: usize>(image: &Image, function: &'static str, writes: bool) -> Option<Vec<Kept>> {
    let kept = |site, arguments: [Operand; COUNT], moved| {
        let [object, buffer, ..] = arguments.as_slice() else { return None };
        Some(Kept { function, writes, site, object: *object, buffer: *buffer, moved })
    };
    let at = |arguments: &[Operand; COUNT]| arguments.get(ARGUMENTS).copied();
    let gives = if COUNT > ARGUMENTS { Gives::Success } else { Gives::Length };
    let proven = image.given_calls::<COUNT>(function, gives).filter(|_| !writes).and_then(|calls| {
        let calls = calls.into_iter().map(|GivenCall { site, arguments, result }| {
            let moved = at(&arguments).map(Moved::GivenAt).or(result.map(Moved::Kept))?;
            kept(site, arguments, moved)
        });
        calls.collect()
    });
    proven.or_else(|| {
        let calls = image.kept_calls::<COUNT>(function)?.into_iter().map(|KeptCall { after, arguments }| {
            kept(after, arguments, at(&arguments).map_or(Moved::Result, Moved::At))
        });
        calls.collect()
    })
}

/// OpenSSL 1.1.1 and later: each function hands its arguments on to one that both forms share and that tells the
/// length through its fourth argument (`ssl_read_internal` and `ssl_write_internal` in `ssl/ssl_lib.c`). From 3.3 on the
/// one that writes has flags before that, and `SSL_write_ex` is `SSL_write_ex2` without any.
fn library(image: &Image) -> (Vec<Placed>, Vec<String>) {
    let (mut sites, mut refused) = (Vec::new(), Vec::new());
    let (write_ex, kind) = if image.defines("SSL_write_ex2") {
        ("SSL_write_ex2", Kind::WriteEx2)
    } else {
        ("SSL_write_ex", Kind::WriteEx)
    };
    for (plain, ex, kind) in [("SSL_read", "SSL_read_ex", Kind::ReadEx), ("SSL_write", write_ex, kind)] {
        match (image.inner_call(plain, ARGUMENTS), image.inner_call(ex, ARGUMENTS + 1)) {
            (Ok(one), Ok(other)) if one.target == other.target => {
                place(plain, kind, one, &mut sites);
                place(ex, kind, other, &mut sites);
            }
            (Err(error), _) | (_, Err(error)) => refused.push(refusal(plain, &error)),
            _ => refused.push(format!("{plain}: not the code of OpenSSL 1.1.1 or later")),
        }
    }
    connection(image, &mut sites, &mut refused);
    (sites, refused)
}

/// BoringSSL: what reads and what writes share no function that is told the length. So each is seen where it begins and
/// where it returns. What was said of the end stands in two fields, and no function gives it as it is.
fn boringssl(image: &Image) -> (Vec<Placed>, Vec<String>) {
    let (mut sites, mut refused) = (Vec::new(), Vec::new());
    for (function, kind) in [("SSL_read", Kind::Read), ("SSL_write", Kind::Write)] {
        match (image.entry(function, ARGUMENTS), image.ends(function)) {
            (Ok(site), Ok(ends)) => {
                sites.push(Placed { function, kind, site });
                sites.extend(ends.into_iter().map(|site| Placed { function, kind: Kind::Return, site }));
            }
            (Err(error), _) | (_, Err(error)) => refused.push(refusal(function, &error)),
        }
    }
    connection(image, &mut sites, &mut refused);
    (sites, refused)
}

/// The functions that begin and end a connection, if there are sites in those that read or write.
fn connection(image: &Image, sites: &mut Vec<Placed>, refused: &mut Vec<String>) {
    if sites.is_empty() {
        return;
    }
    for (function, kind) in
        [("SSL_do_handshake", Kind::Handshake), ("SSL_shutdown", Kind::Shutdown), ("SSL_free", Kind::Free)]
    {
        match image.entry(function, 1) {
            Ok(site) => sites.push(Placed { function, kind, site }),
            Err(error) => refused.push(refusal(function, &error)),
        }
    }
}

/// Where a library begins to send a file, and behind the one call that does. `None`: it was built without that. The file is
/// read anew, as many have that call that are nothing to TLS.
fn sendfile(file: &MappedFile) -> Option<[Placed; 2]> {
    let image = Image::load(&file.path, &[SENDFILE, SENDS]).ok()?;
    let [call] = <[CallSite; 1]>::try_from(image.calls_within(SENDFILE, SENDS).ok()?).ok()?;
    let placed = |kind, site| Placed { function: SENDFILE, kind, site };
    Some([
        placed(Kind::SendFile, image.entry(SENDFILE, ARGUMENTS + 1).ok()?),
        placed(Kind::Return, call.after),
    ])
}

fn refusal(function: &str, error: &NoSite) -> String {
    format!("{function}: {error}")
}

fn place(function: &'static str, kind: Kind, call: CallSite, sites: &mut Vec<Placed>) {
    sites.push(Placed { function, kind, site: call.call });
    if kind.moves() {
        sites.push(Placed { function, kind: Kind::Return, site: call.after });
    }
}
