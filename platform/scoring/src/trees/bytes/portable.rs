//! The block evaluation that every machine can run.

#![allow(clippy::inline_always, reason = "compiled again for the instructions of each caller")]

use super::program::{Select, Side, Table, Tree};
use super::{BLOCK_ROWS, Bits, ByteCoded, Codes, LEAF_BITS, LEAVES_MAX, Scratch, WORDS};

pub(super) fn block(program: &ByteCoded, scratch: &mut Scratch) {
    for tree in &program.trees {
        for (bits, comparison) in scratch.comparisons.iter_mut().zip(&tree.comparisons) {
            *bits = compare(&scratch.codes[comparison.column as usize], comparison.code);
        }
        select(tree, &scratch.comparisons, &mut scratch.leaf_numbers);
        let numbers = numbers(tree, &scratch.leaf_numbers[0]);
        for table in &program.tables[tree.tables.clone()] {
            add(table, &numbers, &mut scratch.sums[table.target]);
        }
    }
}

fn compare(codes: &Codes, code: u8) -> Bits {
    let mut bits = Bits([0; WORDS]);
    let (words, _) = codes.as_chunks::<64>();
    for (word, codes) in bits.0.iter_mut().zip(words) {
        for (row, found) in codes.iter().enumerate() {
            *word |= u64::from(*found > code) << row;
        }
    }
    bits
}

/// Leaf numbers from the leaves to the root, one bit plane at a time.
#[inline(always)]
pub(super) fn select(
    tree: &Tree,
    comparisons: &[Bits; LEAVES_MAX],
    leaf_numbers: &mut [[Bits; LEAF_BITS]],
) {
    for Select { node, below, above } in &tree.selects {
        let comparison = comparisons[*node as usize];
        for bit in 0..tree.leaf_bits {
            let below = plane(*below, bit, leaf_numbers);
            let above = plane(*above, bit, leaf_numbers);
            let to = &mut leaf_numbers[*node as usize][bit].0;
            let sides = above.0.iter().zip(&below.0);
            for ((to, comparison), (above, below)) in to.iter_mut().zip(&comparison.0).zip(sides) {
                *to = (comparison & above) | (!comparison & below);
            }
        }
    }
}

#[inline(always)]
fn plane(side: Side, bit: usize, leaf_numbers: &[[Bits; LEAF_BITS]]) -> Bits {
    match side {
        Side::Node(node) => leaf_numbers[node as usize][bit],
        Side::Leaf(leaf) => Bits([if (leaf >> bit) & 1 == 1 { u64::MAX } else { 0 }; WORDS]),
    }
}

/// Leaf number of each row from the bit planes at the root; 0 for a tree that is one leaf.
#[inline(always)]
pub(super) fn numbers(tree: &Tree, root: &[Bits; LEAF_BITS]) -> [u8; BLOCK_ROWS] {
    let mut numbers = [0u8; BLOCK_ROWS];
    if tree.selects.is_empty() {
        return numbers;
    }
    for (bit, plane) in root.iter().enumerate().take(tree.leaf_bits) {
        let (rows, _) = numbers.as_chunks_mut::<64>();
        for (rows, word) in rows.iter_mut().zip(plane.0) {
            for (row, number) in rows.iter_mut().enumerate() {
                *number |= u8::from((word >> row) & 1 == 1) << bit;
            }
        }
    }
    numbers
}

#[inline(always)]
pub(super) fn add(table: &Table, numbers: &[u8; BLOCK_ROWS], sums: &mut [f32; BLOCK_ROWS]) {
    for (sum, number) in sums.iter_mut().zip(numbers) {
        *sum += table.weights[*number as usize];
    }
}
