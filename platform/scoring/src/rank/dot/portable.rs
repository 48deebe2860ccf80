//! The products without special instructions.

use super::{LANES, ROWS, Tile};

/// See `Panels::products`. One row at a time: its sums fit the registers of any machine.
pub(super) fn products(
    vectors: &[[f32; LANES]],
    rows: &[[f32; ROWS]],
    bias: &[f32; LANES],
    bounds: &[f32; ROWS],
    tile: &mut Tile,
) -> u8 {
    let mut reached = 0;
    for (row, (sums, bound)) in tile.iter_mut().zip(bounds).enumerate() {
        *sums = [0.0; LANES];
        for (vector, customers) in vectors.iter().zip(rows) {
            for (sum, value) in sums.iter_mut().zip(vector) {
                *sum = customers[row].mul_add(*value, *sum);
            }
        }
        let mut above = false;
        for (sum, bias) in sums.iter_mut().zip(bias) {
            *sum += bias;
            above |= *sum > *bound;
        }
        reached |= u8::from(above) << row;
    }
    reached
}
