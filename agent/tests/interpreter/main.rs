//! Every interpreter at hand is started and asked where its own objects are: each field of its layout must hold.

#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use python::layout::{Frame, Layout, Top};
use python::modules::are_imported;
use python::state::{interpreters, thread_states};
use python::{Memory, Version};
use serde_json::Value;
use stardust_probe::discover::Proc;
use stardust_probe::discover::memory::ProcessMemory;

/// Further interpreters, separated by `:`. `ROOT//usr/bin/python3.14` is run in the folder ROOT as its root.
const MORE: &str = "PROBE_TEST_PYTHONS";

struct Interpreter {
    child: Child,
    facts: BTreeMap<String, Value>,
    _output: BufReader<ChildStdout>,
}

impl Drop for Interpreter {
    fn drop(&mut self) {
        let _ = self.child.stdin.take().map(|mut input| input.write_all(b"\n"));
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start(program: &str) -> Interpreter {
    let mut command = match program.split_once("//") {
        Some((root, program)) => {
            let mut command = Command::new("chroot");
            command.args([root, &format!("/{program}")]);
            command
        }
        None => Command::new(program),
    };
    command.args(["-c", include_str!("facts.py")]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect(program);
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    let facts = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{program}: {error}: {line}"));
    Interpreter { child, facts, _output: output }
}

/// The interpreters of this machine, with the minor version their names promise.
fn at_hand() -> Vec<(String, u8)> {
    let home = std::env::var("HOME").unwrap_or_default();
    let mut found: Vec<String> = Vec::new();
    for folder in [Path::new("/usr/bin").to_owned(), Path::new("/usr/local/bin").to_owned()] {
        found.extend(programs_in(&folder));
    }
    for version in list(&Path::new(&home).join(".pyenv/versions")) {
        found.extend(programs_in(&version.join("bin")));
    }
    let more = std::env::var(MORE).unwrap_or_default();
    found.extend(more.split(':').filter(|program| !program.is_empty()).map(str::to_owned));
    let minor = |program: &String| {
        let name = program.rsplit('/').next()?;
        Version::from_file_name(name).map(|version| version.minor)
    };
    found.into_iter().filter_map(|program| Some((minor(&program)?, program))).map(|(m, p)| (p, m)).collect()
}

fn list(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn programs_in(folder: &Path) -> Vec<String> {
    let is_real = |path: &PathBuf| path.symlink_metadata().is_ok_and(|data| data.is_file());
    let programs = list(folder).into_iter().filter(is_real);
    programs.filter_map(|path| path.to_str().map(str::to_owned)).collect()
}

/// One interpreter's memory beside what it said.
struct View<'a> {
    memory: ProcessMemory,
    layout: &'a Layout,
    facts: &'a BTreeMap<String, Value>,
    checked: Vec<&'static str>,
}

impl View<'_> {
    fn fact(&self, name: &str) -> Option<(u64, &Value)> {
        let fact = self.facts.get(name)?.as_array().unwrap();
        Some((fact[0].as_u64().unwrap(), &fact[1]))
    }

    fn number(&self, name: &str) -> u64 {
        self.fact(name).unwrap_or_else(|| panic!("{name} is not told")).1.as_u64().unwrap()
    }

    /// A field of eight bytes.
    fn word(&mut self, name: &'static str, offset: u32) {
        let (base, value) = self.fact(name).unwrap_or_else(|| panic!("{name} is not told"));
        assert_eq!(self.memory.read_u64(base + u64::from(offset)), value.as_u64(), "{name}");
        self.checked.push(name);
    }

    /// A field of `bytes` bytes.
    fn small(&mut self, name: &'static str, offset: u32, bytes: usize) {
        let (base, value) = self.fact(name).unwrap_or_else(|| panic!("{name} is not told"));
        let mut word = [0; 8];
        assert!(self.memory.read(base + u64::from(offset), &mut word[..bytes]), "{name}");
        assert_eq!(u64::from_ne_bytes(word), value.as_u64().unwrap(), "{name}");
        self.checked.push(name);
    }

    fn bytes(&self, address: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        assert!(self.memory.read(address, &mut bytes), "{address:x}");
        bytes
    }

    fn pointer(&self, address: u64, offset: u32) -> u64 {
        self.memory.read_u64(address + u64::from(offset)).unwrap()
    }

    fn objects(&mut self) {
        let object = self.layout.object;
        self.word("object.kind", object.kind);
        self.word("object.size", object.size);
        self.word("object.type_base", object.type_base);
        self.word("object.type_basic_size", object.type_basic_size);
        self.word("object.type_dict_offset", object.type_dict_offset);
        self.word("object.type_flags", object.type_flags);
        self.word("object.tuple_items", object.tuple_items);
        let (class, name) = self.fact("object.type_name").unwrap();
        let text = self.bytes(self.pointer(class, object.type_name), 7);
        assert_eq!(std::str::from_utf8(&text).ok(), name.as_str());
        let qualname = self.pointer(class, object.type_qualname);
        assert_eq!(self.bytes(qualname + u64::from(object.str_ascii), 7), b"Derived");
        let (items, first) = self.fact("list.first").unwrap();
        assert_eq!(self.memory.read_u64(self.pointer(items, object.list_items)), first.as_u64());
        let (ascii, text) = self.fact("text.ascii").unwrap();
        assert_eq!(self.pointer(ascii, object.str_length), 10);
        let found = self.bytes(ascii + u64::from(object.str_ascii), 10);
        assert_eq!(std::str::from_utf8(&found).ok(), text.as_str());
        // Include/cpython/unicodeobject.h: bits 2 to 4 kind (1 byte a character), 5 compact, 6 ascii.
        let state = |text: u64| self.memory.read_u32(text + u64::from(object.str_state)).unwrap() & 0x7c;
        assert_eq!(state(ascii), 0b110_0100);
        let (wide, _) = self.fact("text.wide").unwrap();
        assert_eq!(state(wide), 0b010_0100);
        assert_eq!(self.bytes(wide + u64::from(object.str_wide), 4), b"n\xe4ht");
        let (bytes, _) = self.fact("text.bytes").unwrap();
        assert_eq!(self.bytes(bytes + u64::from(object.bytes), 10), b"some bytes");
        // A class's namespace holds `__init__`: its keys' count is in its own place in the dict.
        let dict = self.pointer(class, object.type_dict);
        assert_ne!(self.pointer(dict, object.dict_keys), 0);
        assert_eq!(self.pointer(dict, object.dict_values), 0);
        assert_ne!(self.pointer(class, object.type_cached_keys), 0);
    }

    fn code(&mut self) {
        let code = self.layout.code;
        self.word("code.filename", code.filename);
        self.word("code.name", code.name);
        self.small("code.firstlineno", code.firstlineno, 4);
        if let Some(qualname) = code.qualname {
            self.word("code.qualname", qualname);
        }
        let (object, table) = self.fact("code.lines").unwrap();
        let told: Vec<u8> =
            table.as_array().unwrap().iter().map(|byte| byte.as_u64().unwrap() as u8).collect();
        let lines = self.pointer(object, code.lines.offset());
        assert_eq!(self.bytes(lines + u64::from(self.layout.object.bytes), told.len()), told);
    }

    fn exception(&mut self) {
        let Layout { exception, traceback, .. } = *self.layout;
        self.word("exception.args", exception.args);
        self.word("exception.traceback", exception.traceback);
        self.word("exception.context", exception.context);
        self.word("exception.cause", exception.cause);
        self.small("exception.suppress_context", exception.suppress_context, 1);
        self.word("traceback.next", traceback.next);
        self.word("traceback.frame", traceback.frame);
        self.small("traceback.last_instruction", traceback.last_instruction, 4);
        let (object, line) = self.fact("traceback.line").unwrap();
        let found = self.memory.read_u32(object + u64::from(traceback.line)).unwrap();
        // Later releases of 3.11 and those after it look the line up only when asked for.
        let told = line.as_u64() == Some(found.into());
        assert!(told || (self.layout.minor >= 11 && found == u32::MAX), "traceback.line: {found}");
    }

    /// The thread state, its context, and the frames from the innermost outwards.
    fn thread(&mut self, state: u64) {
        let Layout { thread, context, exception, .. } = *self.layout;
        assert_eq!(state, self.number("thread.state"));
        assert_eq!(state, self.number("thread.gil_state"));
        self.word("thread.thread_id", thread.thread_id);
        self.word("thread.context", thread.context);
        self.small("context.entered", context.entered, 4);
        self.word("context.prev", context.prev);
        let interpreter = self.pointer(state, thread.interp);
        assert_eq!(
            self.pointer(interpreter, self.layout.interpreter.modules),
            self.number("interpreter.modules")
        );
        if self.facts.contains_key("runtime.interpreters_main") {
            self.word("runtime.interpreters_main", self.layout.runtime.interpreters_main);
        }
        // The main thread waits with an exception in hand.
        let handled = self.pointer(state, thread.exc_info);
        assert_eq!(self.pointer(handled, exception.handled_value), self.number("thread.handled"));
        let before = self.pointer(handled, exception.handled_previous);
        assert!(before == 0 || self.memory.read_u64(before).is_some());
    }

    fn frames(&mut self, state: u64) {
        let (object, code) = self.fact("frame.self").map(|(o, c)| (o, c.as_u64().unwrap())).unwrap();
        let (caller, caller_code) = self.fact("frame.caller").map(|(o, c)| (o, c.as_u64().unwrap())).unwrap();
        let top = match self.layout.thread.top {
            Top::FrameObject(offset) | Top::Current(offset) => self.pointer(state, offset),
            Top::CFrame { cframe, current_frame } => self.pointer(self.pointer(state, cframe), current_frame),
        };
        match self.layout.frame {
            Frame::Object { back, code: at, .. } => {
                assert_eq!(top, object);
                assert_eq!(self.pointer(object, back), caller);
                assert_eq!(self.pointer(object, at), code);
            }
            Frame::Interpreter { of_frame_object, previous, code: at, instruction, owner, first_own } => {
                assert_eq!(top, self.pointer(object, of_frame_object));
                let mut back = self.pointer(top, previous);
                let owner_of = |frame: u64| self.bytes(frame + u64::from(owner), 1)[0];
                assert_eq!(owner_of(top), 0);
                while first_own.is_some_and(|first| owner_of(back) >= first) {
                    back = self.pointer(back, previous);
                }
                assert_eq!(back, self.pointer(caller, of_frame_object));
                assert_eq!(self.pointer(top, at) & !3, code);
                assert_eq!(self.pointer(back, at) & !3, caller_code);
                let first = code + u64::from(self.layout.code.first_instruction.unwrap());
                let next = self.pointer(top, instruction);
                assert!((first..first + 4096).contains(&next), "{next:x} is not in the code at {first:x}");
            }
        }
    }
}

fn verify(program: &str, minor: u8) {
    let started = start(program);
    let pid = started.child.id();
    let found = Proc::default().interpreter(pid).unwrap_or_else(|| panic!("{program}: not recognised"));
    assert_eq!(found.runtime, started.facts["runtime"][1].as_u64().unwrap(), "{program}: _PyRuntime");
    let build = found.build.clone().unwrap_or_else(|unknown| panic!("{program}: {unknown}"));
    assert_eq!(build.version.minor, minor, "{program}");
    assert!(found.slot.is_ok(), "{program}: {:?}", found.slot);
    assert_eq!(found.refusal(), None);
    let memory = Proc::default().memory(pid).unwrap();
    let layout = build.layout;
    let all = interpreters(&memory, found.runtime, layout);
    assert_eq!(all.len(), 1, "{program}");
    let threads = thread_states(&memory, all[0], layout);
    assert_eq!(threads.len(), 2, "{program}");
    let imported = are_imported(&memory, found.runtime, layout, ["contextvars", "twisted.internet.reactor"]);
    assert_eq!(imported, Some([true, false]), "{program}: what it has imported");
    let main = threads[1];
    let mut view = View { memory, layout, facts: &started.facts, checked: Vec::new() };
    if let Some(offset) = layout.thread.native_thread_id {
        assert_eq!(view.pointer(main.address, offset), u64::from(pid), "{program}");
    }
    println!("{program}: {found}");
    view.objects();
    view.code();
    view.exception();
    view.thread(main.address);
    view.frames(main.address);
    assert!(view.checked.len() > 20, "{program}: only {:?}", view.checked);
}

#[test]
fn layouts_hold_in_every_interpreter_at_hand() {
    let known = at_hand().into_iter().filter(|(_, minor)| (8..=14).contains(minor));
    let mut verified = 0;
    for (program, minor) in known {
        verify(&program, minor);
        verified += 1;
    }
    assert!(verified > 0, "no interpreter found: install python3.11, or name some in {MORE}");
}

#[test]
fn an_interpreter_without_a_layout_is_recognised_and_refused() {
    for (program, minor) in at_hand().into_iter().filter(|(_, minor)| !(8..=14).contains(minor)) {
        let mut command = match program.split_once("//") {
            Some((root, program)) => {
                let mut command = Command::new("chroot");
                command.args([root, &format!("/{program}")]);
                command
            }
            None => Command::new(&program),
        };
        let script = "import sys; print('ready', flush=True); sys.stdin.readline()";
        let mut child =
            command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let found = Proc::default().interpreter(child.id());
        drop(child.stdin.take());
        child.wait().unwrap();
        // 3.6 does not export `_PyRuntime`.
        let Some(found) = found else { continue };
        let refusal = found.refusal().unwrap_or_else(|| panic!("{program} is not refused"));
        assert!(refusal.contains(&format!("3.{minor}")), "{program}: {refusal}");
    }
}
