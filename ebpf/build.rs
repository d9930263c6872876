//! Compiles the kernel programs and writes their skeleton. Honours `CLANG`.

fn main() {
    println!("cargo::rerun-if-changed=bpf");
    println!("cargo::rerun-if-env-changed=CLANG");
    #[cfg(feature = "kernel")]
    kernel::build();
}

#[cfg(feature = "kernel")]
mod kernel {
    use std::path::{Path, PathBuf};
    use std::{env, fs};

    use libbpf_cargo::SkeletonBuilder;

    /// v3 has instructions for 32 bits, which every kernel that loads the programs knows: less code for the same.
    const ARGUMENTS: [&str; 6] =
        ["-mcpu=v3", "-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", "-Wno-missing-declarations"];

    pub fn build() {
        let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
        let object = out.join("probe.bpf.o");
        let mut builder = SkeletonBuilder::new();
        builder.source("bpf/probe.bpf.c").obj(&object).clang_args(ARGUMENTS);
        if let Some(clang) = env::var_os("CLANG") {
            builder.clang(clang);
        }
        if let Err(error) = builder.build_and_generate(out.join("probe.skel.rs")) {
            eprintln!("cannot compile the kernel programs: {error:#}");
            eprintln!("they need clang 14 or later: try `cargo xtask build`, which installs what is missing");
            std::process::exit(1);
        }
        publish(&out, &object);
        check_other_architecture(&out);
    }

    /// What cannot run here must at least compile: the registers' header knows two architectures.
    fn check_other_architecture(out: &Path) {
        let other = if env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "x86_64") {
            "arm64"
        } else {
            "x86"
        };
        let mut builder = SkeletonBuilder::new();
        let target = format!("-D__TARGET_ARCH_{other}");
        builder.source("bpf/probe.bpf.c").obj(out.join("probe.other.bpf.o"));
        builder.clang_args(ARGUMENTS.into_iter().chain([target.as_str()]));
        if let Some(clang) = env::var_os("CLANG") {
            builder.clang(clang);
        }
        if let Err(error) = builder.build() {
            eprintln!("the kernel programs do not compile for {other}: {error:#}");
            std::process::exit(1);
        }
    }

    /// Puts the object where `cargo xtask tidy` finds it: `target/ebpf/probe.bpf.o`.
    fn publish(out: &Path, object: &Path) {
        // OUT_DIR is target/PROFILE/build/ebpf-HASH/out
        if let Some(target) = out.ancestors().nth(4) {
            let dir = target.join("ebpf");
            let copied = fs::create_dir_all(&dir).and_then(|()| fs::copy(object, dir.join("probe.bpf.o")));
            if let Err(error) = copied {
                println!("cargo::warning=cannot copy the kernel object to {}: {error}", dir.display());
            }
        }
    }
}
