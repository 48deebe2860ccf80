//! A generation as one immutable file that is mapped into memory.
//!
//! The file is an Arrow IPC file, which every Arrow library reads: the rows in the declared columns,
//! sorted by key, in batches of [`BATCH_ROWS`]. Behind the last batch, where readers of Arrow files do not
//! look, stands a hash index over the keys; the footer's metadata say where. A look-up reads one slot
//! of the index and one key, and costs about 100 ns.
//!
//! Nothing is copied when a file is opened: the columns point into the map, whose memory is the page
//! cache's. Before that the whole file is hashed and compared with the hash under which it was
//! recorded, so a corrupt or truncated file is never served.

mod cell;
mod error;
mod index;
mod mapped;
mod snapshot;
mod writer;

pub use cell::Cell;
pub use error::SnapshotError;
pub use mapped::MappedFile;
pub use snapshot::Snapshot;
pub use writer::{Digesting, SnapshotWriter, Written};

/// Rows of a batch of a snapshot, but for the last batch, which may have fewer. A power of two: a row's
/// batch is found by a shift.
pub const BATCH_ROWS: usize = 1 << BATCH_ROWS_LOG2;
const BATCH_ROWS_LOG2: u32 = 14;
/// Where buffers and the index begin: at a multiple of this many bytes, so that they are used in place.
const ALIGNMENT: usize = 64;
/// What the footer calls the version of this layout.
const FORMAT: &str = "cameo.snapshot";
/// The present version of the layout.
const FORMAT_VERSION: &str = "1";
/// What the footer calls the generation's number: no two generations are the same file, so that one of them
/// can go without a look at the others.
const GENERATION: &str = "cameo.generation";
/// What the footer calls the declared columns, as JSON.
const SCHEMA: &str = "cameo.schema";
/// What the footer calls the byte at which the index begins.
const INDEX_OFFSET: &str = "cameo.index.offset";
/// What the footer calls the number of the index's slots.
const INDEX_SLOTS: &str = "cameo.index.slots";
