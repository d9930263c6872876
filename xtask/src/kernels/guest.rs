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
const TOOLS: [&str; 9] = ["sh", "mount", "ip", "sleep", "wget", "sed", "grep", "cat", "poweroff"];
const FOLDERS: [&str; 6] = ["bin", "proc", "sys", "dev", "tmp", "etc"];
/// Of the standard library, what the server does without.
const LEFT_OUT: [&str; 6] = ["test", "idlelib", "tkinter", "ensurepip", "site-packages", "__pycache__"];

/// Packs the files below a folder; gives the archive.
pub fn pack(folder: &Path, probe: &Path) -> Result<PathBuf> {
    let root = folder.join("root");
    if root.exists() {
        fs::remove_dir_all(&root).with_context(|| format!("remove {}", root.display()))?;
    }
    for folder in FOLDERS {
        fs::create_dir_all(root.join(folder))?;
    }
    fs::write(root.join("init"), INIT)?;
    fs::set_permissions(root.join("init"), fs::Permissions::from_mode(0o755))?;
    fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/sh\n")?;
    let busybox = shell::find("busybox").context("busybox was to be installed")?;
    fs::copy(&busybox, root.join("bin/busybox"))?;
    for tool in TOOLS {
        symlink("busybox", root.join("bin").join(tool))?;
    }
    fs::copy(probe, root.join("bin/probe"))?;
    shell::run(Command::new("strip").arg(root.join("bin/probe")))?;
    let mut programs = vec![busybox, probe.to_owned()];
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
