//! What a module may have, so that it compiles in a time and with the memory that its size suggests.

use wasmparser::{BlockType, CompositeInnerType, FunctionBody, Operator, Parser, Payload};

use crate::{error::LoadError, vm::limits::MODULE_SIZE};

/// Functions, and imports of them.
const FUNCTIONS: usize = 65_536;
const IMPORTS: usize = 1024;
/// Of a function, in bytes.
const BODY: usize = 4 << 20;
/// Of a function, its parameters among them.
const LOCALS: usize = 50_000;
/// Of a function's type.
const VALUES: usize = 256;
/// Of all types of functions together.
const ALL_VALUES: usize = 65_536;
/// Parameters and results of blocks that are open at one place.
const BLOCK_VALUES: usize = 1024;
/// See [`Weight`]: of all large functions.
const WEIGHT: usize = 20_000_000;

/// A function of less weight, whose loops are not nested deeper, takes no longer to compile than its size suggests.
const LARGE: usize = 100_000;
const DEEP: usize = 8;
/// The same limits for code that is worth to be optimized: beyond them optimization takes too long.
const OPTIMIZED_CODE: usize = 16 << 20;
const OPTIMIZED_BODY: usize = 512 << 10;
const OPTIMIZED_WEIGHT: usize = 10_000_000;
const OPTIMIZED_LOOPS: usize = 100;

/// How a module is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effort {
    /// To fast code.
    Optimized,
    /// In a time that grows no faster than the code.
    Plain,
}

/// What makes a compiler slow, of one function: the compiler looks at each local wherever paths of control meet, more often in
/// loops, and its allocation of registers tries anew for each nested loop.
#[derive(Default)]
struct Weight {
    locals: usize,
    /// Blocks, loops, and branches with each of their targets.
    paths: usize,
    loops: usize,
    deepest_loop: usize,
}

impl Weight {
    /// To compile plainly. A million takes a fifth of a second.
    fn plain(&self) -> usize {
        self.locals.saturating_mul(self.paths + 10 * self.loops)
    }

    /// To compile with optimization.
    fn optimized(&self) -> usize {
        let nested = self.deepest_loop.saturating_mul(self.deepest_loop + self.locals) / 32;
        self.plain().saturating_add(self.locals.saturating_mul(nested))
    }
}

/// Sums of what has been seen of a module.
#[derive(Default)]
struct Module {
    /// Parameters and results of the types, by their index.
    types: Vec<(usize, usize)>,
    all_values: usize,
    /// The types of the functions that have bodies.
    functions: Vec<u32>,
    bodies: usize,
    code: usize,
    weight: usize,
    optimized_weight: usize,
    is_plain: bool,
}

/// Checks a module, and says how it is to be compiled. One that is no valid module may have either.
///
/// # Errors
/// When the module has more of something than it may.
pub(super) fn check(bytes: &[u8]) -> Result<Effort, LoadError> {
    limit("bytes", bytes.len(), MODULE_SIZE)?;
    let mut module = Module::default();
    for payload in Parser::new(0).parse_all(bytes) {
        // The compiler says what is wrong with it.
        let Ok(payload) = payload else { break };
        module.add(payload)?;
    }
    let is_optimized = !module.is_plain && module.code <= OPTIMIZED_CODE && module.optimized_weight <= OPTIMIZED_WEIGHT;
    Ok(if is_optimized { Effort::Optimized } else { Effort::Plain })
}

impl Module {
    fn add(&mut self, payload: Payload<'_>) -> Result<(), LoadError> {
        match payload {
            Payload::TypeSection(types) => {
                for group in types.into_iter().flatten() {
                    for ty in group.into_types() {
                        self.add_type(&ty.composite_type.inner)?;
                    }
                }
                Ok(())
            }
            Payload::ImportSection(imports) => limit("imports", imports.count() as usize, IMPORTS),
            Payload::FunctionSection(functions) => {
                limit("functions", functions.count() as usize, FUNCTIONS)?;
                self.functions = functions.into_iter().map_while(Result::ok).collect();
                Ok(())
            }
            Payload::CodeSectionStart { count, .. } => limit("functions", count as usize, FUNCTIONS),
            Payload::CodeSectionEntry(body) => self.add_body(&body),
            _ => Ok(()),
        }
    }

    fn add_type(&mut self, ty: &CompositeInnerType) -> Result<(), LoadError> {
        let values = match ty {
            CompositeInnerType::Func(function) => (function.params().len(), function.results().len()),
            _ => (0, 0),
        };
        self.all_values += values.0 + values.1;
        self.types.push(values);
        limit("parameters and results in one type", values.0 + values.1, VALUES)?;
        limit("parameters and results in all types", self.all_values, ALL_VALUES)
    }

    fn add_body(&mut self, body: &FunctionBody<'_>) -> Result<(), LoadError> {
        let (number, size) = (self.bodies, body.range().len());
        self.bodies += 1;
        self.code += size;
        let ty = self.functions.get(number).and_then(|ty| self.types.get(*ty as usize));
        let parameters = ty.map_or(0, |values| values.0);
        let of_function = |error| match error {
            LoadError::ModuleLimit { what, value, limit } => {
                LoadError::FunctionLimit { function: number, what, value, limit }
            }
            error => error,
        };
        limit("bytes", size, BODY).map_err(of_function)?;
        let weight = self.weigh(body, parameters).map_err(of_function)?;
        if weight.optimized() > LARGE || weight.deepest_loop > DEEP {
            self.weight = self.weight.saturating_add(weight.plain());
            self.optimized_weight = self.optimized_weight.saturating_add(weight.optimized());
        }
        self.is_plain |= size > OPTIMIZED_BODY || weight.deepest_loop > OPTIMIZED_LOOPS;
        limit("locals × branches in large functions", self.weight, WEIGHT)
    }

