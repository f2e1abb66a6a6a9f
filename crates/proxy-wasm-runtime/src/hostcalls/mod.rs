//! The hostcalls: what a guest can ask of the host. One file per group, one [table] of all.

mod buffers;
mod capabilities;
mod foreign;
mod grpc;
mod headers;
mod http_call;
mod lifecycle;
mod local_reply;
mod log;
mod metrics;
mod properties;
mod shared_data;
mod shared_queue;
pub mod table;
mod time;
mod unknown;

use std::borrow::Cow;

use wasmtime::{AsContextMut, Caller, Memory};

use crate::{
    abi::{LogLevel, Status},
    error::{Failure, Trap},
    guest::{Allocator, GuestMemory},
    host::Host,
    vm::State,
};

pub use capabilities::{Capabilities, UnknownHostcall};
pub use local_reply::LocalReply;
pub(crate) use unknown::define_unknown_imports;

/// How a hostcall ends: `OK`, another status, or a trap.
pub(crate) type Outcome = Result<(), Failure>;

/// One hostcall on its way: the guest that made it and what it may reach.
pub(crate) struct Call<'a, H: Host> {
    caller: Caller<'a, State<H>>,
    name: &'static str,
}

/// The guest's memory together with the state of its store.
///
/// # Errors
/// When the guest exports no memory.
#[inline]
pub(crate) fn memory_of<'a, H: Host>(
    caller: &'a mut Caller<'_, State<H>>,
) -> Result<(GuestMemory<'a>, &'a mut State<H>), Trap> {
    let memory = match caller.data().memory {
        Some(memory) => memory,
        None => find_memory(caller)?,
    };
    let (bytes, state) = memory.data_and_store_mut(caller);
    Ok((GuestMemory::new(bytes), state))
}

/// The memory of an instance that does not stand yet: its start section runs.
#[cold]
fn find_memory<H: Host>(caller: &mut Caller<'_, State<H>>) -> Result<Memory, Trap> {
    caller.get_export("memory").and_then(|export| export.into_memory()).ok_or(Trap::NoMemory)
}

impl<'a, H: Host> Call<'a, H> {
    /// Runs a hostcall and turns its end into what wasm expects.
    pub fn run(
        name: &'static str,
        mut caller: Caller<'a, State<H>>,
        hostcall: impl FnOnce(&mut Self) -> Outcome,
    ) -> wasmtime::Result<u32> {
        if let Some(status) = capabilities::denied(caller.data_mut(), name) {
            return Ok(status as u32);
        }
        match hostcall(&mut Self { caller, name }) {
            Ok(()) => Ok(Status::Ok as u32),
            Err(Failure::Status(status)) => Ok(status as u32),
            Err(Failure::Trap(trap)) => Err(trap.context(name)),
        }
    }

    pub fn state(&self) -> &State<H> {
        self.caller.data()
    }

    pub fn state_mut(&mut self) -> &mut State<H> {
        self.caller.data_mut()
    }

    pub fn memory(&mut self) -> Result<(GuestMemory<'_>, &mut State<H>), Trap> {
        memory_of(&mut self.caller)
    }

    /// The name of `size` bytes at `pointer` in the guest's memory.
    pub fn name(&mut self, pointer: u32, size: u32) -> Result<&[u8], Trap> {
        let (memory, _) = self.memory()?;
        memory.into_name(pointer, size)
    }

    /// # Errors
    /// When the guest's allocator is running, which may not use the host.
    pub fn check_unrestricted(&self) -> Result<(), Trap> {
        if self.state().allocating { Err(Trap::Restricted(self.name)) } else { Ok(()) }
    }

    /// The stream that the call acts on; `None` in a plugin context.
    ///
    /// # Errors
    /// As [`Self::check_unrestricted`].
    #[inline]
    pub fn stream(&self) -> Result<Option<H::HttpStream>, Trap> {
        self.check_unrestricted()?;
        Ok(self.state().effective_stream())
    }

    /// The stream that the call is about to change; when there is none, a line in the log says so.
    #[inline]
    pub fn stream_to_change(&self) -> Result<Option<H::HttpStream>, Trap> {
        let stream = self.stream()?;
        if stream.is_none() {
            self.log_missing_stream();
        }
        Ok(stream)
    }

    #[cold]
    fn log_missing_stream(&self) {
        self.log(LogLevel::Error, format_args!("{}: there is no stream in a plugin context", self.name));
    }

    /// Logs where the guest's own messages of this moment go.
    pub fn log(&self, level: LogLevel, message: std::fmt::Arguments<'_>) {
        let text = message.as_str().map_or_else(|| Cow::from(message.to_string()), Cow::from);
        self.state().log(level, text.as_bytes());
    }

    /// Hands `bytes` to the guest: in memory of its own allocator, pointer and size in the two out parameters.
    /// Nothing is allocated for no bytes; the pointer is null then.
    pub fn return_bytes(&mut self, bytes: &[u8], pointer_out: u32, size_out: u32) -> Outcome {
        let size = u32::try_from(bytes.len()).map_err(|_| Status::InternalFailure)?;
        self.return_with(size, pointer_out, size_out, |out| out.copy_from_slice(bytes))
    }

    /// As [`Self::return_bytes`], with `fill` writing the `size` bytes in place.
    pub fn return_with(&mut self, size: u32, pointer_out: u32, size_out: u32, fill: impl FnOnce(&mut [u8])) -> Outcome {
        let pointer = if size == 0 { 0 } else { self.allocate(size)? };
        let (mut memory, _) = self.memory()?;
        fill(memory.bytes_mut(pointer, size)?);
        memory.write_u32(pointer_out, pointer)?;
        memory.write_u32(size_out, size)?;
        Ok(())
    }

    fn allocate(&mut self, size: u32) -> Result<u32, Failure> {
        self.check_unrestricted()?;
        // Taken out for the call and put back: a clone of a function counts references.
        let allocator = match self.state_mut().allocator.take() {
            Some(allocator) => allocator,
            None => self.find_allocator()?,
        };
        self.state_mut().allocating = true;
        let pointer = allocator.function.call(self.caller.as_context_mut(), size);
        let state = self.state_mut();
        state.allocating = false;
        let export = allocator.export;
        state.allocator = Some(allocator);
        match pointer.map_err(Failure::Trap)? {
            0 => Err(Trap::OutOfMemory { export, size }.into()),
            pointer => Ok(pointer),
        }
    }

    /// The allocator of an instance that does not stand yet: its start section is running.
    fn find_allocator(&mut self) -> Result<Allocator, Trap> {
        let exports = ["proxy_on_memory_allocate", "malloc"]
            .map(|name| (name, self.caller.get_export(name).and_then(|export| export.into_func())));
        let export = |name: &str| exports.iter().find(|(export, _)| *export == name).and_then(|(_, f)| *f);
        Allocator::find(&self.caller, export).ok_or(Trap::NoAllocator)
    }
}
