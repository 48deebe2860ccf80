//! Which key each client of a load asks for next.

/// What is added at each step, and what mixes the sum (SplitMix64 by Steele, Lea and Flood).
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
const MIX: [u64; 2] = [0xBF58_476D_1CE4_E5B9, 0x94D0_49BB_1331_11EB];

/// Numbers without a pattern, each as likely as any other.
///
/// Clients begin at places of the sequence that have nothing to do with each other. Had they numbers next to each other,
/// they would follow one another through the same keys, and all but the first would find them in the
/// processor's caches.
#[derive(Debug)]
pub(super) struct Draw(u64);

impl Draw {
    /// Of one client.
    pub(super) fn of(client: u64) -> Self {
        Self(mixed(client))
    }

    /// The next number.
    pub(super) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mixed(self.0)
    }
}

fn mixed(sum: u64) -> u64 {
    let once = (sum ^ (sum >> 30)).wrapping_mul(MIX[0]);
    let twice = (once ^ (once >> 27)).wrapping_mul(MIX[1]);
    twice ^ (twice >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_clients_draw_the_same_numbers() {
        let drawn = (0..64).flat_map(|client| {
            let mut draw = Draw::of(client);
            (0..1_000).map(move |_| draw.number())
        });
        assert_eq!(drawn.collect::<HashSet<_>>().len(), 64_000);
    }
}
