//! What the measurements share.

use std::error::Error;

/// Rows of little-endian floats, as the scripts beside the measurements write them.
pub(crate) fn floats(path: &str) -> Result<Vec<f32>, Box<dyn Error>> {
    let bytes = std::fs::read(path)?;
    let (values, _) = bytes.as_chunks::<4>();
    Ok(values.iter().map(|value| f32::from_le_bytes(*value)).collect())
}

/// CPU time of this thread, from the kernel's own account.
pub(crate) fn cpu_seconds() -> Result<f64, Box<dyn Error>> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds: u64 = text.split_whitespace().next().ok_or("an empty account")?.parse()?;
    Ok(nanoseconds as f64 / 1e9)
}
