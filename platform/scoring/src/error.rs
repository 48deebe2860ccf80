//! Why a model is refused and why a batch cannot be scored.

/// Why a model cannot be loaded.
///
/// Every message names the place (node, input, column) and says what to do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The bytes are no ONNX model.
    #[error("not an ONNX model: {problem}; expected the bytes of a file that `onnx.save` wrote")]
    Malformed {
        /// What the decoder met.
        problem: String,
    },
    /// A bound of [`crate::ScoringLimits`] is exceeded.
    #[error("{what} is {found}, the limit is {limit}; make the model smaller or raise the limit")]
    Limit {
        /// What was measured, with its place.
        what: String,
        /// The measured value.
        found: u64,
        /// The bound.
        limit: u64,
    },
    /// An operator that this server does not run.
    #[error("operator {operator} of node `{node}` is not supported; {cure}")]
    Operator {
        /// Operator, with its domain when that is not the default one.
        operator: String,
        /// Name of the node, or of its first output when it has no name.
        node: String,
        /// What the author of the model can do.
        cure: String,
    },
    /// A node whose attributes or constants make no sense.
    #[error("node `{node}` ({operator}): {problem}")]
    Node {
        /// Name of the node.
        node: String,
        /// Operator.
        operator: String,
        /// Expected, found and what to do.
        problem: String,
    },
    /// The graph as a whole cannot be used.
    #[error("{problem}")]
    Graph {
        /// Expected, found and what to do.
        problem: String,
    },
    /// A model input that no feature column feeds.
    #[error("model input `{input}` ({kind}): {problem}")]
    Input {
        /// Name of the input.
        input: String,
        /// Its type and shape, as `float32[N, 15]`.
        kind: String,
        /// Expected, found and what to do.
        problem: String,
    },
    /// A feature column whose type does not fit the input that it feeds.
    #[error(
        "feature column `{column}` ({found}) cannot feed model input `{input}` ({kind}): {cure}"
    )]
    Column {
        /// Name of the column.
        column: String,
        /// Its Arrow type.
        found: String,
        /// Name of the input.
        input: String,
        /// Type and shape of the input.
        kind: String,
        /// What the author of the SQL can do.
        cure: String,
    },
    /// A declared default that cannot stand for a null.
    #[error("the default for nulls of feature column `{column}`: {problem}")]
    NullDefault {
        /// Name of the column, as declared.
        column: String,
        /// Expected and found.
        problem: String,
    },
    /// The runtime cannot compile or evaluate the graph.
    #[error("the graph cannot be {stage}: {problem}")]
    Engine {
        /// `parsed`, `compiled` or `evaluated`.
        stage: &'static str,
        /// What the runtime said.
        problem: String,
    },
}

/// Why a batch cannot be scored although the model was loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScoreError {
    /// The batch lacks a column that was there when the model was loaded.
    #[error("the batch has no feature column `{column}`; its columns are {found}")]
    MissingColumn {
        /// Name of the column.
        column: String,
        /// Names that the batch has.
        found: String,
    },
    /// A column changed its type between loading and scoring.
    #[error(
        "feature column `{column}` is {found} in this batch but was {expected} when the model was loaded"
    )]
    ColumnType {
        /// Name of the column.
        column: String,
        /// Arrow type at load.
        expected: String,
        /// Arrow type in the batch.
        found: String,
    },
    /// A row has another number of values than the model reads columns.
    #[error("the row has {found} values; expected {expected}, one per column that the model reads")]
    RowWidth {
        /// Columns that the model reads.
        expected: usize,
        /// Values that were given.
        found: usize,
    },
    /// A value of a single row cannot be scored.
    #[error("feature column `{column}`: {problem}")]
    Row {
        /// Name of the column.
        column: String,
        /// Expected, found and what to do.
        problem: String,
    },
    /// The model failed on the values of this batch.
    #[error("the model failed on this batch: {problem}")]
    Evaluation {
        /// What the runtime said.
        problem: String,
    },
    /// The batch took longer than [`crate::ScoringLimits::batch_time_max`].
    #[error(
        "scoring a batch took longer than {seconds_max} s, with {done} of {rows} rows done; \
         make the model smaller or raise the limit"
    )]
    Time {
        /// The limit.
        seconds_max: f64,
        /// Rows that were scored by then.
        done: usize,
        /// Rows of the batch.
        rows: usize,
    },
    /// An output has another number of rows than the batch.
    #[error(
        "model output `{output}` has shape {found} for {rows} rows; every output must keep one row per customer"
    )]
    OutputRows {
        /// Name of the output.
        output: String,
        /// Shape that came out.
        found: String,
        /// Rows that went in.
        rows: usize,
    },
    /// Arrow could not assemble the outputs.
    #[error("the outputs do not form a batch: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
}
