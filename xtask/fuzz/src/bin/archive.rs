#![no_main]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|input: &[u8]| coldkeep_fuzz::archive::check(input));
