//! Every hostcall and every import of WASI with any arguments, in every phase.

use arbitrary::{Result, Unstructured};

use super::embedding::{self, Embedding, Step};

/// A request and a response, with what can come in between.
const STEPS: &[Step] = &[
    embedding::CONFIGURE,
    embedding::OPEN,
    embedding::REQUEST_HEADERS,
    embedding::ANSWER,
    embedding::RESUME,
    embedding::REQUEST_BODY,
    embedding::STREAM_MESSAGE,
    embedding::ANSWER,
    embedding::ANSWER,
    embedding::RESUME,
    embedding::TICK,
    embedding::RESPONSE_HEADERS,
    embedding::RESPONSE_CHUNK,
    embedding::RESPONSE_END,
    embedding::POLL_QUEUES,
    embedding::FOREIGN,
    embedding::CLOSE,
    embedding::OPEN,
    embedding::REQUEST_HEADERS,
];

/// The input says which plugin is loaded; the rest is its program.
pub fn run(input: &[u8]) {
    let _ = call(&mut Unstructured::new(input));
}

fn call(input: &mut Unstructured<'_>) -> Result<()> {
    let program = input.peek_bytes(input.len()).unwrap_or_default();
    let program = program.get(2..).unwrap_or_default().to_vec();
    let Some(mut embedding) = Embedding::load(input, &program)? else { return Ok(()) };
    let details = [input.arbitrary::<u8>()?; 64];
    let mut details = Unstructured::new(&details);
    for step in STEPS {
        embedding.step(*step, &mut details)?;
    }
    embedding.end();
    Ok(())
}
