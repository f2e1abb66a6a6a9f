//! The fuzz targets with their seeds, without a fuzzer. What it finds becomes a seed, and is tried here from then on.

use std::{collections::BTreeSet, fs, path::Path};

#[path = "../fuzz/src/lib.rs"]
mod fuzz;

macro_rules! targets {
    ($($target:ident),*) => {
        const TARGETS: &[&str] = &[$(stringify!($target)),*];

        $(#[test]
        fn $target() {
            run_seeds(stringify!($target), fuzz::$target::run);
        })*
    };
}

targets!(callbacks, foreign, grpc, guest_memory, hostcalls, http1, http2, module, pairs);

fn folder(name: &str) -> Vec<std::path::PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(name);
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn run_seeds(target: &str, run: fn(&[u8])) {
    let seeds = folder(&format!("seeds/{target}"));
    assert!(!seeds.is_empty());
    for seed in seeds {
        println!("{}", seed.display());
        run(&fs::read(seed).unwrap());
    }
}

#[test]
fn each_target_is_run_here() {
    let names = |paths: Vec<std::path::PathBuf>| -> BTreeSet<String> {
        paths.iter().map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
    };
    let here: BTreeSet<String> = TARGETS.iter().map(|target| (*target).to_owned()).collect();
    assert_eq!(names(folder("fuzz_targets")), here);
    assert_eq!(names(folder("seeds")), here);
}
