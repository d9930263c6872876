//! On the binaries of this host: interpreters, their `_ssl` modules and Debian's libssl.

use std::path::{Path, PathBuf};

use super::*;

/// Files that match `directory/*/rest` for every interpreter that is installed, and Debian's.
fn modules(name: &str) -> Vec<PathBuf> {
    let mut roots = vec![PathBuf::from("/usr/lib")];
    let home = std::env::var_os("HOME").unwrap_or_default();
    let versions = std::fs::read_dir(Path::new(&home).join(".pyenv/versions"));
    roots.extend(versions.into_iter().flatten().flatten().map(|entry| entry.path().join("lib")));
    let mut found = Vec::new();
    for root in roots {
        for python in std::fs::read_dir(root).into_iter().flatten().flatten() {
            let modules = std::fs::read_dir(python.path().join("lib-dynload"));
            found.extend(modules.into_iter().flatten().flatten().map(|entry| entry.path()).filter(|path| {
                path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(name))
            }));
        }
    }
    found.sort();
    found
}

fn loaded_by(path: &Path, library: &str) -> Option<PathBuf> {
    let out = std::process::Command::new("ldd").arg(path).output().ok()?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let line = text.lines().find(|line| line.trim_start().starts_with(library))?;
    line.split_whitespace().nth(2).map(PathBuf::from)
}

#[test]
fn python_calls_its_tls_library_at_emulated_instructions() {
    let modules = modules("_ssl.");
    assert!(!modules.is_empty(), "no interpreter is installed");
    for module in modules {
        let image = Image::load(&module, &["SSL_read", "SSL_write", "SSL_read_ex", "SSL_write_ex"]).unwrap();
        // 3.10 went over to the functions that tell length and result apart (Modules/_ssl.c).
        let ex = image.imports("SSL_read_ex");
        for function in if ex { ["SSL_read_ex", "SSL_write_ex"] } else { ["SSL_read", "SSL_write"] } {
            let sites = image.call_sites(function).unwrap();
            assert_eq!(sites.len(), 1, "{}: {function}: {sites:?}", module.display());
            for CallSite { call, after, .. } in sites {
                assert_eq!((call.step, call.why), (Step::Emulated, Why::Call), "{}", module.display());
                assert!(call.instruction.starts_with("call"), "{call}");
                assert_eq!((after.step, after.why), (Step::Emulated, Why::AfterCall), "{after}");
                assert!(after.address > call.address && after.address - call.address < 48, "{after}");
            }
        }
    }
}

#[test]
fn the_arguments_are_had_behind_the_calls_of_python() {
    let modules = modules("_ssl.");
    for module in modules.iter().filter(|module| !module.to_string_lossy().contains("python2")) {
        let image = Image::load(module, &["SSL_read", "SSL_write", "SSL_read_ex", "SSL_write_ex"]).unwrap();
        let name = module.display();
        if image.imports("SSL_read_ex") {
            for function in ["SSL_read_ex", "SSL_write_ex"] {
                let calls = image.kept_calls::<4>(function).unwrap_or_else(|| panic!("{name}: {function}"));
                let [KeptCall { arguments: [object, _, _, moved], .. }] = calls.as_slice() else {
                    panic!("{calls:?}")
                };
                // PySSLSocket.ssl behind the object's head; the address of a length that lies on the stack.
                assert!(object.in_memory && object.added == 0x18, "{name}: {object}");
                assert_eq!(moved.register, Kept::Rsp, "{name}: {moved}");
            }
        } else {
            for function in ["SSL_read", "SSL_write"] {
                let calls = image.kept_calls::<2>(function).unwrap_or_else(|| panic!("{name}: {function}"));
                assert!(calls[0].arguments[0].in_memory, "{name}: {calls:?}");
            }
        }
    }
}

#[test]
fn reads_of_python_that_give_something_are_told_apart() {
    let modules = modules("_ssl.");
    for module in modules.iter().filter(|module| !module.to_string_lossy().contains("python2")) {
        let functions = ["SSL_read", "SSL_read_ex", CHECK_SIGNALS];
        let image = Image::load(module, &functions).unwrap();
        let name = module.display();
        let (site, after, result) = if image.imports("SSL_read_ex") {
            let [GivenCall { site, arguments, .. }] = image
                .given_calls::<4>("SSL_read_ex", Gives::Success)
                .unwrap_or_else(|| panic!("{name}"))
                .try_into()
                .unwrap();
            let after = image.kept_calls::<4>("SSL_read_ex").unwrap();
            assert_eq!(arguments, after[0].arguments, "{name}");
            (site, after[0].after.address, None)
        } else {
            let given = image.given_calls::<2>("SSL_read", Gives::Length);
            // Before 3.8 the end of the stream takes the way of those that gave something (Modules/_ssl.c).
            if ["python3.6", "python3.7"].iter().any(|version| module.to_string_lossy().contains(version)) {
                assert_eq!(given, None, "{name}");
                continue;
            }
            let [GivenCall { site, result, .. }] =
                given.unwrap_or_else(|| panic!("{name}")).try_into().unwrap();
            (site, image.kept_calls::<2>("SSL_read").unwrap()[0].after.address, result)
        };
        assert_eq!((site.step, site.why), (Step::Emulated, Why::Given), "{name}: {site}");
        assert!(site.address > after && site.instruction.starts_with('j'), "{name}: {site}");
        assert_eq!(result.is_some(), !image.imports("SSL_read_ex"), "{name}: {result:?}");
    }
}

