//! The N best items per customer by dot product: a tiled matrix product with the selection inside.
//!
//! Items lie in panels of [`LANES`] vectors, value by value, and customers in groups of [`ROWS`], so
//! that a group against a panel is [`ROWS`] × [`LANES`] products in registers. A panel is read from
//! memory once per [`BLOCK_ROWS`] customers, and products that are below their customer's threshold
//! are dropped where they were computed: no product is ever stored unless it may rank.
//!
//! Each product is a chain of fused multiply-adds over the values in their order, then the item's
//! bias is added. Every level computes this same chain, so all give the same bits for the same vectors,
//! wherever in a batch they are.

mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

use super::select::Best;

/// Item vectors of a panel.
pub(super) const LANES: usize = 32;
/// Customers of a group.
pub(super) const ROWS: usize = 8;
/// Customers that share one pass over the items: their vectors stay in a core's first cache.
const BLOCK_ROWS: usize = 128;

/// Scores of a group against a panel.
pub(super) type Tile = [[f32; LANES]; ROWS];

/// Which instructions the products use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Level {
    /// Every level that this machine has, the best one last.
    pub(super) fn all() -> Vec<Self> {
        #[allow(unused_mut, reason = "other machines have no further level")]
        let mut levels = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                levels.push(Self::Avx2);
                if is_x86_feature_detected!("avx512f") {
                    levels.push(Self::Avx512);
                }
            }
        }
        levels
    }

    pub(super) fn best() -> Self {
        Self::all().last().copied().unwrap_or(Self::Portable)
    }

    #[cfg(test)]
    fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => "AVX2",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => "AVX-512",
        }
    }
}

/// Item vectors, packed for the product.
#[derive(Debug)]
pub(super) struct Panels {
    level: Level,
    width: usize,
    items: u32,
    /// For each panel, for each value, the values of its items; missing items are zeros.
    vectors: Vec<f32>,
    biases: Vec<f32>,
}

impl Panels {
    /// Packs item vectors that come as one column per value.
    pub(super) fn pack(
        level: Level,
        columns: &[&[f32]],
        biases: Option<&[f32]>,
        items: u32,
    ) -> Self {
        let (width, count) = (columns.len(), items as usize);
        let panels = count.div_ceil(LANES);
        let mut vectors = vec![0.0; panels * width * LANES];
        for (panel, vectors) in vectors.chunks_exact_mut((width * LANES).max(1)).enumerate() {
            let from = panel * LANES;
            let lanes = LANES.min(count - from);
            for (column, values) in columns.iter().zip(vectors.chunks_exact_mut(LANES)) {
                values[..lanes].copy_from_slice(&column[from..from + lanes]);
            }
        }
        let mut padded = vec![0.0; panels * LANES];
        if let Some(biases) = biases {
            padded[..count].copy_from_slice(biases);
        }
        Self { level, width, items, vectors, biases: padded }
    }

