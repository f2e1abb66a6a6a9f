//! The memory of a guest, through hostcalls that read and write it: each does what the same does in a plain array, and each
//! pointer or size that is out of bounds there is a trap.

use std::{cell::Cell, rc::Rc};

use arbitrary::{Result, Unstructured};
use proxy_wasm_memory::Proxy;
use proxy_wasm_runtime::{
    CallError,
    callout::{Callout, Event, HttpResponse},
    context::{Options, Plugin, PluginContext},
    vm::Engine,
};

const PAGE: usize = 1 << 16;
const MOST_PAGES: usize = 3;
/// More than one call of `fd_write` takes.
const TOO_MANY_VECTORS: u32 = 1025;
/// The most bytes that it takes.
const MOST_WRITTEN: usize = 1 << 16;

/// What the guest can have copied into its memory: numbers that are small, at the edge, and large, and text.
const CONFIGURATION: &[u8; 32] = b"\x40\0\0\0\x08\0\0\0\xfc\xff\0\0\x04\0\0\0\xff\xff\xff\xfftext\nline\xe2\x82\0";

thread_local! {
    static LOADER: Loader = Loader::new();
    /// A guest that lives is used again.
    static GUEST: Cell<Option<Guest>> = const { Cell::new(None) };
}

struct Loader {
    engine: Engine<Proxy>,
    bytes: Vec<u8>,
    /// Keeps what was compiled.
    _loaded: Rc<Plugin<Proxy>>,
}

impl Loader {
    fn new() -> Self {
        let engine = Engine::new().expect("the engine runs here");
        let bytes = wat::parse_str(include_str!("guest_memory.wat")).expect("the guest is correct");
        let loaded = engine.load(Proxy::default(), Options::new("p"), &bytes).expect("the guest loads");
        Self { engine, bytes, _loaded: loaded }
    }
}

/// The input is hostcalls with their numbers.
pub fn run(input: &[u8]) {
    let _ = call(&mut Unstructured::new(input));
}

fn call(input: &mut Unstructured<'_>) -> Result<()> {
    let mut guest = GUEST.take().unwrap_or_else(Guest::load);
    while !input.is_empty() {
        let hostcall = input.int_in_range(1..=7)?;
        let mut numbers = [0; 5];
        for number in &mut numbers {
            *number = guest.number(input)?;
        }
        if guest.call(hostcall, numbers).is_none() {
            return Ok(());
        }
    }
    guest.compare();
    if guest.memory.len() == PAGE {
        guest.clear();
        GUEST.set(Some(guest));
    }
    Ok(())
}

/// A guest, and what its memory must be.
struct Guest {
    proxy: Proxy,
    plugin: PluginContext<Proxy>,
    memory: Vec<u8>,
}

impl Guest {
    fn load() -> Self {
        let proxy = Proxy::default();
        let options = Options {
            vm_configuration: CONFIGURATION[..].into(),
            memory_limit: MOST_PAGES * PAGE,
            log_rate: u32::MAX,
            ..Options::new("a plugin")
        };
        let plugin = LOADER.with(|loader| loader.engine.load(proxy.clone(), options, &loader.bytes)).expect("it loads");
        let plugin = plugin.configure(b"").expect("it takes any configuration");
        proxy.take_log();
        Self { proxy, plugin, memory: vec![0; PAGE] }
    }

    /// Makes it as it was loaded.
    fn clear(&mut self) {
        self.plugin.on_foreign_function(0, &[0; 8]).expect("its memory is cleared");
        self.memory.fill(0);
    }

    /// Small, near the end of the memory, or any.
    fn number(&self, input: &mut Unstructured<'_>) -> Result<u32> {
        let byte: u8 = input.arbitrary()?;
        Ok(match byte {
            0..0xd0 => u32::from(byte),
            0xd0..0xf0 => (self.memory.len() as u32 + u32::from(byte)) - 0xe0,
            0xf0 => TOO_MANY_VECTORS,
            _ => input.arbitrary()?,
        })
    }

    /// Has the guest make a hostcall; `None` when that traps, as it must then.
    fn call(&mut self, hostcall: u8, numbers: [u32; 5]) -> Option<()> {
        for number in numbers {
            self.plugin.on_foreign_function(number, &[]).expect("it only keeps the number");
        }
        let result = self.plugin.on_foreign_function(0, &[0; 7][..hostcall.into()]);
        let expected = self.expect(hostcall, numbers);
        assert_eq!(result, if expected.is_some() { Ok(()) } else { Err(CallError::Trapped) }, "{hostcall} {numbers:?}");
        expected
    }

