//! What a model wants and gives, read without compiling it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::ModelError;
use crate::graph::Graph;
use crate::limits::ScoringLimits;

/// Inputs, outputs and operators of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelSignature {
    /// Inputs in the order of the graph, constants excluded.
    pub inputs: Vec<Port>,
    /// Outputs in the order of the graph.
    pub outputs: Vec<Port>,
    /// Columns that the only input takes, left to right, where the model's metadata names them. Without
    /// names it takes all columns in their order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feature_names: Option<Vec<String>>,
    /// How often each operator occurs, by name.
    pub operators: BTreeMap<String, usize>,
}

/// One input or output of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// Name in the graph.
    pub name: String,
    /// Type of its values.
    pub kind: PortKind,
    /// Values per row: 1 for `[N]`, `F` for `[N, F]`, `None` when the model leaves it open.
    pub width: Option<usize>,
    /// Whether the shape is `[N]` instead of `[N, width]`.
    pub vector: bool,
    /// Class names of an output that passed through a `ZipMap`.
    pub classes: Option<Vec<String>>,
}

impl Port {
    /// Names of the columns that this port becomes as an output.
    ///
    /// `None` while the width is open, which only compiling the model settles.
    #[must_use]
    pub fn columns(&self) -> Option<Vec<String>> {
        if let Some(classes) = &self.classes {
            return Some(classes.iter().map(|class| format!("{}_{class}", self.name)).collect());
        }
        match self.width? {
            1 => Some(vec![self.name.clone()]),
            width => Some((0..width).map(|index| format!("{}_{index}", self.name)).collect()),
        }
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.width {
            _ if self.vector => write!(f, "{}[N]", self.kind),
            Some(width) => write!(f, "{}[N, {width}]", self.kind),
            None => write!(f, "{}[N, ?]", self.kind),
        }
    }
}

/// Type of the values of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PortKind {
    /// 32-bit float.
    Float32,
    /// 64-bit float.
    Float64,
    /// 64-bit integer.
    Int64,
    /// 32-bit integer.
    Int32,
    /// Boolean.
    Bool,
    /// UTF-8 string.
    String,
}

impl PortKind {
    /// Whether a missing value can be spelled in this type, as NaN.
    #[must_use]
    pub fn is_float(self) -> bool {
        matches!(self, Self::Float32 | Self::Float64)
    }
}

impl fmt::Display for PortKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Float32 => "float32",
            Self::Float64 => "float64",
            Self::Int64 => "int64",
            Self::Int32 => "int32",
            Self::Bool => "bool",
            Self::String => "string",
        })
    }
}

/// Reads the signature of a model under the default limits.
///
/// The graph is checked as [`crate::Scorer::load`] checks it (operators, tensors, trees), but not
/// compiled, so the width of an output may still be open.
///
/// # Errors
/// [`ModelError`] when the bytes are no model, or one that would be refused whatever the features.
pub fn inspect(model: &[u8]) -> Result<ModelSignature, ModelError> {
    Ok(Graph::read(model, &ScoringLimits::default())?.signature())
}
