//! On code as compilers make it of Python's calls, right, and wrong in one way each.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Segment;
use super::*;

const START: u64 = 0x1000;
const READ: u64 = 0x2000;
const SIGNALS: u64 = 0x2100;
const OTHER: u64 = 0x2200;
const NEAR_BYTES: usize = 4;

/// A piece of code.
#[derive(Debug, Clone, Copy)]
enum Part {
    /// As it is.
    Code(&'static [u8]),
    /// A place that is jumped to.
    Label(&'static str),
    /// These bytes, then how far it is to a place.
    Jump(&'static [u8], &'static str),
    Call(u64),
}
use Part::{Call, Code, Jump, Label};

const JE: &[u8] = &[0x0f, 0x84];
const JNE: &[u8] = &[0x0f, 0x85];
const JMP: &[u8] = &[0xe9];
const TEST_RSI: Part = Code(&[0x48, 0x85, 0xf6]);
/// `xor %ebx,%ebx`: no error yet.
const NO_ERROR: Part = Code(&[0x31, 0xdb]);
/// `mov 0x18(%r12),%rdi; mov %r13,%rsi`
const LOAD: Part = Code(&[0x49, 0x8b, 0x7c, 0x24, 0x18, 0x4c, 0x89, 0xee]);
/// `mov %eax,%ebp`
const KEEP: Part = Code(&[0x89, 0xc5]);
const TEST_EAX: Part = Code(&[0x85, 0xc0]);
/// `cmp $2,%ebx`
const WANTS_MORE: Part = Code(&[0x83, 0xfb, 0x02]);
const TEST_EBP: Part = Code(&[0x85, 0xed]);
const TEST_R15: Part = Code(&[0x4d, 0x85, 0xff]);
/// `mov %eax,%ebx`
const ERROR: Part = Code(&[0x89, 0xc3]);
const RET: Part = Code(&[0xc3]);

/// `SSLSocket.read`, in short: read until something is given or no more is to be waited for.
const WHOLE: [Part; 27] = [
    TEST_RSI,
    Jump(JE, "out"),
    Label("again"),
    NO_ERROR,
    LOAD,
    Call(READ),
    KEEP,
    TEST_EAX,
    Jump(JE, "failed"),
    Label("joined"),
    Call(SIGNALS),
    TEST_EAX,
    Jump(JNE, "out"),
    WANTS_MORE,
    Jump(JE, "again"),
    TEST_EBP,
    Jump(JE, "out"),
    TEST_R15,
    Label("given"),
    Jump(JNE, "out"),
    Code(&[0x31, 0xc0]),
    Label("out"),
    RET,
    Label("failed"),
    Call(OTHER),
    ERROR,
    Jump(JMP, "joined"),
];

/// The code, and the place called `given` in it.
fn image(parts: &[Part]) -> (Image, u64) {
    let length = |part: &Part| match part {
        Code(bytes) => bytes.len(),
        Label(_) => 0,
        Jump(bytes, _) => bytes.len() + NEAR_BYTES,
        Call(_) => 1 + NEAR_BYTES,
    };
    let (mut places, mut at) = (BTreeMap::new(), START);
    for part in parts {
        if let Label(name) = part {
            places.insert(*name, at);
        }
        at += length(part) as u64;
    }
    let mut bytes = Vec::new();
    for part in parts {
        let next = START + (bytes.len() + length(part)) as u64;
        let far = |to: u64| (to.wrapping_sub(next) as u32).to_le_bytes();
        match part {
            Code(code) => bytes.extend_from_slice(code),
            Label(_) => {}
            Jump(code, to) => bytes.extend(code.iter().copied().chain(far(places[to]))),
            Call(to) => bytes.extend([0xe8].into_iter().chain(far(*to))),
        }
    }
    bytes.resize((OTHER - START) as usize, 0xcc);
    // Gives what nobody knows.
    bytes.extend_from_slice(&[0x8b, 0x07, 0xc3]);
    let image = Image {
        decodable: true,
        code: vec![Segment { address: START, offset: 0x400, bytes }],
        defined: [("read".to_owned(), READ), (CHECK_SIGNALS.to_owned(), SIGNALS)].into(),
        imported: BTreeMap::new(),
        starts: vec![START, READ],
        exported: BTreeSet::new(),
    };
    (image, places["given"])
}

fn given(parts: &[Part]) -> Option<GivenCall<2>> {
    let calls = image(parts).0.given_calls::<2>("read", Gives::Success)?;
    let [call] = calls.try_into().expect("one call");
    Some(call)
}

#[test]
fn what_only_successful_calls_pass_is_found() {
    let call = given(&WHOLE).unwrap();
    assert_eq!(call.site.address, image(&WHOLE).1);
    assert_eq!((call.site.step, call.site.why), (Step::Emulated, Why::Given));
    assert_eq!(call.arguments.map(|operand| operand.to_string()), ["0x18(%r12)", "%r13"]);
    assert_eq!(call.result.unwrap().to_string(), "%rbp");
}

#[test]
fn what_a_function_gives_is_followed() {
    // xor %edi,%edi; mov %eax,%ebp; test %eax,%eax; sete %dil; call: 0 for 0; mov %rax,%rbx
    let told = [
        Code(&[0x31, 0xff]),
        KEEP,
        TEST_EAX,
        Code(&[0x40, 0x0f, 0x94, 0xc7]),
        Call(OTHER),
        Code(&[0x48, 0x89, 0xc3]),
    ];
    let parts = [&WHOLE[..3], &WHOLE[4..6], &told, &WHOLE[9..23]].concat();
    let (mut image, place) = image(&parts);
    assert_eq!(image.given_calls::<2>("read", Gives::Success), None);
    let code = &mut image.code[0].bytes;
    code.truncate((OTHER - START) as usize);
    // test %edi,%edi; jne +12; mov %edi,%eax; xor %ebx,%ebx; shl $32,%rbx; or %rbx,%rax; ret; mov (%rdi),%eax; ret
    code.extend_from_slice(&[0x85, 0xff, 0x75, 0x0c, 0x89, 0xf8, 0x31, 0xdb, 0x48, 0xc1, 0xe3, 0x20]);
    code.extend_from_slice(&[0x48, 0x09, 0xd8, 0xc3, 0x8b, 0x07, 0xc3]);
    let calls = image.given_calls::<2>("read", Gives::Success).unwrap();
    assert_eq!(calls[0].site.address, place);
}

#[test]
fn what_is_not_proven_is_not_given() {
    let with = |at: usize, part: Part| {
        let mut parts = WHOLE.to_vec();
        parts[at] = part;
        parts
    };
    let nop = Code(&[0x66, 0x90]);
    for (what, parts) in [
        ("the result is not kept", with(6, nop)),
        ("a call that gave nothing gets there", with(16, nop)),
        ("so does who never called", with(1, Jump(JE, "given"))),
        ("a call that gave something might be made again", with(3, nop)),
        ("the place is passed again and again", with(19, Jump(JNE, "given"))),
        ("a handler might be another function's", with(10, Call(OTHER))),
        // mov %rax,%r12
        ("the object is gone", with(17, Code(&[0x49, 0x89, 0xc4]))),
        // mov %rax,0x18(%r12)
        ("the object may be another", with(17, Code(&[0x49, 0x89, 0x44, 0x24, 0x18]))),
        // jmp *%rax
        ("nobody knows where it goes", with(17, Code(&[0xff, 0xe0]))),
    ] {
        assert_eq!(given(&parts), None, "{what}");
    }
}

#[test]
fn a_result_below_0_is_none_either() {
    let length = |parts: &[Part]| image(parts).0.given_calls::<2>("read", Gives::Length);
    assert_eq!(length(&WHOLE), None);
    let mut parts = WHOLE.to_vec();
    // jle
    parts[16] = Jump(&[0x0f, 0x8e], "out");
    let calls = length(&parts).unwrap();
    assert_eq!(calls[0].site.address, image(&parts).1);
}

#[test]
fn code_without_an_end_is_given_up() {
    assert_eq!(given(&[LOAD, Label("given"), Call(READ), KEEP]), None);
    assert_eq!(given(&[LOAD, Call(READ), Label("given"), Jump(JMP, "given")]), None);
}
