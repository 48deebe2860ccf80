//! What a model may ask for.

/// Largest model file that is decoded by default, in bytes.
const MODEL_BYTES_MAX: usize = 512 * 1024 * 1024;
/// Most nodes in one graph by default.
const NODES_MAX: usize = 20_000;
/// Most values in one constant tensor by default.
const TENSOR_VALUES_MAX: usize = 128 * 1024 * 1024;
/// Most values that one row may occupy in any intermediate result by default.
const ROW_VALUES_MAX: usize = 1024 * 1024;
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
    /// Number of values in one constant tensor.
    pub tensor_values_max: usize,
    /// Number of values per row in one intermediate result.
    pub row_values_max: usize,
    /// Number of columns that all outputs together become.
    pub output_columns_max: usize,
}

impl Default for ScoringLimits {
    fn default() -> Self {
        Self {
            model_bytes_max: MODEL_BYTES_MAX,
            nodes_max: NODES_MAX,
            tensor_values_max: TENSOR_VALUES_MAX,
            row_values_max: ROW_VALUES_MAX,
            output_columns_max: OUTPUT_COLUMNS_MAX,
        }
    }
}
