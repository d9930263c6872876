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

    const WARNINGS: [&str; 5] =
        ["-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", "-Wno-missing-declarations"];

    pub fn build() {
        let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
        let object = out.join("probe.bpf.o");
        let mut builder = SkeletonBuilder::new();
        builder.source("bpf/probe.bpf.c").obj(&object).clang_args(WARNINGS);
        if let Some(clang) = env::var_os("CLANG") {
            builder.clang(clang);
        }
        if let Err(error) = builder.build_and_generate(out.join("probe.skel.rs")) {
            eprintln!("cannot compile the kernel programs: {error:#}");
            eprintln!("they need clang 14 or later: try `cargo xtask build`, which installs what is missing");
            std::process::exit(1);
        }
        publish(&out, &object);
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
