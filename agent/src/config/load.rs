//! Merges the sources into one checked configuration.
//!
//! Invariant: what comes out has passed every check; what is refused is named with file and line, variable or key.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::environment::CONFIG_FILE;
use super::{Config, Environment, Secret};
use crate::exit::Failure;

/// A configuration or secret file larger than this is not one.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Defaults, then `file` (else the one `STARDUST_PROBE_CONFIG` names), the environment, and `flags`.
pub fn load(
    file: Option<&Path>,
    environment: &Environment,
    flags: impl FnOnce(&mut Config),
) -> Result<Config, Failure> {
    let mut config = match file.or_else(|| environment.get(CONFIG_FILE).map(Path::new)) {
        Some(path) => parse(&read(path, "the configuration file")?, path)?,
        None => Config::default(),
    };
    environment.apply(&mut config)?;
    flags(&mut config);
    config.check()?;
    Ok(config)
}

/// Reads the secret from its file, unless it is known already.
pub fn read_secret(config: &mut Config) -> Result<(), Failure> {
    let stardust = &mut config.stardust;
    if !stardust.secret.expose().is_empty() || stardust.secret_file.as_os_str().is_empty() {
        return Ok(());
    }
    let text = read(&stardust.secret_file, "the secret file")?;
    if text.trim().is_empty() {
        return Err(Failure::usage(format!("the secret file {} is empty", stardust.secret_file.display()))
            .hint("put the app's secret into it"));
    }
    stardust.secret = Secret::new(text.trim());
    Ok(())
}

fn read(path: &Path, what: &str) -> Result<String, Failure> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text));
    match read {
        Ok(bytes) if bytes as u64 <= MAX_FILE_BYTES => Ok(text),
        Ok(_) => Err(Failure::usage(format!("{what} {} is larger than 1 MiB", path.display()))
            .hint("name the right file")),
        Err(error) => Err(Failure::io(format!("cannot read {what} {}", path.display()), &error)
            .hint("check the path and who may read it")),
    }
}

fn parse(text: &str, path: &Path) -> Result<Config, Failure> {
    toml::from_str(text).map_err(|error| {
        let line =
            error.span().map_or(1, |span| 1 + text[..span.start.min(text.len())].matches('\n').count());
        Failure::usage(format!("{}:{line}", path.display()))
            .because(error.message())
            .hint("config.default.toml names every key")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn later_sources_win() {
        let file = file("[kernel]\nhead_bytes = 256\ndrain_ms = 5\n[target]\napp_id = 'file'");
        let environment = [
            ("STARDUST_PROBE_KERNEL_DRAIN_MS", "7"),
            ("STARDUST_PROBE_TARGET_APP_ID", "environment"),
            ("STARDUST_PROBE_CONFIG", "/nowhere"),
        ];
        let flags = |config: &mut Config| config.target.app_id = "flag".into();
        let config = load(Some(file.path()), &environment.into_iter().collect(), flags).unwrap();
        assert_eq!(config.kernel.head_bytes, 256);
        assert_eq!(config.kernel.drain_ms, 7);
        assert_eq!(config.target.app_id, "flag");
        assert_eq!(config.kernel.ring_bytes, Config::default().kernel.ring_bytes);
    }

    #[test]
    fn the_environment_can_name_the_file() {
        let file = file("[kernel]\nhead_bytes = 512");
        let environment = [(CONFIG_FILE, file.path())].into_iter().collect();
        assert_eq!(load(None, &environment, |_| ()).unwrap().kernel.head_bytes, 512);
    }

    #[test]
    fn a_bad_file_is_named_with_the_line() {
        let cases = [
            ("[kernel]\nhead_byte = 1\n", ":2: unknown field `head_byte`"),
            ("[kernels]\n", ":1: unknown field `kernels`"),
            ("\n\nkernel = [", ":3: "),
            ("[stardust]\nsecret = 'x'\n", ":2: unknown field `secret`"),
            ("[kernel]\nhead_bytes = 'x'\n", ":2: invalid type"),
        ];
        for (text, expected) in cases {
            let file = file(text);
            let failure = load(Some(file.path()), &Environment::default(), |_| ()).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage);
            assert!(failure.to_string().contains(expected), "{text:?}: {failure}");
        }
        let missing = load(Some(Path::new("/no/such/file")), &Environment::default(), |_| ()).unwrap_err();
        assert_eq!(missing.exit, Exit::NoInput);
    }

    #[test]
    fn the_secret_is_read_from_its_file_unless_it_is_known() {
        let (secret, blank) = (file("  hush\n"), file("\n"));
        let mut config = Config::default();
        read_secret(&mut config).unwrap();
        assert_eq!(config.stardust.secret.expose(), "");
        config.stardust.secret_file = blank.path().into();
        assert_eq!(read_secret(&mut config).unwrap_err().exit, Exit::Usage);
        config.stardust.secret_file = secret.path().into();
        read_secret(&mut config).unwrap();
        assert_eq!(config.stardust.secret.expose(), "hush");
        config.stardust.secret_file = "/no/such/file".into();
        read_secret(&mut config).unwrap();
        config.stardust.secret = Secret::default();
        assert_eq!(read_secret(&mut config).unwrap_err().exit, Exit::NoInput);
    }
}
