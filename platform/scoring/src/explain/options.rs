//! What may be chosen about explanations, and how the choice reads.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Walks per row of the sampling method by default.
const SAMPLES: usize = 128;
/// Bytes of look-up tables by default.
const TABLE_BYTES_MAX: usize = 128 * 1024 * 1024;

/// How a model is explained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainOptions {
    /// The method; [`Method::Auto`] takes the best one that holds for the model.
    pub method: Method,
    /// The output column that is explained. `None` takes the only score, or of two classes the second.
    pub output: Option<String>,
    /// Orders in which the sampling method brings in a row's features, half of them the reverse of
    /// the other half. More are slower and nearer: the stated error falls with the square root.
    pub samples: usize,
    /// Most bytes of look-up tables that a tree method may build; without room it computes instead.
    pub table_bytes_max: usize,
    /// Where the sampling method starts its random numbers; equal seeds give equal contributions.
    pub seed: u64,
}

impl Default for ExplainOptions {
    fn default() -> Self {
        Self {
            method: Method::Auto,
            output: None,
            samples: SAMPLES,
            table_bytes_max: TABLE_BYTES_MAX,
            seed: 0,
        }
    }
}

/// How contributions are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Method {
    /// The best that holds: path-dependent for a tree ensemble, closed form for a linear model, else
    /// sampling.
    Auto,
    /// Exact for tree ensembles; a feature that is left out takes both branches, weighed by how many
    /// rows took them.
    TreePathDependent,
    /// Exact for tree ensembles; a feature that is left out takes its value from the background rows.
    TreeInterventional,
    /// Exact for linear models, in closed form.
    Linear,
    /// For any model: averages over drawn orders of the features, with a stated error.
    Kernel,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "automatic",
            Self::TreePathDependent => "path-dependent TreeSHAP",
            Self::TreeInterventional => "interventional TreeSHAP",
            Self::Linear => "linear closed form",
            Self::Kernel => "sampling",
        })
    }
}

/// What contributions add up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Unit {
    /// The raw score before the transform that makes a probability of it, as log-odds.
    Margin,
    /// The output column as it is.
    Output,
}
