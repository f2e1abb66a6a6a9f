//! The unit tests of the library's own files, which are taken in here: the library itself can't be a test program, for the functions
//! of Lua that it calls are in nginx.

#[allow(dead_code, reason = "the rest is for the library")]
#[path = "../src/body.rs"]
mod body;
#[allow(dead_code, reason = "the rest is for the library")]
#[path = "../src/nginx/headers/framing.rs"]
mod framing;
#[path = "../src/reply/grpc.rs"]
mod grpc;
#[path = "../src/callout/reserved.rs"]
mod reserved;
#[path = "../src/callout/target.rs"]
mod target;

use std::path::{Path, PathBuf};

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

#[test]
fn all_files_with_unit_tests_are_taken_in() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let taken_in = include_str!("units.rs");
    let with_tests = sources(&root.join("src"))
        .into_iter()
        .filter(|file| std::fs::read_to_string(file).unwrap().contains("#[cfg(test)]"));
    let names: Vec<String> =
        with_tests.map(|file| format!("\"../{}\"", file.strip_prefix(root).unwrap().display())).collect();
    assert!(names.len() >= 5);
    for name in names {
        assert!(taken_in.contains(&name), "tests/units.rs lacks {name}");
    }
}
