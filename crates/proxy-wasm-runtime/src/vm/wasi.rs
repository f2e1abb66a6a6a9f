//! WASI for plugins: clocks, random numbers, an empty environment, stdout and stderr to the log. No files, no sockets.
//!
//! `wasmtime-wasi` serves what needs no executor. Its other functions would start a thread pool at their first use,
//! which a worker forked afterwards does not have; they stand here, and say that there is nothing.

use wasmtime::{Caller, FuncType, Linker, Val, ValType};
use wasmtime_wasi::{
    WasiCtxBuilder,
    p1::{self, WasiP1Ctx},
};

use crate::{host::Host, hostcalls::memory_of, vm::State};

const SUCCESS: u32 = 0;
const BADF: u32 = 8;
const FAULT: u32 = 21;
const INVAL: u32 = 28;
const NOENT: u32 = 44;
const NOSYS: u32 = 52;
const NOTSUP: u32 = 58;

/// How many parts one `fd_write` may have, as POSIX's IOV_MAX.
const MOST_VECTORS: u32 = 1024;
/// How many bytes one `fd_write` takes; the guest comes back with the others. Its deadline does not end a hostcall.
const MOST_BYTES: usize = 64 << 10;
/// How many bytes one `random_get` gives, for the same reason.
const MOST_RANDOM: u32 = 1 << 20;

/// Functions of both previews that answer a constant: name, parameters (`i` i32, `I` i64), errno.
const CONSTANT: &[(&str, &str, u32)] = &[
    ("fd_advise", "iIIi", NOTSUP),
    ("fd_close", "i", SUCCESS),
    ("fd_datasync", "i", NOTSUP),
    ("fd_filestat_get", "ii", BADF),
    ("fd_filestat_set_size", "iI", NOTSUP),
    ("fd_filestat_set_times", "iIIi", NOTSUP),
    ("fd_pread", "iiiIi", NOTSUP),
    ("fd_pwrite", "iiiIi", NOTSUP),
    ("fd_read", "iiii", NOSYS),
    ("fd_readdir", "iiiIi", NOTSUP),
    ("fd_renumber", "ii", NOTSUP),
    ("fd_seek", "iIii", SUCCESS),
    ("fd_sync", "i", NOTSUP),
    ("path_create_directory", "iii", NOTSUP),
    ("path_filestat_get", "iiiii", NOTSUP),
    ("path_filestat_set_times", "iiiiIIi", NOTSUP),
    ("path_link", "iiiiiii", NOTSUP),
    ("path_open", "iiiiiIIii", NOENT),
    ("path_readlink", "iiiiii", NOTSUP),
    ("path_remove_directory", "iii", NOTSUP),
    ("path_rename", "iiiiii", NOTSUP),
    ("path_symlink", "iiiii", NOTSUP),
    ("path_unlink_file", "iii", NOTSUP),
];

/// What one instance has: these environment variables, no arguments, no files.
pub(crate) fn context(environment: &[(String, String)]) -> WasiP1Ctx {
    WasiCtxBuilder::new().envs(environment).build_p1()
}

/// Defines `wasi_snapshot_preview1` and `wasi_unstable`.
pub(crate) fn link<H: Host>(linker: &mut Linker<State<H>>) -> wasmtime::Result<()> {
    p1::add_to_linker_sync(linker, |state: &mut State<H>| &mut state.wasi)?;
    wasmtime_wasi::p0::add_to_linker_sync(linker, |state: &mut State<H>| &mut state.wasi)?;
    linker.allow_shadowing(true);
    for module in ["wasi_snapshot_preview1", "wasi_unstable"] {
        for (name, parameters, errno) in CONSTANT {
            let parameters = parameters.chars().map(|c| if c == 'I' { ValType::I64 } else { ValType::I32 });
            let ty = FuncType::new(linker.engine(), parameters, [ValType::I32]);
            linker.func_new(module, name, ty, |_, _, results| {
                results[0] = Val::I32(*errno as i32);
                Ok(())
            })?;
        }
        linker.func_wrap(module, "fd_write", fd_write::<H>)?;
        linker.func_wrap(module, "fd_fdstat_get", fd_fdstat_get::<H>)?;
        linker.func_wrap(module, "poll_oneoff", poll_oneoff::<H>)?;
        linker.func_wrap(module, "random_get", random_get::<H>)?;
    }
    linker.allow_shadowing(false);
    Ok(())
}

fn fd_write<H: Host>(mut caller: Caller<'_, State<H>>, fd: u32, vectors: u32, count: u32, written: u32) -> u32 {
    if count > MOST_VECTORS {
        return INVAL;
    }
    let Ok((mut memory, state)) = memory_of(&mut caller) else { return FAULT };
    let mut stdio = std::mem::take(&mut state.stdio);
    let mut total = 0;
    let mut errno = SUCCESS;
    for index in 0..count {
        let vector = vectors.wrapping_add(index.wrapping_mul(8));
        let part =
            memory.read_u32(vector).and_then(|pointer| memory.bytes(pointer, memory.read_u32(vector.wrapping_add(4))?));
        errno = match part {
            Ok(part) => {
                let part = &part[..part.len().min(MOST_BYTES - total)];
                total += part.len();
                if stdio.write(fd, part, |level, line| state.log(level, line)) { SUCCESS } else { BADF }
            }
            Err(_) => FAULT,
        };
        if errno != SUCCESS {
            break;
        }
    }
    state.stdio = stdio;
    if errno == SUCCESS && memory.write_u32(written, total as u32).is_err() {
        return FAULT;
    }
    errno
}

/// stdout and stderr are character devices that can be written.
fn fd_fdstat_get<H: Host>(mut caller: Caller<'_, State<H>>, fd: u32, out: u32) -> u32 {
    const CHARACTER_DEVICE: u8 = 2;
    const RIGHT_FD_WRITE: u8 = 1 << 6;
    if !(1..=2).contains(&fd) {
        return BADF;
    }
    let Ok((mut memory, _)) = memory_of(&mut caller) else { return FAULT };
    let Ok(stat) = memory.bytes_mut(out, 24) else { return FAULT };
    stat.fill(0);
    stat[0] = CHARACTER_DEVICE;
    stat[8] = RIGHT_FD_WRITE;
    SUCCESS
}

/// A plugin may not wait: no event is ever ready. Go's runtime needs the call to succeed.
fn poll_oneoff<H: Host>(mut caller: Caller<'_, State<H>>, _in: u32, _out: u32, _count: u32, events: u32) -> u32 {
    match memory_of(&mut caller).map(|(mut memory, _)| memory.write_u32(events, 0)) {
        Ok(Ok(())) => SUCCESS,
        _ => FAULT,
    }
}

/// From the operating system at each call: a generator kept in the instance would give forked workers the same numbers.
fn random_get<H: Host>(mut caller: Caller<'_, State<H>>, out: u32, size: u32) -> u32 {
    let Ok((mut memory, _)) = memory_of(&mut caller) else { return FAULT };
    let Ok(bytes) = memory.bytes_mut(out, size) else { return FAULT };
    if size > MOST_RANDOM {
        return INVAL;
    }
    match getrandom::fill(bytes) {
        Ok(()) => SUCCESS,
        Err(_) => NOTSUP,
    }
}
