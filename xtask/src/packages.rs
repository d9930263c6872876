//! What the machine must have, and how to get it from the machine's own package manager.
//!
//! Invariant: nothing is asked of a package manager when nothing is missing.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::shell;

/// How to see that something is there.
enum Sign {
    /// A program of this name.
    Program(&'static str),
    /// A program of this name, on the path or in the folder `bin` of a version below this one.
    ProgramBelow(&'static str, &'static str),
    /// `Python.h` of the interpreter.
    PythonHeaders,
    /// A C header that the compiler finds.
    Header(&'static str),
    /// A module that Debian splits off the interpreter.
    PythonModule(&'static str),
}

/// One thing a command needs. The names are those of the package managers in [`MANAGERS`], in that order; where one is
/// empty, the command does without.
pub struct Need {
    sign: Sign,
    packages: [&'static str; 4],
}

const fn program(name: &'static str, packages: [&'static str; 4]) -> Need {
    Need { sign: Sign::Program(name), packages }
}

/// The C compiler and make: libbpf is built from source.
const CC: Need = program("cc", ["gcc libc6-dev", "gcc glibc-devel", "gcc musl-dev linux-headers", "gcc"]);
const MAKE: Need = program("make", ["make", "make", "make", "make"]);
/// Compiles the kernel programs.
const CLANG: Need = program("clang", ["clang", "clang", "clang", "clang"]);
const LIBELF: Need = Need {
    sign: Sign::Header("libelf.h"),
    packages: ["libelf-dev", "elfutils-libelf-devel", "elfutils-dev", "libelf"],
};
const ZLIB: Need =
    Need { sign: Sign::Header("zlib.h"), packages: ["zlib1g-dev", "zlib-devel", "zlib-dev", "zlib"] };
const PKG_CONFIG: Need = program("pkg-config", ["pkg-config", "pkgconf-pkg-config", "pkgconf", "pkgconf"]);
const PYTHON: Need = program("python3", ["python3", "python3", "python3", "python"]);
const VENV: Need = Need {
    sign: Sign::PythonModule("ensurepip"),
    packages: ["python3-venv", "python3-pip", "py3-pip", "python-pip"],
};
const NGINX: Need = program("nginx", ["nginx-light", "nginx", "nginx", "nginx"]);
/// Gives one process another wall clock.
const FAKETIME: Need = program("faketime", ["faketime", "libfaketime", "libfaketime", "libfaketime"]);
const H2LOAD: Need = program("h2load", ["nghttp2-client", "nghttp2", "nghttp2", "nghttp2"]);
const CURL: Need = program("curl", ["curl", "curl", "curl", "curl"]);
const IP: Need = program("ip", ["iproute2", "iproute", "iproute2", "iproute2"]);
const WRK: Need = program("wrk", ["wrk", "wrk", "wrk", "wrk"]);
const BPFTOOL: Need = program("bpftool", ["bpftool", "bpftool", "bpftool", "bpf"]);
const STRACE: Need = program("strace", ["strace", "strace", "strace", "strace"]);
const TASKSET: Need = program("taskset", ["util-linux", "util-linux", "util-linux-misc", "util-linux"]);
const OPENSSL: Need = program("openssl", ["openssl", "openssl", "openssl", "openssl"]);
/// The library as it is linked into programs.
const OPENSSL_STATIC: Need = Need {
    sign: Sign::Header("openssl/ssl.h"),
    packages: ["libssl-dev", "openssl-devel", "openssl-dev openssl-libs-static", "openssl"],
};
/// Its other headers find each other only with a folder of theirs named. Other distributions have no package of it.
const BORINGSSL: Need = Need {
    sign: Sign::Header("android/openssl/is_boringssl.h"),
    packages: ["android-libboringssl-dev", "", "", ""],
};
const QEMU: Need = program(
    "qemu-system-x86_64",
    ["qemu-system-x86", "qemu-system-x86-core", "qemu-system-x86_64", "qemu-system-x86"],
);
const BUSYBOX: Need = program("busybox", ["busybox-static", "busybox", "busybox-static", "busybox"]);
const CPIO: Need = program("cpio", ["cpio", "cpio", "cpio", "cpio"]);

const POSTGRESQL: Need = Need {
    sign: Sign::ProgramBelow("initdb", "/usr/lib/postgresql"),
    packages: ["postgresql", "postgresql-server", "postgresql", "postgresql"],
};
const MARIADB: Need =
    program("mariadbd", ["mariadb-server", "mariadb-server", "mariadb mariadb-client", "mariadb"]);
const REDIS: Need = program("redis-server", ["redis-server", "redis", "redis", "redis"]);
const MEMCACHED: Need = program("memcached", ["memcached", "memcached", "memcached", "memcached"]);
/// The Python package mysqlclient is built from source.
const MARIADB_CLIENT: Need = Need {
    sign: Sign::Header("mariadb/mysql.h"),
    packages: ["libmariadb-dev", "mariadb-connector-c-devel", "mariadb-connector-c-dev", "mariadb-libs"],
};
const PYTHON_HEADERS: Need =
    Need { sign: Sign::PythonHeaders, packages: ["python3-dev", "python3-devel", "python3-dev", "python"] };

/// To build the probe.
pub const BUILD: &[Need] = &[CC, MAKE, PKG_CONFIG, CLANG, LIBELF, ZLIB];
/// To run Python web apps.
pub const PYTHON_APPS: &[Need] = &[PYTHON, VENV];
/// To run the live tests.
pub const TEST: &[Need] = &[
    NGINX,
    CURL,
    H2LOAD,
    IP,
    BPFTOOL,
    FAKETIME,
    POSTGRESQL,
    MARIADB,
    REDIS,
    MEMCACHED,
    MARIADB_CLIENT,
    PYTHON_HEADERS,
    PKG_CONFIG,
    CC,
    OPENSSL_STATIC,
    BORINGSSL,
];
/// To measure.
pub const BENCH: &[Need] = &[WRK, H2LOAD, BPFTOOL, STRACE, TASKSET, OPENSSL, POSTGRESQL, REDIS];
/// To start other kernels.
pub const KERNELS: &[Need] = &[PYTHON, QEMU, BUSYBOX, CPIO, NGINX, OPENSSL];

/// The package managers we know: program, what installs, what refreshes the lists.
const MANAGERS: [(&str, &[&str], &[&str]); 4] = [
    ("apt-get", &["install", "--yes", "--no-install-recommends"], &["update"]),
    ("dnf", &["install", "--assumeyes"], &["makecache"]),
    ("apk", &["add"], &["update"]),
    ("pacman", &["--sync", "--needed", "--noconfirm"], &["--sync", "--refresh"]),
];

impl Sign {
    fn is_there(&self) -> bool {
        match self {
            Self::Program(name) => shell::find(name).is_some(),
            Self::ProgramBelow(name, folder) => shell::find_below(name, folder).is_some(),
            Self::PythonHeaders => shell::succeeds(Command::new("python3").args([
                "-c",
                "import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path('include') + '/Python.h'))",
            ])),
            Self::Header(name) => shell::succeeds(Command::new("cc").args([
                "-fsyntax-only",
                "-include",
                name,
                "-x",
                "c",
                "/dev/null",
            ])),
            Self::PythonModule(name) => {
                shell::succeeds(Command::new("python3").args(["-c", &format!("import {name}")]))
            }
        }
    }
}

/// Installs those of the needs that are missing, as root.
pub fn ensure(needs: &[&[Need]]) -> Result<()> {
    let manager = MANAGERS.iter().position(|(program, ..)| shell::find(program).is_some());
    let can_be = |need: &&Need| manager.is_none_or(|column| !need.packages[column].is_empty());
    let all = || needs.iter().copied().flatten();
    let missing = || all().filter(can_be).filter(|need| !need.sign.is_there()).collect::<Vec<_>>();
    let wanted = missing();
    if wanted.is_empty() {
        return Ok(());
    }
    let Some(column) = manager else {
        bail!("no known package manager here: install by hand (Debian's names): {}", names(&wanted, 0));
    };
    let packages = names(&wanted, column);
    shell::step(&format!("installing {packages}"));
    shell::become_root().with_context(|| format!("cannot install: {packages}"))?;
    install(column, &packages)?;
    let left = missing();
    if !left.is_empty() {
        bail!("still missing after installing {packages}: {}", names(&left, column));
    }
    Ok(())
}

fn names(needs: &[&Need], column: usize) -> String {
    needs.iter().map(|need| need.packages[column]).collect::<Vec<_>>().join(" ")
}

/// Tries with the lists that are there, and refreshes them only when that fails.
fn install(column: usize, packages: &str) -> Result<()> {
    let (program, install, refresh) = MANAGERS[column];
    let manager = |arguments: &[&str]| {
        // RUNLEVEL=1: Debian starts no service that it has just installed.
        let quiet = [("DEBIAN_FRONTEND", "noninteractive".to_owned()), ("RUNLEVEL", "1".to_owned())];
        let mut command = shell::as_root(program, quiet);
        command.args(arguments).stdin(std::process::Stdio::null());
        command
    };
    let mut arguments = install.to_vec();
    arguments.extend(packages.split(' '));
    if shell::run(&mut manager(&arguments)).is_ok() {
        return Ok(());
    }
    shell::run(&mut manager(refresh))?;
    shell::run(&mut manager(&arguments)).with_context(|| format!("install by hand: {packages}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_tell_what_is_there() {
        assert!(Sign::Program("sh").is_there());
        assert!(!Sign::Program("no-such-program-at-all").is_there());
        assert!(!Sign::Header("no-such-header-at-all.h").is_there());
        assert!(!Sign::PythonModule("no_such_module_at_all").is_there());
    }

    #[test]
    fn every_manager_has_its_own_names() {
        let wanted = [&CC, &LIBELF];
        let found: Vec<String> = (0..MANAGERS.len()).map(|column| names(&wanted, column)).collect();
        assert_eq!(
            found,
            [
                "gcc libc6-dev libelf-dev",
                "gcc glibc-devel elfutils-libelf-devel",
                "gcc musl-dev linux-headers elfutils-dev",
                "gcc libelf"
            ]
        );
    }

    #[test]
    fn nothing_missing_asks_nothing() {
        ensure(&[&[program("sh", ["no-such-package"; 4])]]).unwrap();
    }
}
