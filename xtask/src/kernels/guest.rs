//! The files of a guest: an archive that the kernel unpacks into memory.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::shell;

const INIT: &str = include_str!("init.sh");
/// What `init.sh` uses of busybox.
const TOOLS: [&str; 13] =
    ["sh", "mount", "ip", "sleep", "wget", "sed", "grep", "cat", "poweroff", "insmod", "dd", "touch", "test"];
/// nginx wants its own even where its configuration names others.
const FOLDERS: [&str; 9] =
    ["bin", "proc", "sys", "dev", "tmp", "etc", "modules", "var/lib/nginx", "var/log/nginx"];
/// What else the guest reads.
const FILES: [(&str, &str); 4] = [
    ("https.py", include_str!("https.py")),
    ("nginx.conf", include_str!("nginx.conf")),
    ("etc/passwd", "root:x:0:0::/:/bin/sh\n"),
    ("etc/group", "root:x:0:\n"),
];
/// The module that lets the kernel encrypt, behind what it and the one cipher that is used here need, where that is no part of the
/// kernel.
const MODULES: [&str; 6] = ["crypto_null", "gf128mul", "ghash-generic", "ctr", "gcm", "tls"];
/// Of the standard library, what the server does without.
const LEFT_OUT: [&str; 6] = ["test", "idlelib", "tkinter", "ensurepip", "site-packages", "__pycache__"];

/// Packs the files below a folder, for a kernel whose package was unpacked; gives the archive.
pub fn pack(folder: &Path, probe: &Path, kernel: &Path) -> Result<PathBuf> {
    let root = folder.join("root");
    if root.exists() {
        fs::remove_dir_all(&root).with_context(|| format!("remove {}", root.display()))?;
    }
    for folder in FOLDERS {
        fs::create_dir_all(root.join(folder))?;
    }
    fs::write(root.join("init"), INIT)?;
    fs::set_permissions(root.join("init"), fs::Permissions::from_mode(0o755))?;
    for (file, text) in FILES {
        fs::write(root.join(file), text)?;
    }
    certify(&root)?;
    let busybox = shell::find("busybox").context("busybox was to be installed")?;
    fs::copy(&busybox, root.join("bin/busybox"))?;
    for tool in TOOLS {
        symlink("busybox", root.join("bin").join(tool))?;
    }
    fs::copy(probe, root.join("bin/probe"))?;
    shell::run(Command::new("strip").arg(root.join("bin/probe")))?;
    add_modules(&root, kernel, &busybox)?;
    let nginx = shell::find("nginx").context("nginx was to be installed")?;
    fs::copy(&nginx, root.join("bin/nginx"))?;
    let mut programs = vec![busybox, probe.to_owned(), nginx];
    programs.extend(add_python(&root)?);
    for library in libraries(&programs)? {
        copy_to(&root, &library)?;
    }
    let archive = folder.join("guest.cpio");
    let list = shell::read(Command::new("find").arg(".").current_dir(&root))?;
    let packed = fs::File::create(&archive).with_context(|| format!("create {}", archive.display()))?;
    let mut cpio = Command::new("cpio")
        .args(["--create", "--format=newc", "--quiet"])
        .current_dir(&root)
        .stdin(Stdio::piped())
        .stdout(packed)
        .spawn()
        .context("start cpio")?;
    std::io::Write::write_all(&mut cpio.stdin.take().context("cpio reads no list")?, list.as_bytes())?;
    anyhow::ensure!(cpio.wait()?.success(), "cpio failed");
    Ok(archive)
}

/// Makes a certificate that is good for the guest's own address.
fn certify(root: &Path) -> Result<()> {
    let mut openssl = Command::new("openssl");
    openssl.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]);
    openssl.args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-out"]);
    openssl.arg(root.join("certificate.pem")).arg("-keyout").arg(root.join("key.pem"));
    shell::read(&mut openssl)?;
    Ok(())
}

/// Puts the modules there in the order in which they are to be loaded.
fn add_modules(root: &Path, kernel: &Path, busybox: &Path) -> Result<()> {
    let listed = shell::read(Command::new("find").arg(kernel).args(["-name", "*.ko*"]))?;
    for (index, module) in MODULES.iter().enumerate() {
        let is_this = |path: &&Path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.strip_prefix(module).is_some_and(|rest| rest == ".ko" || rest == ".ko.xz")
        };
        let Some(path) = listed.lines().map(Path::new).find(is_this) else { continue };
        let target = root.join(format!("modules/{index}-{module}.ko"));
        if path.extension().is_some_and(|extension| extension == "xz") {
            let unpacked =
                fs::File::create(&target).with_context(|| format!("create {}", target.display()))?;
            shell::run(Command::new(busybox).arg("xzcat").arg(path).stdout(unpacked))?;
        } else {
            fs::copy(path, &target).with_context(|| format!("copy {}", path.display()))?;
        }
    }
    Ok(())
}

/// Copies the interpreter, and its library where it looks for it. Gives what of it needs shared libraries.
fn add_python(root: &Path) -> Result<Vec<PathBuf>> {
    let places = "import os, sys, sysconfig; print(os.path.realpath(sys.executable), sysconfig.get_path('stdlib'), sep='\\n')";
    let places = shell::read(Command::new("python3").args(["-c", places]))?;
    let (interpreter, library) = places.trim().split_once('\n').context("Python does not say where it is")?;
    let interpreter = PathBuf::from(interpreter);
    copy_to(root, &interpreter)?;
    symlink(&interpreter, root.join("bin/python"))?;
    let mut programs = vec![interpreter];
    copy_folder(root, Path::new(library), &mut programs)?;
    Ok(programs)
}

/// With all below it; `programs`: what of it is a shared object is added there.
fn copy_folder(root: &Path, folder: &Path, programs: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if LEFT_OUT.contains(&&*name) || name.starts_with("config-") {
            continue;
        }
        if path.is_dir() {
            copy_folder(root, &path, programs)?;
        } else if path.is_file() {
            copy_to(root, &path)?;
            if path.extension().is_some_and(|extension| extension == "so") {
                programs.push(path);
            }
        }
    }
    Ok(())
}

/// To where it is here.
fn copy_to(root: &Path, path: &Path) -> Result<()> {
    let target = root.join(path.strip_prefix("/").unwrap_or(path));
    if let Some(folder) = target.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::copy(path, &target).with_context(|| format!("copy {}", path.display()))?;
    Ok(())
}

/// The shared libraries that these need, by the dynamic linker's own account.
fn libraries(programs: &[PathBuf]) -> Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    for program in programs {
        let output = Command::new("ldd").arg(program).output().context("start ldd")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        found.extend(
            text.split_whitespace()
                .filter(|word| word.starts_with('/'))
                .map(PathBuf::from)
                .filter(|path| path.is_file()),
        );
    }
    Ok(found)
}
