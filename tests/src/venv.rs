//! The Python environment that servers and clients run in.
//!
//! Invariant: it holds exactly what its file of requirements of this moment asks for.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::{self, ScopedJoinHandle};

use anyhow::{Context as _, bail, ensure};

/// The file, and what it says.
type Requirements = (&'static str, &'static str);

const MAIN: Requirements = ("requirements.txt", include_str!("../requirements.txt"));
const ROUTES: Requirements = ("requirements-routes.txt", include_str!("../requirements-routes.txt"));
const SKYWALKING: Requirements =
    ("requirements-skywalking.txt", include_str!("../requirements-skywalking.txt"));

/// A virtual environment.
#[derive(Debug, Clone)]
pub struct Venv {
    folder: PathBuf,
}

impl Venv {
    /// The environment that `PROBE_TEST_VENV` names, else the one in the target folder. Made if it is missing
    /// or made for other requirements, which needs the package index.
    pub fn open() -> anyhow::Result<Self> {
        let folder = match std::env::var_os("PROBE_TEST_VENV") {
            Some(folder) => PathBuf::from(folder),
            None => target_folder()?.join("python-venv"),
        };
        Self::make(folder, Path::new("python3"), MAIN, None)
    }

    /// The environments of other interpreters, with the frameworks whose routes are read. Those that are missing are made side
    /// by side.
    pub fn of_each(interpreters: &[PathBuf]) -> anyhow::Result<Vec<Self>> {
        let main = Self::open()?;
        thread::scope(|scope| {
            let main = &main;
            let make = |interpreter: &'_ PathBuf| {
                let name = interpreter.file_name().context("an interpreter has a name")?.to_string_lossy();
                main.beside(&name, interpreter, ROUTES)
            };
            let makers: Vec<_> =
                interpreters.iter().map(|interpreter| scope.spawn(move || make(interpreter))).collect();
            let join = |maker: ScopedJoinHandle<'_, _>| maker.join().unwrap_or_else(|_| bail!("it panicked"));
            makers.into_iter().map(join).collect()
        })
    }

    /// That of SkyWalking's agent, by the same interpreter.
    pub fn with_skywalking() -> anyhow::Result<Self> {
        Self::open()?.beside("skywalking", Path::new("python3"), SKYWALKING)
    }

    fn beside(&self, name: &str, interpreter: &Path, requirements: Requirements) -> anyhow::Result<Self> {
        let parent = self.folder.parent().context("the environment is in a folder")?;
        Self::make(parent.join(format!("python-venv-{name}")), interpreter, requirements, Some(self))
    }

    /// `by`: whose installer does it; else it has one of its own.
    fn make(
        folder: PathBuf,
        interpreter: &Path,
        (file, content): Requirements,
        by: Option<&Self>,
    ) -> anyhow::Result<Self> {
        let stamp = folder.join("requirements.installed");
        let lock =
            File::create(format!("{}.lock", folder.display())).context("create the environment's lock")?;
        lock.lock().context("wait for who makes the environment")?;
        if fs::read_to_string(&stamp).is_ok_and(|made_for| made_for == content) {
            return Ok(Self { folder });
        }
        let mut make = Command::new(interpreter);
        make.args(["-m", "venv", "--clear"]).args(by.map(|_| "--without-pip")).arg(&folder);
        run(&mut make)?;
        let python = folder.join("bin/python");
        let mut install = Command::new(by.map_or_else(|| python.clone(), |venv| venv.program("python")));
        install.args(["-m", "pip"]);
        if by.is_some() {
            install.arg("--python").arg(&python);
        }
        install.args(["install", "--quiet", "--disable-pip-version-check", "--no-compile", "--requirement"]);
        run(install.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)))?;
        fs::write(&stamp, content).context("stamp the environment")?;
        Ok(Self { folder })
    }

    /// A folder with one package alone (`name==version`), as its interpreter takes it, for `PYTHONPATH`; installed if it is
    /// missing, which needs the package index.
    pub fn package(&self, requirement: &str) -> anyhow::Result<PathBuf> {
        let parent = self.folder.parent().context("the environment is in a folder")?;
        let folder = parent.join(format!("python-package-{requirement}"));
        let stamp = folder.join("installed");
        let lock = File::create(format!("{}.lock", folder.display())).context("create the package's lock")?;
        lock.lock().context("wait for who installs the package")?;
        if !stamp.exists() {
            let mut install = Command::new(self.program("python"));
            install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]);
            install.args(["--no-deps", "--only-binary", ":all:", "--upgrade", "--target"]).arg(&folder);
            run(install.arg(requirement))?;
            fs::write(&stamp, "").context("stamp the package")?;
        }
        Ok(folder)
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A program of the environment: `python`, `gunicorn`.
    pub fn program(&self, name: &str) -> PathBuf {
        self.folder.join("bin").join(name)
    }

    /// Its interpreter, about to run one of the scripts in `tests/apps`.
    pub fn script(&self, name: &str) -> Command {
        let mut command = Command::new(self.program("python"));
        command.arg(apps_folder().join(name));
        command
    }
}

/// An interpreter of this machine for each version that is followed.
pub fn interpreters() -> Vec<PathBuf> {
    let mut folders = vec![PathBuf::from("/usr/bin")];
    if let Some(home) = std::env::var_os("HOME") {
        let versions = PathBuf::from(home).join(".pyenv/versions").read_dir();
        folders.extend(versions.into_iter().flatten().flatten().map(|entry| entry.path().join("bin")));
    }
    let mut found = BTreeMap::new();
    for minor in 8..=14 {
        let name = format!("python3.{minor}");
        // Those of a distribution may lack what makes environments.
        let path = folders.iter().rev().map(|folder| folder.join(&name)).find(|path| path.is_file());
        found.extend(path.map(|path| (minor, path)));
    }
    found.into_values().collect()
}

/// Where the apps and the client scripts are.
pub fn apps_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("apps")
}

/// The target folder this program was built into.
pub fn target_folder() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe().context("find this program")?;
    let folder = program.ancestors().find(|folder| folder.join("CACHEDIR.TAG").exists());
    Ok(folder.context("this program is not in a target folder")?.to_path_buf())
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().with_context(|| format!("start {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
