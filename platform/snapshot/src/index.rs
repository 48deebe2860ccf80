//! The hash index: open addressing with linear probing over row numbers.
//!
//! A slot is the number of the first row of a key, 32 bits, little-endian, or [`EMPTY`]. There are
//! between one and a half and three times as many slots as keys, a power of two, so that most look-ups
//! meet their key at the first or second slot: 4 bytes a slot beside what a key itself takes.

use std::io::{self, Write};

use arrow::buffer::ScalarBuffer;

use crate::SnapshotError;

/// A slot without a row.
pub(crate) const EMPTY: u32 = u32::MAX;
/// Most rows of a snapshot; the number above is [`EMPTY`].
pub(crate) const ROWS_MAX: usize = u32::MAX as usize;
/// Most slots that a look-up visits. With hashes as they fall, no key of a billion needs as many; with
/// keys that were chosen to collide there is no snapshot, and look-ups go to Postgres.
pub(crate) const PROBES_MAX: usize = 1_024;

/// Odd numbers without pattern (of the golden ratio, and of the fractions of two square roots).
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
const FIRST: u64 = 0xBB67_AE85_84CA_A73B;
const SECOND: u64 = 0x3C6E_F372_FE94_F82B;

/// The hash of an `INT` key: the finaliser of SplitMix64, its upper half.
pub(crate) fn hash_int(key: i64) -> u32 {
    let mut hash = key.cast_unsigned().wrapping_add(GOLDEN);
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    upper(hash ^ (hash >> 31))
}

/// The hash of a `STRING` key: eight bytes at a time are multiplied in.
pub(crate) fn hash_text(key: &str) -> u32 {
    let mut hash = (key.len() as u64).wrapping_mul(GOLDEN);
    let (words, rest) = key.as_bytes().as_chunks::<8>();
    for word in words {
        hash = fold(hash ^ u64::from_le_bytes(*word), FIRST);
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    upper(fold(fold(hash ^ u64::from_le_bytes(last), FIRST), SECOND))
}

/// Both halves of the product, so that every bit of `value` reaches every bit of the hash.
fn fold(value: u64, by: u64) -> u64 {
    let product = u128::from(value ^ GOLDEN) * u128::from(by);
    #[expect(clippy::cast_possible_truncation, reason = "the halves are wanted one by one")]
    let (low, high) = (product as u64, (product >> 64) as u64);
    low ^ high
}

fn upper(hash: u64) -> u32 {
    u32::try_from(hash >> 32).unwrap_or(u32::MAX)
}

/// A key in the index: its hash and its first row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) hash: u32,
    pub(crate) row: u32,
}

/// The slots for these keys.
pub(crate) fn build(entries: &[Entry]) -> Result<Vec<u32>, SnapshotError> {
    let slots = (entries.len() + entries.len() / 2 + 1).next_power_of_two();
    let mut table = vec![EMPTY; slots];
    for entry in entries {
        let mut probes = Probes::new(entry.hash, slots);
        let free = probes.find(|slot| table[*slot] == EMPTY);
        let free = free.ok_or(SnapshotError::Crowded { limit: PROBES_MAX })?;
        table[free] = entry.row;
    }
    Ok(table)
}

/// Writes slots as they lie in the file.
pub(crate) fn write(table: &[u32], to: &mut impl Write) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(crate::BATCH_ROWS * size_of::<u32>());
    for part in table.chunks(crate::BATCH_ROWS) {
        bytes.clear();
        bytes.extend(part.iter().flat_map(|slot| slot.to_le_bytes()));
        to.write_all(&bytes)?;
    }
    Ok(())
}

/// The slots at which a hash may be, in turn.
struct Probes {
    next: usize,
    mask: usize,
    left: usize,
}

impl Probes {
    fn new(hash: u32, slots: usize) -> Self {
        let mask = slots - 1;
        Self { next: hash as usize & mask, mask, left: PROBES_MAX.min(slots) }
    }
}

impl Iterator for Probes {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        self.left = self.left.checked_sub(1)?;
        let slot = self.next;
        self.next = (slot + 1) & self.mask;
        Some(slot)
    }
}

/// The slots of a file, where they lie.
#[derive(Debug)]
pub(crate) struct Index {
    slots: ScalarBuffer<u32>,
}

impl Index {
    /// Takes slots whose number is a power of two, each [`EMPTY`] or below `rows`; none otherwise.
    pub(crate) fn new(slots: ScalarBuffer<u32>, rows: usize) -> Option<Self> {
        let sound = slots.len().is_power_of_two()
            && slots.iter().all(|slot| *slot == EMPTY || (*slot as usize) < rows);
        sound.then_some(Self { slots })
    }

    /// The first row of the key with this hash for which `is_key` says so.
    pub(crate) fn find(&self, hash: u32, is_key: impl Fn(usize) -> bool) -> Option<usize> {
        let rows = Probes::new(hash, self.slots.len()).map(|slot| self.slots[slot]);
        rows.take_while(|row| *row != EMPTY).map(|row| row as usize).find(|row| is_key(*row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_stay_as_they_are_because_files_keep_them() {
        assert_eq!(
            [hash_int(0), hash_int(1), hash_int(-1)],
            [0xe220_a839, 0x910a_2dec, 0xe4d9_7177]
        );
        let texts = ["", "a", "abcdefgh", "abcdefghi"].map(hash_text);
        let mut distinct = texts.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), texts.len());
    }

    #[test]
    fn keys_that_all_collide_make_no_index() {
        let entries: Vec<Entry> = (0..5_000).map(|row| Entry { hash: 7, row }).collect();
        assert!(matches!(build(&entries), Err(SnapshotError::Crowded { .. })));
        assert!(build(&entries[..PROBES_MAX]).is_ok());
    }

    #[test]
    fn look_ups_meet_their_key_within_a_few_slots() {
        let (mut visited, mut most) = (0, 0);
        let entries: Vec<Entry> =
            (0..200_000).map(|row| Entry { hash: hash_int(i64::from(row)), row }).collect();
        let table = build(&entries).expect("an index");
        for entry in &entries {
            let probes = Probes::new(entry.hash, table.len());
            let slots = probes.take_while(|slot| table[*slot] != entry.row).count() + 1;
            (visited, most) = (visited + slots, most.max(slots));
        }
        assert!(visited < 2 * entries.len(), "{visited} slots");
        assert!(most < PROBES_MAX / 8, "{most} slots");
    }
}
