//! The two channels of a hostcall's failure, and the failures of the host itself.

use thiserror::Error;

use crate::{
    abi::{Status, pairs::MalformedPairs},
    guest::LONGEST_NAME,
};

/// Why a guest is stopped. A trap is a defect of the plugin: the message names the rule that it broke.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trap {
    /// A pointer or a size points outside of the guest's memory.
    #[error("access memory addr {pointer} with size {size}, but the guest has {memory} bytes of memory")]
    OutOfBounds {
        /// As the guest gave it.
        pointer: u32,
        /// As the guest gave it, in bytes.
        size: u32,
        /// The size of the memory, in bytes.
        memory: usize,
    },
    /// The guest's allocator failed.
    #[error("no memory: the guest's {export} returned 0 for {size} bytes")]
    OutOfMemory {
        /// The allocator's name.
        export: &'static str,
        /// What was asked for, in bytes.
        size: u32,
    },
    /// A hostcall had something to return and nowhere to put it.
    #[error("the guest exports neither proxy_on_memory_allocate nor malloc")]
    NoAllocator,
    /// The guest's allocator called the host.
    #[error("{0} is not allowed while the guest's allocator runs")]
    Restricted(&'static str),
    /// A header map of the guest is not one.
    #[error(transparent)]
    MalformedPairs(#[from] MalformedPairs),
    /// The guest's memory would be larger than it may be.
    #[error("memory_limit allows {limit} bytes of memory, the guest wants {desired}")]
    MemoryLimit {
        /// In bytes.
        desired: usize,
        /// In bytes.
        limit: usize,
    },
    /// The guest's tables would be larger than they may be.
    #[error("table_limit allows {limit} elements of all tables, the guest wants {desired}")]
    TableLimit {
        /// In elements.
        desired: usize,
        /// In elements.
        limit: usize,
    },
    /// A name is longer than [`LONGEST_NAME`].
    #[error("a name may have {LONGEST_NAME} bytes, the guest's has {size}")]
    NameLimit {
        /// In bytes.
        size: usize,
    },
    /// A body would be larger than the guest may make it.
    #[error("body_limit allows {limit} bytes of a body, the guest wants {desired}")]
    BodyLimit {
        /// In bytes.
        desired: usize,
        /// In bytes.
        limit: usize,
    },
    /// A callback would set more headers and properties than it may.
    #[error("header_limit allows {limit} bytes of headers and properties in a callback, the guest wants {desired}")]
    HeaderLimit {
        /// In bytes.
        desired: usize,
        /// In bytes.
        limit: usize,
    },
    /// The proxy would keep more for a stream until it ends than it may.
    #[error("pool_limit allows {limit} bytes that are kept until the end of a request, the guest wants {desired}")]
    PoolLimit {
        /// In bytes.
        desired: usize,
        /// In bytes.
        limit: usize,
    },
    /// The module exports no memory, so that no hostcall can read an argument.
    #[error("the guest exports no memory")]
    NoMemory,
}

impl Trap {
    /// Whether the guest is stopped because it wanted more than it may have.
    pub fn is_limit(&self) -> bool {
        matches!(
            self,
            Self::MemoryLimit { .. }
                | Self::TableLimit { .. }
                | Self::BodyLimit { .. }
                | Self::NameLimit { .. }
                | Self::HeaderLimit { .. }
                | Self::PoolLimit { .. }
                | Self::MalformedPairs(MalformedPairs::Size { .. } | MalformedPairs::Count { .. })
        )
    }
}

/// What stopped a guest, for whoever counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrapKind {
    /// A callback took longer than it may.
    Deadline,
    /// The guest wanted more memory, or larger tables, header maps or bodies, than it may have.
    Limit,
    /// Its stack was exhausted.
    Stack,
    /// It stopped itself: most panics and aborts.
    Unreachable,
    /// It called `proc_exit`.
    Exit,
    /// It gave a hostcall what no guest may: see [`Trap`].
    Hostcall,
    /// The host itself failed in a hostcall: it panicked.
    Panic,
    /// Anything else: a division by zero, an access outside of its memory.
    Other,
}

