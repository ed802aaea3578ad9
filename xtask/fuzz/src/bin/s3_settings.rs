#![no_main]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|input: &[u8]| coldkeep_fuzz::s3_text::check_settings(input));
