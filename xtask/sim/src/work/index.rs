//! The index of a snapshot, as simple as can be: how many chunks, and their numbers.

use bytes::Bytes;

/// Writes an index.
pub(super) fn encode(numbers: &[usize]) -> Bytes {
    let words = std::iter::once(numbers.len()).chain(numbers.iter().copied()).map(|word| word.to_string());
    words.collect::<Vec<_>>().join(" ").into()
}

/// Reads an index; `None` if it is damaged.
pub(crate) fn decode(content: &[u8]) -> Option<Vec<usize>> {
    let words = std::str::from_utf8(content).ok()?.split(' ').map(str::parse);
    let (count, numbers) =
        words.collect::<Result<Vec<usize>, _>>().ok()?.split_first().map(|(n, rest)| (*n, rest.to_vec()))?;
    (numbers.len() == count).then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_survives_the_round_trip_and_a_cut_one_is_damaged() {
        assert_eq!(decode(&encode(&[3, 1, 4])), Some(vec![3, 1, 4]));
        assert_eq!(decode(&encode(&[])), Some(Vec::new()));
        assert_eq!(decode(b"3 1 4"), None);
    }
}
