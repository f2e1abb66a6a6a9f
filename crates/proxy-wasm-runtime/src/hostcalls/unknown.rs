//! What stands in for an import that the ABI does not know.

use wasmtime::{ExternType, Func, FuncType, ImportType, Linker, Module, Store, Val, ValType};

use super::table;
use crate::{abi::Status, host::Host, vm::State};

/// Defines each imported function that is unknown, or known with another type, and returns what to tell about them.
///
/// # Errors
/// When the linker refuses a definition.
pub fn define_unknown_imports<H: Host>(
    linker: &mut Linker<State<H>>,
    store: &mut Store<State<H>>,
    module: &Module,
) -> wasmtime::Result<Vec<String>> {
    let mut report = Vec::new();
    linker.allow_shadowing(true);
    for import in module.imports() {
        let ExternType::Func(wanted) = import.ty() else { continue };
        let known = linker.get_by_import(&mut *store, &import).and_then(|known| known.into_func());
        if known.is_some_and(|known: Func| known.ty(&*store).matches(&wanted)) {
            continue;
        }
        if import.module() == "env"
            && known.is_some()
            && answers_a_status(&wanted)
            && takes_only_i32(&wanted)
            && table::link_form_of_sdk(linker, import.name(), wanted.params().len())?
        {
            continue;
        }
        let what = match known {
            Some(known) => format!("has the type {wanted}, not {}", known.ty(&*store)),
            None => "is unknown".to_owned(),
        };
        report.push(format!(
            "import {}.{} {what}: it does nothing and answers {}",
            import.module(),
            import.name(),
            if answers_a_status(&wanted) { "UNIMPLEMENTED" } else { "zero" }
        ));
        define_stub(linker, &import, wanted)?;
    }
    Ok(report)
}

fn define_stub<H: Host>(linker: &mut Linker<State<H>>, import: &ImportType<'_>, ty: FuncType) -> wasmtime::Result<()> {
    let answer: Vec<Val> = if answers_a_status(&ty) {
        vec![Val::I32(Status::Unimplemented as i32)]
    } else {
        ty.results().filter_map(|result| Val::default_for_ty(&result)).collect()
    };
    linker.func_new(import.module(), import.name(), ty, move |_, _, results| {
        results.clone_from_slice(&answer);
        Ok(())
    })?;
    Ok(())
}

fn answers_a_status(ty: &FuncType) -> bool {
    ty.results().len() == 1 && matches!(ty.result(0), Some(ValType::I32))
}

fn takes_only_i32(ty: &FuncType) -> bool {
    ty.params().all(|parameter| matches!(parameter, ValType::I32))
}