impl TrapKind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::Deadline,
        Self::Limit,
        Self::Stack,
        Self::Unreachable,
        Self::Exit,
        Self::Hostcall,
        Self::Panic,
        Self::Other,
    ];

    /// In one word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Deadline => "deadline",
            Self::Limit => "limit",
            Self::Stack => "stack",
            Self::Unreachable => "unreachable",
            Self::Exit => "exit",
            Self::Hostcall => "hostcall",
            Self::Panic => "panic",
            Self::Other => "other",
        }
    }

    pub(crate) fn of(error: &wasmtime::Error) -> Self {
        if let Some(trap) = error.downcast_ref::<Trap>() {
            return if trap.is_limit() { Self::Limit } else { Self::Hostcall };
        }
        if error.downcast_ref::<wasmtime_wasi::I32Exit>().is_some() {
            return Self::Exit;
        }
        match error.downcast_ref::<wasmtime::Trap>() {
            Some(wasmtime::Trap::Interrupt) => Self::Deadline,
            Some(wasmtime::Trap::StackOverflow) => Self::Stack,
            Some(wasmtime::Trap::UnreachableCodeReached) => Self::Unreachable,
            _ => Self::Other,
        }
    }
}

/// How a hostcall ends when not with `OK`: a status for the guest, or a trap that stops it.
#[derive(Debug)]
pub enum Failure {
    /// The guest sees this status and goes on.
    Status(Status),
    /// The guest is stopped.
    Trap(wasmtime::Error),
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

impl From<Trap> for Failure {
    fn from(trap: Trap) -> Self {
        Self::Trap(trap.into())
    }
}

impl From<MalformedPairs> for Failure {
    fn from(malformed: MalformedPairs) -> Self {
        Trap::from(malformed).into()
    }
}

/// Why a module was not loaded. The messages are those of wasm-nginx-module where it has one.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The bytes do not begin as a module does.
    #[error("failed to new module: it is no WebAssembly module, but {found}")]
    NoModule {
        /// In words.
        found: String,
    },
    /// The bytes are no module that the engine can compile.
    #[error("failed to new module: {}", in_one_line(.0))]
    Compile(wasmtime::Error),
    /// The module has more of something than a module may have.
    #[error("failed to new module: the module has {value} {what}, {limit} are allowed")]
    ModuleLimit {
        /// Of what.
        what: &'static str,
        /// How many it has.
        value: usize,
        /// How many it may have.
        limit: usize,
    },
    /// As [`Self::ModuleLimit`], of one of its functions.
    #[error("failed to new module: function {function} has {value} {what}, {limit} are allowed")]
    FunctionLimit {
        /// Its number among those that are not imported.
        function: usize,
        /// Of what.
        what: &'static str,
        /// How many it has.
        value: usize,
        /// How many it may have.
        limit: usize,
    },
    /// The module can't be instantiated.
    #[error("failed to new instance: {0:#}")]
    Instantiate(wasmtime::Error),
    /// The module has no memory.
    #[error("the wasm plugin doesn't export memory")]
    NoMemory,
    /// A callback has a type that the ABI does not give it.
    #[error("the wasm plugin exports {name} with the type {found}, but it must be {expected}")]
    CallbackType {
        /// The export.
        name: &'static str,
        /// Its type.
        found: String,
        /// The type that the ABI gives it.
        expected: &'static str,
    },
    /// `_initialize`, `main` or `_start` failed.
    #[error("failed to call function: {0:?}")]
    Start(wasmtime::Error),
}

/// An error with its causes. Some of wasmtime's have several lines.
fn in_one_line(error: &wasmtime::Error) -> String {
    let text = format!("{error:#}");
    text.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

/// Why a call into a plugin did not happen or did not end well. The reason is in the log.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallError {
    /// The guest trapped.
    #[error("the guest trapped")]
    Trapped,
    /// The guest refused: a configuration, or its start.
    #[error("the guest refused")]
    Refused,
    /// The host panicked: a defect of its own. The guest was in the middle of something, and its instance is gone.
    #[error("the host panicked: this is a defect of the host, please report it")]
    Panicked,
    /// The context belongs to an instance that trapped since.
    #[error("the context died with its virtual machine")]
    Gone,
    /// The plugin keeps failing.
    #[error("the plugin keeps failing and rests")]
    Resting,
    /// The plugin is running already: a callback may not be called from inside of a hostcall.
    #[error("the plugin is running already")]
    Busy,
}