#[test]
fn the_library_tells_where_its_bio_is() {
    let module = modules("_ssl.").into_iter().next().expect("an interpreter");
    let library = loaded_by(&module, "libssl.so").expect("its library");
    let image = Image::load(&library, &["SSL_get_rbio"]).unwrap();
    let field = image.given_field("SSL_get_rbio").expect("a field");
    assert!(field.is_multiple_of(8) && field < 512, "{field:#x}");
}

#[test]
fn the_library_hands_its_arguments_on_at_an_emulated_call() {
    let module = modules("_ssl.").into_iter().next().expect("an interpreter");
    let library = loaded_by(&module, "libssl.so").expect("its library");
    let functions = ["SSL_read", "SSL_write", "SSL_read_ex", "SSL_write_ex", "SSL_free"];
    let image = Image::load(&library, &functions).unwrap();
    for function in ["SSL_read", "SSL_write"] {
        let CallSite { call, after, .. } = image.inner_call(function, 3).unwrap();
        assert_eq!(call.step, Step::Emulated, "{function}: {call}");
        assert_eq!(after.step, Step::Emulated, "{function}: {after}");
    }
    assert_eq!(image.entry("SSL_free", 1).unwrap().step, Step::Emulated);
    assert!(image.inner_call("SSL_read_ex", 4).is_ok());
}

#[test]
fn a_function_ends_where_it_returns() {
    let module = modules("_ssl.").into_iter().next().expect("an interpreter");
    let library = loaded_by(&module, "libssl.so").expect("its library");
    let image = Image::load(&library, &["SSL_read", "SSL_free"]).unwrap();
    let file = std::fs::read(&library).unwrap();
    let ends = image.ends("SSL_read").unwrap();
    assert!(!ends.is_empty());
    for end in ends {
        assert_eq!((file[end.offset as usize], end.step, end.why), (0xc3, Step::Single, Why::End), "{end}");
    }
    // It hands its last call over to what others call too.
    assert_eq!(image.ends("SSL_free"), Err(NoSite::End("SSL_free".into())));
}

#[test]
fn an_interpreter_has_an_emulated_instruction_where_tracebacks_grow() {
    let libraries = installed::interpreters();
    assert!(!libraries.is_empty(), "no interpreter is installed");
    for library in libraries {
        let image = Image::load(&library, &["PyTraceBack_Here"]).unwrap();
        let site = image.entry("PyTraceBack_Here", 1).unwrap();
        assert_eq!(site.step, Step::Emulated, "{}: {site}", library.display());
        let calls = image.call_sites("PyTraceBack_Here");
        assert!(calls.is_ok_and(|calls| !calls.is_empty()), "{}", library.display());
    }
}

#[test]
fn offsets_are_those_of_the_file() {
    let module = modules("_ssl.").into_iter().next().expect("an interpreter");
    let image = Image::load(&module, &["SSL_do_handshake"]).unwrap();
    let file = std::fs::read(&module).unwrap();
    for site in image.call_sites("SSL_do_handshake").unwrap() {
        assert_eq!(file[site.call.offset as usize], 0xe8, "a relative call");
    }
}

#[test]
fn what_is_not_there_is_said() {
    let itself = std::env::current_exe().unwrap();
    let image = Image::load(&itself, &["SSL_read"]).unwrap();
    assert_eq!(image.entry("SSL_read", 3), Err(NoSite::Symbol("SSL_read".into())));
    assert_eq!(image.call_sites("SSL_read"), Err(NoSite::Call("SSL_read".into())));
    assert!(matches!(Image::load(Path::new("/proc/self/status"), &[]), Err(NoSite::File(_))));
}

#[test]
fn a_cut_file_gives_less_and_never_panics() {
    let module = modules("_ssl.").into_iter().next().expect("an interpreter");
    let whole = std::fs::read(&module).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let cut = dir.path().join("cut");
    for end in (0..whole.len()).step_by(whole.len() / 61) {
        std::fs::write(&cut, &whole[..end]).unwrap();
        if let Ok(image) = Image::load(&cut, &["SSL_read_ex", "SSL_read"]) {
            let _ = (image.call_sites("SSL_read_ex"), image.entry("SSL_read", 3));
        }
    }
}
