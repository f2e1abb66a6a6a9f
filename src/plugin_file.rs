//! Reads the files of plugins.

use std::{
    ffi::OsStr,
    fs::{self, File, FileType, Metadata, OpenOptions},
    io::{self, Read},
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, OpenOptionsExt},
    },
};

use proxy_wasm_runtime::vm::MODULE_SIZE;
use thiserror::Error;

/// Why a file is not read, in the words of Lua's `io.open` where it has some.
#[derive(Debug, Error)]
pub enum Refusal {
    #[error("{}", without_number(.0))]
    Io(#[from] io::Error),
    #[error("Is {0}, not a regular file")]
    Kind(&'static str),
    #[error("Has more than the {MODULE_SIZE} bytes that a module may have")]
    Size,
}

/// The bytes of a regular file that is no larger than a module may be. Nothing else is opened, or waited for.
///
/// # Errors
/// When the file is not there, may not be read, is of another kind, or is too large.
pub fn read(path: &[u8]) -> Result<Vec<u8>, Refusal> {
    let path = OsStr::from_bytes(path);
    check(&fs::metadata(path)?)?;
    // Another file may have taken its place by now: one that nobody writes to is not waited for.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    check(&file.metadata()?)?;
    read_all(&file)
}

fn check(metadata: &Metadata) -> Result<(), Refusal> {
    if metadata.is_dir() {
        return Err(io::Error::from_raw_os_error(libc::EISDIR).into());
    }
    if let Some(kind) = other_kind(metadata.file_type()) {
        return Err(Refusal::Kind(kind));
    }
    if metadata.len() > MODULE_SIZE as u64 { Err(Refusal::Size) } else { Ok(()) }
}

/// What it is when it is neither a regular file nor a directory.
fn other_kind(kind: FileType) -> Option<&'static str> {
    if kind.is_file() {
        None
    } else if kind.is_fifo() {
        Some("a FIFO")
    } else if kind.is_socket() {
        Some("a socket")
    } else if kind.is_char_device() || kind.is_block_device() {
        Some("a device")
    } else {
        Some("of an unknown kind")
    }
}

/// It may grow while it is read.
fn read_all(file: &File) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    file.take(MODULE_SIZE as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > MODULE_SIZE { Err(Refusal::Size) } else { Ok(bytes) }
}

/// `No such file or directory`, without Rust's ` (os error 2)`.
fn without_number(error: &io::Error) -> String {
    let text = error.to_string();
    let number = error.raw_os_error().map(|code| format!(" (os error {code})")).unwrap_or_default();
    text.strip_suffix(&number).unwrap_or(&text).to_owned()
}
