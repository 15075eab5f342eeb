//! "Did you mean …?": finds the nearest word in a set.

use alloc::vec;
use alloc::vec::Vec;

/// Returns the candidate with the fewest edits from `word`, if it is near enough: at most a third of the
/// longer word's length. Edits are counted as by Damerau and Levenshtein, without transpositions.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(edits, candidate)| edits * 3 <= word.len().max(candidate.len()).max(3))
        .min()
        .map(|(_, candidate)| candidate)
}

/// Returns the Levenshtein distance in bytes, computed row by row.
fn distance(a: &str, b: &str) -> usize {
    let b = b.as_bytes();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut next = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let change = row[j] + usize::from(x != *y);
            next.push(change.min(row[j + 1] + 1).min(next[j] + 1));
        }
        row = next;
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_finds_its_word_and_nonsense_finds_none() {
        let keys = ["command", "replicas", "env", "dir"];
        assert_eq!(nearest("comand", keys), Some("command"));
        assert_eq!(nearest("replica", keys), Some("replicas"));
        assert_eq!(nearest("xyzzy", keys), None);
    }
}
