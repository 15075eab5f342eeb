//! Fuzzes `checks::request`.
#![no_main]
#![allow(dead_code)]

mod checks;

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks::request(input));