    /// Does the same to the array.
    fn expect(&mut self, hostcall: u8, [a, b, c, d, allocated]: [u32; 5]) -> Option<()> {
        match hostcall {
            1 => {
                let message = String::from_utf8_lossy(self.read(a, b)?).into_owned();
                assert_eq!(self.proxy.take_log(), [message]);
            }
            2 => self.get_buffer(a, b, [c, d], allocated)?,
            3 => {
                self.write(a, &(CONFIGURATION.len() as u32).to_le_bytes())?;
                self.write(b, &[0; 4])?;
            }
            4 => self.write(b, &u64::from(a).to_le_bytes())?,
            5 => self.http_call((a, b), (c, d), allocated)?,
            6 => self.fd_write(a, b, c),
            _ if self.memory.len() < MOST_PAGES * PAGE => self.memory.resize(self.memory.len() + PAGE, 0),
            _ => return None,
        }
        Some(())
    }

    fn get_buffer(&mut self, start: u32, size: u32, out: [u32; 2], allocated: u32) -> Option<()> {
        let part: Vec<u8> = CONFIGURATION.iter().skip(start as usize).take(size as usize).copied().collect();
        if part.is_empty() {
            return Some(());
        }
        if allocated == 0 {
            return None;
        }
        self.write(allocated, &part)?;
        self.write(out[0], &allocated.to_le_bytes())?;
        self.write(out[1], &(part.len() as u32).to_le_bytes())
    }

    fn http_call(&mut self, upstream: (u32, u32), body: (u32, u32), token_out: u32) -> Option<()> {
        self.read(token_out, 4)?;
        let (upstream, body) = (self.read(upstream.0, upstream.1)?, self.read(body.0, body.1)?);
        let token = self.end_http_call(upstream, body);
        self.write(token_out, &token.to_le_bytes())
    }

    /// Checks the one callout in flight and answers it. Returns its token.
    fn end_http_call(&self, upstream: &[u8], body: &[u8]) -> u32 {
        let token = *self.proxy.tokens().last().expect("a callout was made");
        let callout = self.proxy.callouts.lock().expect("nothing has panicked").remove(&token);
        let Some(Callout::Http(call)) = callout else { panic!("{callout:?} is no call of HTTP") };
        assert!(call.upstream == upstream && call.body == body);
        let answered = self.plugin.plugin().on_callout(token, Event::HttpResponse(HttpResponse::default()));
        assert_eq!(answered, Ok(()));
        self.proxy.take_log();
        token
    }

    /// What can't be read is an error for the guest, and no trap; the lines before it are written.
    fn fd_write(&mut self, vectors: u32, count: u32, written: u32) {
        let mut output = Vec::new();
        let mut is_complete = count < TOO_MANY_VECTORS;
        for index in 0..count {
            if !is_complete {
                break;
            }
            match self.vector(vectors.wrapping_add(index * 8)) {
                Some(part) => output.extend(part.iter().take(MOST_WRITTEN - output.len())),
                None => is_complete = false,
            }
        }
        if is_complete {
            self.write(written, &(output.len() as u32).to_le_bytes());
        }
        let text: Vec<u8> = self.proxy.take_log().concat().into_bytes();
        let lines = output.split(|byte| *byte == b'\n').map(String::from_utf8_lossy).collect::<String>();
        assert!(text == lines.as_bytes() || output.len() >= 4096);
    }

    fn vector(&self, at: u32) -> Option<&[u8]> {
        let number = |at| self.read(at, 4).map(|bytes| u32::from_le_bytes(bytes.try_into().expect("it has 4 bytes")));
        self.read(number(at)?, number(at.wrapping_add(4))?)
    }

    fn read(&self, pointer: u32, size: u32) -> Option<&[u8]> {
        if size == 0 { Some(&[]) } else { self.memory.get(pointer as usize..pointer as usize + size as usize) }
    }

    fn write(&mut self, pointer: u32, bytes: &[u8]) -> Option<()> {
        self.memory.get_mut(pointer as usize..pointer as usize + bytes.len()).map(|to| to.copy_from_slice(bytes))
    }

    /// The guest sends its whole memory.
    fn compare(&mut self) {
        let size = self.memory.len() as u32;
        self.call(5, [0, 0, 0, size, size - 4]);
    }
}
