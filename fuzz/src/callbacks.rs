//! Callbacks in any order: what the embedding does, with a guest that traps, refuses, spins, calls out and answers as it likes.

use arbitrary::{Result, Unstructured};

use super::embedding::Embedding;

/// The input says which plugin is loaded, how long its program is, the program, and then what the embedding does.
pub fn run(input: &[u8]) {
    let _ = call(&mut Unstructured::new(input));
}

fn call(input: &mut Unstructured<'_>) -> Result<()> {
    let mut options = Unstructured::new(input.bytes(1)?);
    let size = usize::from(input.arbitrary::<u8>()?).min(input.len());
    let Some(mut embedding) = Embedding::load(&mut options, input.bytes(size)?)? else { return Ok(()) };
    while !input.is_empty() {
        let step = input.arbitrary()?;
        embedding.step(step, input)?;
    }
    embedding.end();
    Ok(())
}
