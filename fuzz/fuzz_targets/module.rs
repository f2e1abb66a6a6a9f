#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

fuzz_target!(|input: &[u8]| fuzz::module::run(input));

// Seeds are texts, of which nothing else can be made by changing bytes: their modules are.
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, _seed: u32| {
    let module = fuzz::module::binary(&data[..size]).filter(|module| module.len() <= data.len());
    let size = module.map_or(size, |module| {
        data[..module.len()].copy_from_slice(&module);
        module.len()
    });
    fuzzer_mutate(data, size, max_size)
});
