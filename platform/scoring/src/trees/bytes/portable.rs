//! The block evaluation that every machine can run. Its loops are of the shape that compilers turn
//! into whatever vector instructions the target has.

use super::leaves::{Numbers, Weighted};
use super::place::Step;
use super::{BLOCK_ROWS, ByteCoded, LANE_ROWS, LANES, Lane, Scratch};
use crate::level::Level;

pub(super) fn block<S: Weighted>(program: &ByteCoded<S>, scratch: &mut Scratch<S>) {
    for tree in &program.trees {
        for step in &tree.steps {
            run(step, &scratch.codes, &mut scratch.numbers);
        }
        let numbers = Numbers { lanes: &scratch.numbers, low: tree.low, high: tree.high };
        tree.table.add(&numbers, &mut scratch.sums, Level::Portable);
    }
}

fn run(step: &Step, codes: &[Lane], numbers: &mut [Lane]) {
    let codes = &codes[step.codes as usize..][..LANES];
    for (lane, codes) in codes.iter().enumerate() {
        let below = &numbers[step.below.at() + lane * step.below.stride()];
        let above = &numbers[step.above.at() + lane * step.above.stride()];
        let selected = select(codes, step.code, below, above);
        numbers[step.into.at() + lane] = selected;
    }
}

#[inline]
fn select(codes: &Lane, code: u8, below: &Lane, above: &Lane) -> Lane {
    let mut selected = *below;
    let sides = codes.0.iter().zip(&above.0);
    for (number, (found, above)) in selected.0.iter_mut().zip(sides) {
        // A mask of the whole byte, so that the choice is no branch.
        let greater = 0u8.wrapping_sub(u8::from(*found > code));
        *number = (*above & greater) | (*number & !greater);
    }
    selected
}

pub(super) fn add<S: Weighted>(weights: &[S], numbers: &Numbers, sums: &mut [S; BLOCK_ROWS]) {
    let (lanes, _) = sums.as_chunks_mut::<LANE_ROWS>();
    for (lane, sums) in lanes.iter_mut().enumerate() {
        let low = numbers.low(lane);
        match numbers.high(lane) {
            None => {
                for (sum, number) in sums.iter_mut().zip(low) {
                    *sum += weights[usize::from(*number)];
                }
            }
            Some(high) => {
                for (sum, (low, high)) in sums.iter_mut().zip(low.iter().zip(high)) {
                    *sum += weights[usize::from(*low) | usize::from(*high) << 8];
                }
            }
        }
    }
}
