//! Compiled modules on disk, for tests under valgrind: there a compilation takes longer than all the rest of a test, and
//! code that comes from a file has a name in what valgrind reports.

use std::{
    fs,
    path::{Path, PathBuf},
    process,
};

use sha2::{Digest, Sha256};
use wasmtime::{Engine, Module, Result};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/compiled");

/// The compiled module of `bytes`, from the disk: it is compiled only if it is not there, or from another wasmtime.
pub(super) fn module(engine: &Engine, bytes: &[u8]) -> Result<Module> {
    let path = path_of(bytes);
    from_disk(engine, &path).or_else(|_| {
        write(&path, &Module::from_binary(engine, bytes)?.serialize()?)?;
        from_disk(engine, &path)
    })
}

#[expect(unsafe_code, reason = "wasmtime trusts what it reads from the disk")]
fn from_disk(engine: &Engine, path: &Path) -> Result<Module> {
    // SAFETY: only `write` puts files there, with what wasmtime has made, and never changes one.
    unsafe { Module::deserialize_file(engine, path) }
}

fn path_of(bytes: &[u8]) -> PathBuf {
    let digest: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    Path::new(FOLDER).join(digest + ".cwasm")
}

fn write(path: &Path, compiled: &[u8]) -> Result<()> {
    fs::create_dir_all(FOLDER)?;
    let part = path.with_extension(process::id().to_string());
    fs::write(&part, compiled)?;
    Ok(fs::rename(part, path)?)
}
