//! What bytes are that are no module, for whoever loaded the wrong file.

/// How much of a text is looked at for what it is.
const HEAD: usize = 1024;
/// How much of a file is shown, in bytes.
const SHOWN: usize = 16;

/// What begins with which bytes.
const BY_MAGIC: &[(&[u8], &str)] = &[
    (b"\x1f\x8b", "gzip data"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"PK\x05\x06", "a ZIP archive"),
    (b"\x28\xb5\x2f\xfd", "Zstandard data"),
    (b"\xfd7zXZ\0", "XZ data"),
    (b"BZh", "bzip2 data"),
    (b"!<arch>\n", "a static library"),
    (b"BC\xc0\xde", "LLVM bitcode"),
    (b"MZ", "a program for Windows"),
    (b"\xcf\xfa\xed\xfe", "a program for macOS"),
    (b"\xca\xfe\xba\xbe", "a program for macOS, or a Java class"),
    (b"%PDF-", "a PDF document"),
    (b"#!", "a script"),
    (b"version https://git-lfs.github.com/spec/", "a Git LFS pointer: `git lfs pull` gets the file"),
];

/// What a text begins with, in lower case.
const BY_TEXT: &[(&str, &str)] = &[
    ("<!doctype html", "an HTML page"),
    ("<html", "an HTML page"),
    ("<?xml", "an XML document"),
    ("<", "an HTML page or an XML document"),
    ("{", "a JSON document"),
    ("[", "a JSON document"),
    ("(", "WebAssembly's text format (.wat), which wat2wasm compiles"),
    (";;", "WebAssembly's text format (.wat), which wat2wasm compiles"),
];

/// What the bytes are; `None` when they begin as a module does.
pub(super) fn other_than_module(bytes: &[u8]) -> Option<String> {
    if let Some(rest) = bytes.strip_prefix(b"\0asm") {
        return webassembly(rest);
    }
    if bytes.is_empty() {
        return Some("an empty file".to_owned());
    }
    if bytes.starts_with(b"\x7fELF") {
        return Some(elf(bytes).to_owned());
    }
    let known = BY_MAGIC.iter().find(|(magic, _)| bytes.starts_with(magic)).map(|(_, kind)| *kind);
    if let Some(kind) = known.or_else(|| tar(bytes)).or_else(|| text(bytes)) {
        return Some(kind.to_owned());
    }
    let shown = &bytes[..bytes.len().min(SHOWN)];
    Some(format!("{} bytes that begin with \"{}\"", bytes.len(), shown.escape_ascii()))
}

/// By what follows the magic number: a version and a layer, of two bytes each.
fn webassembly(rest: &[u8]) -> Option<String> {
    let Some(&[version, version_high, layer, layer_high]) = rest.first_chunk() else {
        return Some("the beginning of a WebAssembly module, and no more".to_owned());
    };
    match (u16::from_le_bytes([version, version_high]), u16::from_le_bytes([layer, layer_high])) {
        (1, 0) => None,
        (_, 1) => Some("a WebAssembly component".to_owned()),
        (version, layer) => Some(format!("WebAssembly of version {version}, layer {layer}")),
    }
}

fn elf(bytes: &[u8]) -> &'static str {
    /// What wasmtime has for the operating system.
    const WASMTIME: u8 = 200;
    match bytes.get(7) {
        Some(&WASMTIME) => "a module that wasmtime has compiled already (.cwasm)",
        _ => "an ELF file: a program or a shared library",
    }
}

fn tar(bytes: &[u8]) -> Option<&'static str> {
    bytes.get(257..).is_some_and(|rest| rest.starts_with(b"ustar")).then_some("a tar archive")
}

fn text(bytes: &[u8]) -> Option<&'static str> {
    let head = &bytes[..bytes.len().min(HEAD)];
    if head.contains(&0) {
        return None;
    }
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start().to_ascii_lowercase();
    BY_TEXT.iter().find(|(start, _)| head.starts_with(start.as_bytes())).map(|(_, kind)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_no_modules_are_called_what_they_are() {
        for (bytes, kind) in [
            (&b""[..], "an empty file"),
            (b"\0asm", "the beginning of a WebAssembly module, and no more"),
            (b"\0asm\x01\0\0", "the beginning of a WebAssembly module, and no more"),
            (b"\0asm\x0d\0\x01\0", "a WebAssembly component"),
            (b"\0asm\x02\0\0\0", "WebAssembly of version 2, layer 0"),
            (b"\x1f\x8b\x08\0", "gzip data"),
            (b"PK\x03\x04 and more", "a ZIP archive"),
            (b"\x7fELF\x02\x01\x01\0", "an ELF file: a program or a shared library"),
            (b"\x7fELF\x02\x01\x01\xc8", "a module that wasmtime has compiled already (.cwasm)"),
            (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer: `git lfs pull` gets the file"),
            (b"\n <!DOCTYPE html>\n<html>", "an HTML page"),
            (b"\xef\xbb\xbf<HTML>", "an HTML page"),
            (b"<?xml version=\"1.0\"?><Error/>", "an XML document"),
            (b"{\"errors\":[]}", "a JSON document"),
            (b"  (module)", "WebAssembly's text format (.wat), which wat2wasm compiles"),
            (b"hello", "5 bytes that begin with \"hello\""),
            (b"\x1b[31m\nred and long enough", "25 bytes that begin with \"\\x1b[31m\\nred and lo\""),
        ] {
            assert_eq!(other_than_module(bytes).as_deref(), Some(kind), "{bytes:?}");
        }
        let mut archive = [b' '; 512];
        archive[257..262].copy_from_slice(b"ustar");
        assert_eq!(other_than_module(&archive).as_deref(), Some("a tar archive"));
        assert_eq!(other_than_module(b"\0asm\x01\0\0\0"), None);
    }
}
