//! Statistics of predictions, without I/O: how far two distributions lie apart.

mod distance;

pub use distance::{mean_shift, stability_index};
