#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| coldkeep_fuzz::request::check(input));
