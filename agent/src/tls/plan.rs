//! Chooses the sites in the files of a process. Invariant: a file is read once, however many processes map it.

use std::collections::BTreeMap;

use python::Memory;

use super::callers::{Caller, Callers};
use super::role::{Kept, Role, role};
use super::{Behind, Fields, Kind, Placed, Plan};
use crate::discover::{FileId, MappedFile, Mapping, Proc};

/// Remembers what each file is.
#[derive(Debug, Default)]
pub struct Planner {
    roles: BTreeMap<FileId, Role>,
}

/// Most files remembered; beyond them everything is read anew.
const MAX_FILES: usize = 16384;

impl Planner {
    /// What to do with the files of one process; files that TLS does not touch are left out.
    ///
    /// Python's module is probed at its calls of the library, which no other program passes. The library itself is
    /// probed only if something else in the process calls it, as every process of the host that has it mapped
    /// passes those sites.
    pub fn plan(&mut self, proc: &Proc, pid: u32) -> Vec<Plan> {
        if self.roles.len() > MAX_FILES {
            self.roles.clear();
        }
        let mappings = proc.mappings(pid).unwrap_or_default();
        let files = proc.files_of(pid, &mappings);
        for file in &files {
            self.roles.entry(file.id).or_insert_with(|| role(file));
        }
        let roles: Vec<_> = files.iter().filter_map(|file| Some((file, self.roles.get(&file.id)?))).collect();
        let callers = callers(&roles, &mappings, proc.memory(pid).ok().as_ref());
        let mut plans = Vec::new();
        for (file, role) in roles {
            let (is_module, sites, refused, fields) = match role {
                Role::Module { sites, kept, refused, .. } => {
                    let fields = callers.library_of(file.id).unwrap_or_default();
                    (true, shortened(sites, kept, fields), refused, fields)
                }
                Role::Library { sites, refused, fields } if !callers.are_all_seen(file.id) => {
                    (false, sites.clone(), refused, *fields)
                }
                _ => continue,
            };
            let (file, refused) = (file.clone(), refused.clone());
            plans.push(Plan { file, sites, is_module, fields, refused });
        }
        plans
    }
}

/// The libraries of a process and who calls them.
fn callers(
    roles: &[(&MappedFile, &Role)],
    mappings: &[Mapping],
    memory: Option<&impl Memory>,
) -> Callers<Fields> {
    let mut callers = Callers::default();
    for (file, role) in roles {
        let (is_seen, imports) = match role {
            Role::None => continue,
            Role::Library { fields, .. } => {
                callers.libraries.insert(file.id, *fields);
                continue;
            }
            Role::Module { sites, imports, .. } => (!sites.is_empty(), imports),
            Role::Caller(imports) => (false, imports),
        };
        let calls = memory.and_then(|memory| imports.lead_to(file.id, mappings, memory));
        callers.files.insert(file.id, Caller { is_seen, calls });
    }
    callers
}

/// One site behind each call instead of two about it, where that does for all that read and write.
fn shortened(sites: &[Placed], kept: &[Kept], fields: Fields) -> Vec<Placed> {
    let mut sites = sites.to_vec();
    // Without its BIO nobody knows whether a connection moves the encrypted bytes by itself.
    if kept.is_empty() || fields.bio_bytes.is_none() {
        return sites;
    }
    let behind = kept.iter().map(|kept| {
        let behind = Behind::new(kept.writes, (kept.object, kept.buffer), kept.moved);
        Placed { function: kept.function, kind: Kind::Behind(behind), site: kept.site.clone() }
    });
    sites.retain(|placed| !placed.kind.moves());
    behind.chain(sites).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::process::{Child, Command, Stdio};

    use super::super::role::SENDFILE;
    use super::*;
    use crate::probe_site::Step;

    struct Interpreter(Child);

    impl Drop for Interpreter {
        fn drop(&mut self) {
            let _ = (self.0.kill(), self.0.wait());
        }
    }

    fn interpreter(code: &str) -> Interpreter {
        let code = format!("{code}; import sys; sys.stdout.write('1'); sys.stdout.flush(); sys.stdin.read()");
        let child = Command::new("python3")
            .args(["-c", &code])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3");
        let mut interpreter = Interpreter(child);
        let mut ready = [0];
        interpreter.0.stdout.as_mut().expect("piped").read_exact(&mut ready).expect("it starts");
        interpreter
    }

    fn plan(code: &str) -> Vec<Plan> {
        let interpreter = interpreter(code);
        Planner::default().plan(&Proc::default(), interpreter.0.id())
    }

    #[test]
    fn an_interpreter_is_probed_at_its_module_alone() {
        let plans = plan("import ssl");
        assert_eq!(plans.len(), 1, "{plans:?}");
        let Plan { file, sites, is_module, fields, refused } = &plans[0];
        assert!(is_module);
        assert!(file.shown.to_string_lossy().contains("_ssl."), "{file:?}");
        assert_eq!(refused, &Vec::<String>::new());
        assert!(sites.iter().all(|placed| placed.site.step == Step::Emulated), "{sites:?}");
        let count = |kind| sites.iter().filter(|placed| placed.kind == kind).count();
        let behind: Vec<_> = sites
            .iter()
            .filter(|placed| matches!(placed.kind, Kind::Behind(_)))
            .map(|placed| placed.function)
            .collect();
        assert!(
            behind == ["SSL_read_ex", "SSL_write_ex"] || behind == ["SSL_read", "SSL_write"],
            "{sites:?}"
        );
        assert_eq!((count(Kind::Return), count(Kind::Handshake)), (0, 1));
        let is_known = fields.bio_bytes.is_some() && fields.agreed.is_some() && fields.state_bytes.is_some();
        assert!(is_known, "{fields:?}");
        assert!(count(Kind::Free) >= 1 && count(Kind::Shutdown) >= 1, "{sites:?}");
    }

    #[test]
    fn a_library_alone_is_probed_itself() {
        let plans = plan("import ctypes.util; ctypes.CDLL(ctypes.util.find_library('ssl'))");
        assert_eq!(plans.len(), 1, "{plans:?}");
        assert!(plans[0].file.shown.to_string_lossy().contains("libssl"), "{plans:?}");
        let kinds: Vec<_> = plans[0].sites.iter().map(|placed| (placed.function, placed.kind)).collect();
        for wanted in [
            ("SSL_read", Kind::ReadEx),
            ("SSL_read", Kind::Return),
            ("SSL_write_ex", Kind::WriteEx),
            ("SSL_do_handshake", Kind::Handshake),
            ("SSL_free", Kind::Free),
            ("SSL_sendfile", Kind::SendFile),
            ("SSL_sendfile", Kind::Return),
            ("SSL_shutdown", Kind::Shutdown),
        ] {
            assert!(kinds.contains(&wanted), "{wanted:?} in {kinds:?}");
        }
        assert!(!plans[0].is_module);
        assert!(plans[0].fields.agreed.is_some() && plans[0].fields.state_bytes.is_some(), "{plans:?}");
        let mut sends = plans[0].sites.iter().filter(|placed| placed.function == SENDFILE);
        assert!(sends.all(|placed| placed.site.step == Step::Emulated), "{plans:?}");
    }

    #[test]
    fn an_interpreter_without_tls_has_nothing_to_probe() {
        assert_eq!(plan("pass"), Vec::new());
    }
}
