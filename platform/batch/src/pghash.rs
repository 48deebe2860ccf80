//! Postgres' extended hash functions, bit for bit.
//!
//! They are `hash_bytes_extended` and `hash_bytes_uint32_extended` of Postgres'
//! `src/common/hashfn.c` (Bob Jenkins' lookup3 with a seed), as `hashint8extended`,
//! `hashfloat8extended` and `hashtextextended` (with the collation "C") call them. They are part of
//! the on-disk format of hash-partitioned tables, so they do not change between versions.

const INITIAL: u32 = 0x9e37_79b9_u32.wrapping_add(3_923_095);

struct State {
    a: u32,
    b: u32,
    c: u32,
}

impl State {
    #[allow(clippy::cast_possible_truncation, reason = "the seed enters as its two halves")]
    fn new(length: u32, seed: u64) -> Self {
        let initial = INITIAL.wrapping_add(length);
        let mut state = Self { a: initial, b: initial, c: initial };
        if seed != 0 {
            state.a = state.a.wrapping_add((seed >> 32) as u32);
            state.b = state.b.wrapping_add(seed as u32);
            state.mix();
        }
        state
    }

    fn add(&mut self, a: u32, b: u32, c: u32) {
        self.a = self.a.wrapping_add(a);
        self.b = self.b.wrapping_add(b);
        self.c = self.c.wrapping_add(c);
    }

    #[allow(clippy::many_single_char_names, reason = "the names of the published algorithm")]
    fn mix(&mut self) {
        let Self { mut a, mut b, mut c } = *self;
        a = a.wrapping_sub(c) ^ c.rotate_left(4);
        c = c.wrapping_add(b);
        b = b.wrapping_sub(a) ^ a.rotate_left(6);
        a = a.wrapping_add(c);
        c = c.wrapping_sub(b) ^ b.rotate_left(8);
        b = b.wrapping_add(a);
        a = a.wrapping_sub(c) ^ c.rotate_left(16);
        c = c.wrapping_add(b);
        b = b.wrapping_sub(a) ^ a.rotate_left(19);
        a = a.wrapping_add(c);
        c = c.wrapping_sub(b) ^ b.rotate_left(4);
        b = b.wrapping_add(a);
        *self = Self { a, b, c };
    }

    fn finish(self) -> u64 {
        let Self { mut a, mut b, mut c } = self;
        c = (c ^ b).wrapping_sub(b.rotate_left(14));
        a = (a ^ c).wrapping_sub(c.rotate_left(11));
        b = (b ^ a).wrapping_sub(a.rotate_left(25));
        c = (c ^ b).wrapping_sub(b.rotate_left(16));
        a = (a ^ c).wrapping_sub(c.rotate_left(4));
        b = (b ^ a).wrapping_sub(a.rotate_left(14));
        c = (c ^ b).wrapping_sub(b.rotate_left(24));
        (u64::from(b) << 32) | u64::from(c)
    }
}

fn word(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |word, byte| (word << 8) | u32::from(*byte))
}

/// `hash_any_extended(bytes, seed)`.
#[allow(clippy::cast_possible_truncation, reason = "a Postgres value is shorter than 1 GiB")]
pub(crate) fn bytes(value: &[u8], seed: u64) -> u64 {
    let mut state = State::new(value.len() as u32, seed);
    let mut blocks = value.chunks_exact(12);
    for block in &mut blocks {
        state.add(word(&block[..4]), word(&block[4..8]), word(&block[8..]));
        state.mix();
    }
    let rest = blocks.remainder();
    let (a, rest) = rest.split_at(rest.len().min(4));
    let (b, c) = rest.split_at(rest.len().min(4));
    // The lowest byte of the last word is reserved for the length, which is in the start value.
    state.add(word(a), word(b), word(c) << 8);
    state.finish()
}

/// `hashint8extended(value, seed)`.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "Postgres folds the two halves so that equal int4 and int8 hash alike"
)]
pub(crate) fn int8(value: i64, seed: u64) -> u64 {
    let (low, high) = (value as u32, (value >> 32) as u32);
    let folded = low ^ if value >= 0 { high } else { !high };
    let mut state = State::new(4, seed);
    state.a = state.a.wrapping_add(folded);
    state.finish()
}

/// `hashfloat8extended(value, seed)`: both zeros leave the seed as it is, all NaNs are one.
pub(crate) fn float8(value: f64, seed: u64) -> u64 {
    if value == 0.0 {
        return seed;
    }
    let bits = if value.is_nan() { 0x7ff8_0000_0000_0000 } else { value.to_bits() };
    let mut state = State::new(8, seed);
    #[allow(clippy::cast_possible_truncation, reason = "the two halves, low first")]
    state.add(bits as u32, (bits >> 32) as u32, 0);
    state.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    // Expected values: `select hashint8extended(…)` and so on, on Postgres 15.
    #[test]
    fn the_short_and_the_general_form_agree() {
        for value in [1.5, -2.25, f64::MAX] {
            assert_eq!(float8(value, 7), bytes(&value.to_bits().to_le_bytes(), 7));
        }
        assert_eq!(int8(17, 3), bytes(&17_u32.to_le_bytes(), 3));
        assert_eq!(int8(-1, 3), int8(0xffff_ffff, 3));
    }
}
