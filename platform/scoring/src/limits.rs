//! What a model may ask for.

use std::time::Duration;

/// Largest model file that is decoded by default, in bytes.
const MODEL_BYTES_MAX: usize = 512 * 1024 * 1024;
/// Most nodes in one graph by default.
const NODES_MAX: usize = 20_000;
/// Most constants in one graph by default.
const CONSTANTS_MAX: usize = 50_000;
/// Most values in one constant tensor by default.
const TENSOR_VALUES_MAX: usize = 128 * 1024 * 1024;
/// Most values that one row may occupy in any intermediate result by default.
const ROW_VALUES_MAX: usize = 1024 * 1024;
/// Most steps that scoring one row may take by default: some milliseconds.
const ROW_STEPS_MAX: usize = 64 * 1024 * 1024;
/// Longest time that one batch may take by default.
const BATCH_TIME_MAX: Duration = Duration::from_mins(10);
/// Most columns that the outputs of one model may become by default.
const OUTPUT_COLUMNS_MAX: usize = 2_048;

/// Bounds that a model is held to when it is loaded.
///
/// A model is data from outside: these bounds, and the checks that need no bound (every tree
/// acyclic, every class id in range, no data outside the file), run before any of it is evaluated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScoringLimits {
    /// Size of the model file, in bytes.
    pub model_bytes_max: usize,
    /// Number of nodes in the graph.
    pub nodes_max: usize,
    /// Number of constants in the graph, and of its inputs.
    pub constants_max: usize,
    /// Number of values in one constant tensor, and of all values that constants are folded into.
    pub tensor_values_max: usize,
    /// Number of values per row in one intermediate result.
    pub row_values_max: usize,
    /// Multiply-adds, comparisons and values that one row costs, all nodes together.
    pub row_steps_max: usize,
    /// Time that one batch may take. Looked at between chunks of rows, each of which
    /// [`Self::row_steps_max`] bounds.
    pub batch_time_max: Duration,
    /// Number of columns that all outputs together become.
    pub output_columns_max: usize,
}

impl Default for ScoringLimits {
    fn default() -> Self {
        Self {
            model_bytes_max: MODEL_BYTES_MAX,
            nodes_max: NODES_MAX,
            constants_max: CONSTANTS_MAX,
            tensor_values_max: TENSOR_VALUES_MAX,
            row_values_max: ROW_VALUES_MAX,
            row_steps_max: ROW_STEPS_MAX,
            batch_time_max: BATCH_TIME_MAX,
            output_columns_max: OUTPUT_COLUMNS_MAX,
        }
    }
}