    /// The `top_n` best items of each customer, shown in the order of the customers.
    ///
    /// `customers` has one column per value of the vectors.
    pub(super) fn best(
        &self,
        customers: &[&[f32]],
        rows: usize,
        top_n: usize,
        mut found: impl FnMut(usize, std::vec::Drain<'_, (f32, u32)>),
    ) {
        let mut packed = vec![0.0; BLOCK_ROWS * self.width];
        let mut selections: Vec<Best<f32>> =
            (0..BLOCK_ROWS.min(rows)).map(|_| Best::new(top_n)).collect();
        for start in (0..rows).step_by(BLOCK_ROWS) {
            let count = BLOCK_ROWS.min(rows - start);
            self.pack_block(customers, start, count, &mut packed);
            self.block(&packed, &mut selections[..count]);
            for (row, selection) in selections[..count].iter_mut().enumerate() {
                found(start + row, selection.take());
            }
        }
    }

    /// Lays a block of customers out in groups, value by value; missing customers are zeros.
    fn pack_block(&self, customers: &[&[f32]], start: usize, count: usize, packed: &mut [f32]) {
        for (group, packed) in packed.chunks_exact_mut((self.width * ROWS).max(1)).enumerate() {
            let from = (group * ROWS).min(count);
            let rows = ROWS.min(count - from);
            for (column, values) in customers.iter().zip(packed.chunks_exact_mut(ROWS)) {
                values.fill(0.0);
                values[..rows].copy_from_slice(&column[start + from..start + from + rows]);
            }
        }
    }

    fn block(&self, packed: &[f32], selections: &mut [Best<f32>]) {
        let mut thresholds = [f32::NEG_INFINITY; BLOCK_ROWS];
        let (biases, _) = self.biases.as_chunks::<LANES>();
        let mut tile: Tile = [[0.0; LANES]; ROWS];
        for (panel, bias) in biases.iter().enumerate() {
            let vectors = &self.vectors[panel * self.width * LANES..][..self.width * LANES];
            for (group, selections) in selections.chunks_mut(ROWS).enumerate() {
                let rows = &packed[group * self.width * ROWS..][..self.width * ROWS];
                let Some(bounds) = thresholds[group * ROWS..].first_chunk_mut::<ROWS>() else {
                    continue;
                };
                let reached = self.products(vectors, rows, bias, bounds, &mut tile);
                if reached != 0 {
                    self.offer(panel, reached, &tile, selections, bounds);
                }
            }
        }
    }

    /// Computes a tile; gives a bit for each row in which a product exceeds the row's bound.
    #[inline]
    fn products(
        &self,
        vectors: &[f32],
        rows: &[f32],
        bias: &[f32; LANES],
        bounds: &[f32; ROWS],
        tile: &mut Tile,
    ) -> u8 {
        let (vectors, _) = vectors.as_chunks::<LANES>();
        let (rows, _) = rows.as_chunks::<ROWS>();
        match self.level {
            Level::Portable => portable::products(vectors, rows, bias, bounds, tile),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => x86::avx2(vectors, rows, bias, bounds, tile),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => x86::avx512(vectors, rows, bias, bounds, tile),
        }
    }

    #[cold]
    #[inline(never)]
    fn offer(
        &self,
        panel: usize,
        reached: u8,
        tile: &Tile,
        selections: &mut [Best<f32>],
        bounds: &mut [f32; ROWS],
    ) {
        #[allow(clippy::cast_possible_truncation, reason = "the number of items is a u32")]
        let (first, end) = ((panel * LANES) as u32, ((panel + 1) * LANES) as u32);
        let last = self.items.min(end);
        for (row, selection) in selections.iter_mut().enumerate() {
            if reached & (1 << row) == 0 {
                continue;
            }
            for (item, score) in (first..last).zip(tile[row]) {
                selection.offer(score, item);
            }
            bounds[row] = selection.threshold();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The documented chain.
    fn product(customer: &[f32], item: &[f32], bias: f32) -> f32 {
        customer.iter().zip(item).fold(0.0f32, |sum, (a, b)| a.mul_add(*b, sum)) + bias
    }

    fn columns(vectors: &[Vec<f32>], width: usize) -> Vec<Vec<f32>> {
        (0..width).map(|at| vectors.iter().map(|vector| vector[at]).collect()).collect()
    }

    fn slices(columns: &[Vec<f32>]) -> Vec<&[f32]> {
        columns.iter().map(Vec::as_slice).collect()
    }

    fn vectors(
        count: std::ops::Range<usize>,
        width: usize,
    ) -> impl Strategy<Value = Vec<Vec<f32>>> {
        // Few values, so that products tie; now and then one that makes a product NaN.
        let value =
            prop_oneof![30 => (-8i8..8).prop_map(|v| f32::from(v) / 3.0), 1 => Just(f32::NAN)];
        prop::collection::vec(prop::collection::vec(value, width), count)
    }

    proptest! {
        #[test]
        fn every_level_selects_what_sorting_all_products_gives(
            (customers, items, biased) in (1usize..9).prop_flat_map(|width| {
                (vectors(1..140, width), vectors(0..90, width), any::<bool>())
            }),
            top_n in 1usize..12,
        ) {
            let width = customers[0].len();
            let biases: Option<Vec<f32>> =
                biased.then(|| (0..items.len()).map(|at| (at % 5) as f32).collect());
            let (by_customer, by_item) = (columns(&customers, width), columns(&items, width));
            for level in Level::all() {
                let count = u32::try_from(items.len()).expect("few");
                let panels = Panels::pack(level, &slices(&by_item), biases.as_deref(), count);
                let mut seen = 0;
                panels.best(&slices(&by_customer), customers.len(), top_n, |row, best| {
                    assert_eq!(row, seen);
                    seen += 1;
                    let bias = |at: usize| biases.as_ref().map_or(0.0, |biases| biases[at]);
                    let mut expected: Vec<(f32, u32)> = items
                        .iter()
                        .enumerate()
                        .map(|(at, item)| product(&customers[row], item, bias(at)))
                        .zip(0..)
                        .filter(|(score, _)| score.is_finite())
                        .collect();
                    expected.sort_by(|a, b| b.0.partial_cmp(&a.0).expect("finite"));
                    expected.truncate(top_n);
                    assert_eq!(best.collect::<Vec<_>>(), expected, "{}", level.name());
                });
                prop_assert_eq!(seen, customers.len());
            }
        }
    }
}
