use std::{
    rc::Rc,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use wasmtime::{Config, Linker, OptLevel, RegallocAlgorithm, WasmBacktraceDetails};

use crate::{
    abi::LogLevel,
    context::{IdMap, Options, Plugin},
    error::LoadError,
    host::Host,
    hostcalls::table,
    vm::{
        Module, State, Ticker, Vm,
        limits::{STACK, Ticks},
        module_limits::{self, Effort},
        wasi,
    },
};

/// Compiles modules and loads plugins. A process needs one.
///
/// It has no threads: what it compiled before a fork can be used after it, and it can compile in the child.
pub struct Engine<H: Host> {
    optimized: Linker<State<H>>,
    /// For modules that would take too long to optimize.
    plain: Linker<State<H>>,
    ticks: Ticks,
    /// Compiled modules that are in use, by the SHA-256 of their bytes.
    modules: Mutex<IdMap<Weak<Module<H>>, [u8; 32]>>,
}

impl<H: Host> Engine<H> {
    /// # Errors
    /// When the machine can't run the code that the engine would generate.
    pub fn new() -> wasmtime::Result<Self> {
        Ok(Self {
            optimized: linker(Effort::Optimized)?,
            plain: linker(Effort::Plain)?,
            ticks: Ticks::default(),
            modules: Mutex::default(),
        })
    }

    /// What makes time pass for the guests: without it no callback has a deadline.
    pub fn ticker(&self) -> Ticker {
        Ticker::new([&self.optimized, &self.plain].map(|linker| linker.engine().clone()), self.ticks.clone())
    }

    /// Loads a plugin: compiles `bytes` unless they are in use already, instantiates them and runs their start functions.
    ///
    /// # Errors
    /// When the bytes are no module that this host can run, or would take too long to compile, or their start functions trap.
    pub fn load(&self, host: H, options: Options, bytes: &[u8]) -> Result<Rc<Plugin<H>>, LoadError> {
        let module = self.module(host.clone(), bytes)?;
        for line in &module.report {
            let message = format!("plugin {:?}: {line}", options.name);
            host.log(None, LogLevel::Warn, message.as_bytes());
        }
        Vm::new(host, Arc::new(options), module).map(Plugin::new)
    }

    /// How many compiled modules plugins are using.
    pub fn modules_in_use(&self) -> usize {
        self.modules.lock().values().filter(|module| module.strong_count() > 0).count()
    }

    fn module(&self, host: H, bytes: &[u8]) -> Result<Arc<Module<H>>, LoadError> {
        let digest = Sha256::digest(bytes).into();
        let mut modules = self.modules.lock();
        if let Some(module) = modules.get(&digest).and_then(Weak::upgrade) {
            return Ok(module);
        }
        let linker = match module_limits::check(bytes)? {
            Effort::Optimized => &self.optimized,
            Effort::Plain => &self.plain,
        };
        let module = Arc::new(Module::compile(linker, &self.ticks, host, bytes)?);
        modules.retain(|_, module| module.strong_count() > 0);
        modules.insert(digest, Arc::downgrade(&module));
        Ok(module)
    }
}

fn linker<H: Host>(effort: Effort) -> wasmtime::Result<Linker<State<H>>> {
    let mut config = Config::new();
    config.wasm_backtrace_details(WasmBacktraceDetails::Enable).epoch_interruption(true).max_wasm_stack(STACK);
    match effort {
        Effort::Optimized => config.cranelift_opt_level(OptLevel::Speed),
        Effort::Plain => {
            config.cranelift_opt_level(OptLevel::None).cranelift_regalloc_algorithm(RegallocAlgorithm::SinglePass)
        }
    };
    let mut linker = Linker::new(&wasmtime::Engine::new(&config)?);
    table::link(&mut linker)?;
    wasi::link(&mut linker)?;
    Ok(linker)
}
