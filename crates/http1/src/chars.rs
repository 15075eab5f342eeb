//! Tables of the bytes that are allowed in each place. Never allocates, never panics.

const TOKEN: u8 = 1;
const TARGET: u8 = 2;
const VALUE: u8 = 4;
const HOST: u8 = 8;

const fn class(byte: u8) -> u8 {
    let mut class = 0;
    if byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
    {
        class |= TOKEN;
    }
    if byte >= 0x21 && byte <= 0x7e && byte != b'#' {
        class |= TARGET;
    }
    if byte == b'\t' || (byte >= 0x20 && byte != 0x7f) {
        class |= VALUE;
    }
    // reg-name: unreserved, sub-delims, percent-encodings (their digits are checked apart).
    if byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'.'
                | b'_'
                | b'~'
                | b'!'
                | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b';'
                | b'='
                | b'%'
        )
    {
        class |= HOST;
    }
    class
}

const CLASS: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = class(byte as u8);
        byte += 1;
    }
    table
};

pub(crate) const fn is_token(byte: u8) -> bool {
    CLASS[byte as usize] & TOKEN != 0
}

pub(crate) const fn is_target(byte: u8) -> bool {
    CLASS[byte as usize] & TARGET != 0
}

pub(crate) const fn is_host(byte: u8) -> bool {
    CLASS[byte as usize] & HOST != 0
}

/// Returns how many bytes at the start of `text` are allowed in a field's value: HTAB, visible
/// characters, space and obs-text. Checks eight bytes at a time, because values are the bulk of a head.
pub(crate) fn value_len(text: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGHS: u64 = ONES << 7;
    let mut at = 0;
    let (words, _) = text.as_chunks::<8>();
    for word in words {
        let word = u64::from_ne_bytes(*word);
        // Only bytes below 0x80 can be invalid. A borrow or carry between bytes may cause a false alarm,
        // but never hides an invalid byte; the table below then checks again.
        let low = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        let del = {
            let same = word ^ (ONES * 0x7f);
            same.wrapping_sub(ONES) & !same & HIGHS
        };
        if low | del != 0 {
            break;
        }
        at += 8;
    }
    while let Some(&byte) = text.get(at) {
        if CLASS[byte as usize] & VALUE == 0 {
            break;
        }
        at += 1;
        // A tab stops the fast loop. The bytes behind it are scanned one by one, which is rare.
    }
    at
}

/// Returns how many bytes at the start of `text` form a token.
pub(crate) fn token_len(text: &[u8]) -> usize {
    text.iter().position(|&b| !is_token(b)).unwrap_or(text.len())
}

pub(crate) const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Returns `text` without spaces and tabs at both ends.
pub(crate) fn trim(mut text: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = text
        && is_space(*first)
    {
        text = rest;
    }
    while let [rest @ .., last] = text
        && is_space(*last)
    {
        text = rest;
    }
    text
}

/// Returns the elements of a comma-separated list, without empty ones.
pub(crate) fn list(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&b| b == b',').map(trim).filter(|element| !element.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fast_scan_of_values_agrees_with_the_table_at_every_place() {
        for byte in 0..=255_u8 {
            for at in 0..20 {
                let mut text = [b'a'; 24];
                text[at] = byte;
                let expected = if CLASS[byte as usize] & VALUE != 0 { 24 } else { at };
                assert_eq!(value_len(&text), expected, "{byte:#x} at {at}");
                let mut text = [0xe9; 24];
                text[at] = byte;
                assert_eq!(value_len(&text), expected, "{byte:#x} at {at}, obs-text");
            }
        }
    }
}