    fn weigh(&self, body: &FunctionBody<'_>, parameters: usize) -> Result<Weight, LoadError> {
        let mut weight = Weight { locals: parameters, ..Weight::default() };
        for (count, _) in body.get_locals_reader().into_iter().flatten().map_while(Result::ok) {
            weight.locals = weight.locals.saturating_add(count as usize);
        }
        limit("locals", weight.locals, LOCALS)?;
        // Open blocks: whether each is a loop, and how many values it has.
        let mut open: Vec<(bool, usize)> = Vec::new();
        let (mut loops, mut values) = (0, 0);
        for operator in body.get_operators_reader().into_iter().flatten().map_while(Result::ok) {
            match operator {
                Operator::Block { blockty } | Operator::If { blockty } | Operator::Loop { blockty } => {
                    let is_loop = matches!(operator, Operator::Loop { .. });
                    let of_block = self.values_of(blockty);
                    open.push((is_loop, of_block));
                    values += of_block;
                    loops += usize::from(is_loop);
                    weight.paths += 1;
                    weight.loops += usize::from(is_loop);
                    weight.deepest_loop = weight.deepest_loop.max(loops);
                    limit("parameters and results of nested blocks", values, BLOCK_VALUES)?;
                }
                Operator::End => {
                    let (is_loop, of_block) = open.pop().unwrap_or_default();
                    loops -= usize::from(is_loop);
                    values -= of_block;
                }
                Operator::BrTable { targets } => weight.paths += targets.len() as usize + 1,
                Operator::Br { .. } | Operator::BrIf { .. } | Operator::Return => weight.paths += 1,
                _ => {}
            }
        }
        Ok(weight)
    }

    fn values_of(&self, block: BlockType) -> usize {
        match block {
            BlockType::Empty => 0,
            BlockType::Type(_) => 1,
            BlockType::FuncType(ty) => self.types.get(ty as usize).map_or(0, |values| values.0 + values.1),
        }
    }
}

fn limit(what: &'static str, value: usize, limit: usize) -> Result<(), LoadError> {
    if value > limit { Err(LoadError::ModuleLimit { what, value, limit }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_text(text: &str) -> Result<Effort, String> {
        check(&wat::parse_str(text).unwrap()).map_err(|error| error.to_string())
    }

    /// A function with so many locals, all of them changed in the innermost of so many nested loops.
    fn nested(loops: usize, locals: usize) -> String {
        let touched: String =
            (1..=locals).map(|n| format!("(local.set {n} (i32.add (local.get {n}) (i32.const 1)))")).collect();
        let (open, close) = ("(loop ".repeat(loops), "(br_if 0 (local.get 0)))".repeat(loops));
        format!("(module (func (param i32) (local {}) {open} {touched} {close}))", "i32 ".repeat(locals))
    }

    #[test]
    fn what_takes_long_to_optimize_is_compiled_plainly() {
        assert_eq!(check_text(&nested(10, 100)), Ok(Effort::Optimized));
        assert_eq!(check_text(&nested(20, 1000)), Ok(Effort::Optimized));
        assert_eq!(check_text(&nested(100, 2000)), Ok(Effort::Plain));
        assert_eq!(check_text(&nested(101, 1)), Ok(Effort::Plain));
    }

    #[test]
    fn more_than_a_module_may_have_is_refused_by_name_value_and_limit() {
        let of_values = format!("(module (type (func (param {}))))", "i32 ".repeat(257));
        let of_blocks = format!(
            "(module (type $t (func (result {}))) (func {} unreachable {}))",
            "i32 ".repeat(100),
            "(block (type $t) ".repeat(11),
            ")".repeat(11)
        );
        let of_imports = format!("(module {})", "(import \"env\" \"f\" (func))".repeat(1025));
        for (module, error) in [
            (nested(500, 10_000), "the module has 60006000 locals × branches in large functions, 20000000 are allowed"),
            (of_values, "the module has 257 parameters and results in one type, 256 are allowed"),
            (of_blocks, "function 0 has 1100 parameters and results of nested blocks, 1024 are allowed"),
            (of_imports, "the module has 1025 imports, 1024 are allowed"),
        ] {
            let found = check_text(&module).unwrap_err();
            assert!(found.starts_with("failed to new module: ") && found.ends_with(error), "{found}");
        }
        let locals = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x0a\x08\x01\x06\x01\xd1\x86\x03\x7f\x0b";
        assert_eq!(
            check(locals).unwrap_err().to_string(),
            "failed to new module: function 0 has 50001 locals, 50000 are allowed"
        );
        assert_eq!(
            check(&vec![0; MODULE_SIZE + 1]).unwrap_err().to_string(),
            "failed to new module: the module has 67108865 bytes, 67108864 are allowed"
        );
    }

    #[test]
    fn what_is_no_module_is_left_to_the_compiler() {
        for bytes in [&b""[..], b"\0asm", b"\0asm\x01\0\0\0\x0a\xff\xff\xff\xff\x0f", b"<html>"] {
            assert!(check(bytes).is_ok());
        }
    }
}
