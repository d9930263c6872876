//! Who an app is to the server: the code and secret it handed back, kept across runs.
//!
//! Invariant: the files are readable by their owner only from the moment they exist, and are whole or not there.

use std::fmt::Write as _;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::settings::Secret;

/// The code and the secret to log in with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    /// What the server calls the app.
    pub code: String,
    /// The secret, if there is one.
    pub secret: Option<Secret>,
}

/// The identities of all apps, one file each.
#[derive(Debug, Clone)]
pub(super) struct IdentityStore {
    dir: PathBuf,
    servers: String,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    servers: String,
    app_id: String,
    code: String,
    secret: String,
}

impl IdentityStore {
    /// Identities below `state_dir` that belong to these `servers`.
    pub(super) fn new(state_dir: &Path, servers: &[String]) -> Self {
        Self { dir: state_dir.join("stardust"), servers: servers.join(",") }
    }

    /// What was kept for `app_id`. An identity from other servers is not for these.
    pub(super) fn load(&self, app_id: &str) -> io::Result<Option<Identity>> {
        let text = match std::fs::read(self.path(app_id)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let stored: Stored = serde_json::from_slice(&text)?;
        let ours = stored.app_id == app_id && stored.servers == self.servers;
        Ok(ours.then(|| Identity { code: stored.code, secret: Some(Secret::new(stored.secret)) }))
    }

    /// Keeps `identity` for `app_id`, in place of what was kept.
    pub(super) fn save(&self, app_id: &str, identity: &Identity) -> io::Result<()> {
        let stored = Stored {
            servers: self.servers.clone(),
            app_id: app_id.to_owned(),
            code: identity.code.clone(),
            secret: identity.secret.as_ref().map_or_else(String::new, |secret| secret.expose().to_owned()),
        };
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        let path = self.path(app_id);
        let unfinished = path.with_extension("new");
        // One left over may have another mode.
        match std::fs::remove_file(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        file.write_all(&serde_json::to_vec(&stored)?)?;
        file.sync_all()?;
        std::fs::rename(&unfinished, &path)?;
        File::open(&self.dir)?.sync_all()
    }

    /// A file name that any app id gives, and no two the same.
    fn path(&self, app_id: &str) -> PathBuf {
        let mut name = String::with_capacity(app_id.len());
        for byte in app_id.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => name.push(char::from(byte)),
                _ => {
                    // Writing to a `String` cannot fail.
                    let _ = write!(name, "%{byte:02X}");
                }
            }
        }
        if name.len() > 200 {
            name.truncate(150);
            name.push_str(&super::salt::md5_hex(app_id));
        }
        self.dir.join(format!("{name}.json"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn identity(secret: &str) -> Identity {
        Identity { code: "Shop".to_owned(), secret: Some(Secret::new(secret)) }
    }

    #[test]
    fn what_is_kept_comes_back() {
        let dir = tempfile::tempdir().expect("a directory");
        let state = dir.path().join("state");
        let servers = ["http://a:6600".to_owned()];
        let store = IdentityStore::new(&state, &servers);
        for app_id in ["shop", "../../etc/passwd", "", "商店", &"x".repeat(500)] {
            assert_eq!(store.load(app_id).expect("no file is no error"), None);
            for secret in ["one", "two"] {
                store.save(app_id, &identity(secret)).expect("saved");
                assert_eq!(store.load(app_id).expect("loaded"), Some(identity(secret)));
            }
        }
        let mode = |path: &Path| path.metadata().expect("there").permissions().mode() & 0o777;
        let files: Vec<_> = std::fs::read_dir(state.join("stardust"))
            .expect("the directory")
            .map(|entry| entry.expect("an entry").path())
            .collect();
        assert_eq!(files.len(), 5, "{files:?}");
        assert!(files.iter().all(|file| mode(file) == 0o600));
        assert_eq!((mode(&state), mode(&state.join("stardust"))), (0o700, 0o700));
        let elsewhere = IdentityStore::new(&state, &["http://b:6600".to_owned()]);
        assert_eq!(elsewhere.load("shop").expect("loaded"), None);
    }

    #[test]
    fn a_broken_file_is_an_error() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = IdentityStore::new(dir.path(), &[]);
        std::fs::create_dir(dir.path().join("stardust")).expect("created");
        std::fs::write(store.path("shop"), "{").expect("written");
        assert!(store.load("shop").is_err());
        store.save("shop", &identity("one")).expect("saved over it");
        assert_eq!(store.load("shop").expect("loaded"), Some(identity("one")));
    }
}
