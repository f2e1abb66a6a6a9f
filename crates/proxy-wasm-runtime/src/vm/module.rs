use std::sync::Arc;

use wasmtime::{InstancePre, Linker, Store};

use crate::{
    abi::AbiVersion,
    context::Contexts,
    error::LoadError,
    host::Host,
    hostcalls::define_unknown_imports,
    vm::{State, file_kind::other_than_module, limits::Ticks},
};

/// A compiled module with all its imports resolved.
pub(crate) struct Module<H: Host> {
    pub pre: InstancePre<State<H>>,
    /// The version that it declares; one that declares none is taken for the newest.
    pub abi: AbiVersion,
    /// The engine's.
    pub ticks: Ticks,
    /// It imports a hostcall that has it called when there is no stream for it.
    pub acts_without_streams: bool,
    /// What whoever loads it should know, a line each.
    pub report: Vec<String>,
}

impl<H: Host> Module<H> {
    /// # Errors
    /// When `bytes` are no module, export no memory, or import something else than functions.
    pub fn compile(linker: &Linker<State<H>>, ticks: &Ticks, host: H, bytes: &[u8]) -> Result<Self, LoadError> {
        if let Some(found) = other_than_module(bytes) {
            return Err(LoadError::NoModule { found });
        }
        #[cfg(not(feature = "compile-once"))]
        let module = wasmtime::Module::from_binary(linker.engine(), bytes);
        #[cfg(feature = "compile-once")]
        let module = super::compiled::module(linker.engine(), bytes);
        let module = module.map_err(LoadError::Compile)?;
        let declared = AbiVersion::ALL.into_iter().rfind(|version| module.get_export(version.export()).is_some());
        let abi = declared.unwrap_or(AbiVersion::V0_2_1);

        let mut linker = linker.clone();
        let mut types =
            Store::new(linker.engine(), State::new(host, Arc::default(), abi, ticks.clone(), Contexts::default()));
        let mut report = define_unknown_imports(&mut linker, &mut types, &module).map_err(LoadError::Instantiate)?;
        if declared.is_none() {
            report.push(report_abi(&module));
        }
        let pre = linker.instantiate_pre(&module).map_err(LoadError::Instantiate)?;
        if module.get_export("memory").is_none_or(|export| export.memory().is_none()) {
            return Err(LoadError::NoMemory);
        }
        let acts_without_streams = module.imports().any(|import| acts_without_streams(import.name()));
        Ok(Self { pre, abi, ticks: ticks.clone(), acts_without_streams, report })
    }

    /// A store for one instance of the module.
    pub fn store(&self, state: State<H>) -> Store<State<H>> {
        let mut store = Store::new(self.pre.module().engine(), state);
        store.limiter(|state| &mut state.limiter);
        store
    }
}

/// Of a module that declares no version that is known.
fn report_abi(module: &wasmtime::Module) -> String {
    /// How much is told of what it exports in place of one.
    const VERSIONS: usize = 4;
    const NAME: usize = 64;
    let names = module.exports().map(|export| export.name()).filter(|name| name.starts_with("proxy_abi_version_"));
    let found: Vec<_> = names.take(VERSIONS).map(|name| name.chars().take(NAME).collect::<String>()).collect();
    if found.is_empty() {
        return "it exports no proxy_abi_version_*: it is run as one of ABI 0.2.1".to_owned();
    }
    let found = found.join(", ").escape_debug().to_string();
    format!("it exports {found}, which is not known: it is run as one of ABI 0.2.1")
}

/// Whether a callout, a tick or a watch of a queue can come of a call of this import.
fn acts_without_streams(import: &str) -> bool {
    matches!(
        import,
        "proxy_http_call"
            | "proxy_grpc_call"
            | "proxy_grpc_stream"
            | "proxy_register_shared_queue"
            | "proxy_set_tick_period_milliseconds"
    )
}
