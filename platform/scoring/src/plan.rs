//! A graph compiled by tract, with the number of rows left open.

use std::sync::Arc;

use tract_onnx::prelude::{InferenceFact, InferenceModelExt, TypedModel, TypedRunnableModel};
use tract_onnx::tract_core::ops::array::Topk;
use tract_onnx::tract_hir::internal::{
    Datum, DatumType, DimLike, InferenceModel, IntoRunnable, IntoTValue, OutletId, Symbol,
    SymbolValues, TDim, TValue, TVec, Tensor, ToDim, TractError, TractResult, ensure, format_err,
    tvec,
};

use crate::cost::row_values;
use crate::error::{ModelError, ScoreError};
use crate::graph::Graph;
use crate::limits::ScoringLimits;
use crate::ops;
use crate::outputs::port_kind;
use crate::quiet;
use crate::signature::{Port, PortKind};

/// Name of the symbol that stands for the rows of a batch.
const ROWS: &str = "N";
/// Values that the widest intermediate result of one chunk should hold: about the size of a core's cache.
const CHUNK_VALUES: usize = 256 * 1024;
/// Rows of a chunk at least and at most.
const CHUNK_ROWS: (usize, usize) = (64, 8_192);

/// A compiled graph. Shared by threads; each run has its own state.
#[derive(Debug)]
pub(crate) struct Plan {
    runnable: Arc<TypedRunnableModel>,
    /// Inputs in the order in which values are passed.
    pub(crate) inputs: Vec<Port>,
    pub(crate) outputs: Vec<Port>,
    /// Rows that are evaluated at once.
    pub(crate) chunk_rows: usize,
}

impl Plan {
    /// Compiles a graph for inputs whose widths are settled.
    pub(crate) fn compile(
        graph: &Graph,
        inputs: &[Port],
        limits: &ScoringLimits,
    ) -> Result<Self, ModelError> {
        let parsed = guard("parsed", || {
            let parsed = ops::onnx().parse(&graph.proto, None)?;
            ensure!(
                parsed.unresolved_inputs.is_empty(),
                "unresolved inputs {:?}",
                parsed.unresolved_inputs
            );
            Ok(parsed.model)
        })?;
        let (typed, rows) = guard("compiled", || {
            let mut model = parsed;
            let rows = model.sym(ROWS);
            for port in inputs {
                let index = input_index(&model, &port.name)?;
                let mut shape: TVec<TDim> = tvec![rows.to_dim()];
                if !port.vector {
                    shape.push(port.width.unwrap_or(1).to_dim());
                }
                model.set_input_fact(
                    index,
                    InferenceFact::dt_shape(datum_type(port.kind), &*shape),
                )?;
            }
            Ok((model.into_typed()?, rows))
        })?;
        let typed = guard("compiled", || ops::correct(typed, &rows))?;
        let row_values = row_values(&typed, &rows, limits)?;
        no_padded_selection(&typed, &rows)?;
        let order = guard("compiled", || typed.input_outlets().map(<[OutletId]>::to_vec))?
            .iter()
            .map(|outlet| typed.node(outlet.node).name.clone())
            .map(|name| inputs.iter().find(|port| port.name == name).cloned())
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| ModelError::Engine {
                stage: "compiled",
                problem: "an input got lost on the way; export the model again".to_owned(),
            })?;
        let outputs = output_ports(graph, &typed, &rows)?;
        let runnable = guard("compiled", || typed.into_optimized()?.into_runnable())?;
        let chunk_rows = (CHUNK_VALUES / row_values.max(1)).clamp(CHUNK_ROWS.0, CHUNK_ROWS.1);
        Ok(Self { runnable, inputs: order, outputs, chunk_rows })
    }

    /// Evaluates a chunk of rows; one tensor per input in the order of [`Plan::inputs`].
    pub(crate) fn run(
        &self,
        inputs: TVec<TValue>,
        rows: usize,
    ) -> Result<TVec<TValue>, ScoreError> {
        let outputs = match quiet::catch(|| self.runnable.run(inputs)) {
            Ok(Ok(outputs)) => outputs,
            Ok(Err(error)) => return Err(ScoreError::Evaluation { problem: chain(&error) }),
            Err(problem) => return Err(ScoreError::Evaluation { problem }),
        };
        for (output, port) in outputs.iter().zip(&self.outputs) {
            if output.shape().first() != Some(&rows) {
                return Err(ScoreError::OutputRows {
                    output: port.name.clone(),
                    found: format!("{:?}", output.shape()),
                    rows,
                });
            }
        }
        Ok(outputs)
    }

    /// Evaluates rows of zeros, so that a graph that cannot keep its promises fails when it is loaded.
    pub(crate) fn probe(&self, rows: usize) -> Result<TVec<TValue>, ScoreError> {
        let inputs = self
            .inputs
            .iter()
            .map(|port| {
                let mut shape = vec![rows];
                if !port.vector {
                    shape.push(port.width.unwrap_or(1));
                }
                Tensor::zero_dt(datum_type(port.kind), &shape).map(IntoTValue::into_tvalue)
            })
            .collect::<TractResult<TVec<TValue>>>()
            .map_err(|error| ScoreError::Evaluation { problem: chain(&error) })?;
        self.run(inputs, rows)
    }
}

/// Runs a step of the compiler; its panics are refusals like its errors.
fn guard<T>(stage: &'static str, step: impl FnOnce() -> TractResult<T>) -> Result<T, ModelError> {
    match quiet::catch(step) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(ModelError::Engine { stage, problem: chain(&error) }),
        Err(problem) => Err(ModelError::Engine { stage, problem }),
    }
}

/// An error with its causes on one line, each cut to its first line.
fn chain(error: &TractError) -> String {
    let causes: Vec<String> = error
        .chain()
        .map(|cause| {
            cause.to_string().lines().next().unwrap_or_default().chars().take(200).collect()
        })
        .collect();
    causes.join("; ")
}

fn input_index(model: &InferenceModel, name: &str) -> TractResult<usize> {
    model
        .input_outlets()?
        .iter()
        .position(|outlet| model.node(outlet.node).name == name)
        .ok_or_else(|| format_err!("no input `{name}`"))
}

/// Refuses a `TopK` that asks for more values than there are: tract fills up with zeros.
fn no_padded_selection(model: &TypedModel, rows: &Symbol) -> Result<(), ModelError> {
    let one_row = SymbolValues::default().with(rows, 1);
    for node in model.nodes().iter().filter(|node| node.op_is::<Topk>()) {
        let (Some(input), Some(output)) = (node.inputs.first(), node.outputs.first()) else {
            continue;
        };
        let given = model
            .outlet_fact(*input)
            .map_err(|error| ModelError::Engine { stage: "compiled", problem: chain(&error) })?;
        for (given, taken) in given.shape.iter().zip(output.fact.shape.iter()) {
            let sizes = (given.eval(&one_row).to_usize(), taken.eval(&one_row).to_usize());
            if !matches!(sizes, (Ok(given), Ok(taken)) if taken <= given) {
                return Err(ModelError::Graph {
                    problem: format!(
                        "node `{}` (TopK) takes {taken} of {given} values per row; expected a fixed number, at most \
                         as many as there are",
                        node.name
                    ),
                });
            }
        }
    }
    Ok(())
}

fn output_ports(graph: &Graph, model: &TypedModel, rows: &Symbol) -> Result<Vec<Port>, ModelError> {
    let outlets = guard("compiled", || model.output_outlets().map(<[OutletId]>::to_vec))?;
    graph
        .outputs
        .iter()
        .zip(outlets)
        .map(|(declared, outlet)| {
            let refused = |problem: String| ModelError::Graph {
                problem: format!("output `{}`: {problem}", declared.name),
            };
            let fact = model.outlet_fact(outlet).map_err(|error| refused(chain(&error)))?;
            let kind = port_kind(fact.datum_type)
                .ok_or_else(|| refused(format!("values of type {:?} cannot be a column", fact.datum_type)))?;
            let dims: Vec<TDim> = fact.shape.iter().cloned().collect();
            let shape = dims.iter().map(TDim::to_string).collect::<Vec<_>>().join(", ");
            if dims.first() != Some(&rows.to_dim()) {
                return Err(refused(format!(
                    "it has shape [{shape}]; expected one row per customer ([N] or [N, K]), so export with a dynamic first dimension"
                )));
            }
            let width = dims[1..]
                .iter()
                .try_fold(1usize, |width, dim| width.checked_mul(dim.to_usize().ok()?))
                .filter(|width| *width > 0)
                .ok_or_else(|| refused(format!("it has shape [{shape}]; expected a fixed number of values per row")))?;
            if let Some(classes) = declared.classes.as_ref().filter(|classes| classes.len() != width) {
                return Err(refused(format!(
                    "its ZipMap names {} classes and it has {width} scores per row",
                    classes.len()
                )));
            }
            Ok(Port {
                name: declared.name.clone(),
                kind,
                width: Some(width),
                vector: dims.len() == 1,
                classes: declared.classes.clone(),
            })
        })
        .collect()
}

pub(crate) fn datum_type(kind: PortKind) -> DatumType {
    match kind {
        PortKind::Float32 => f32::datum_type(),
        PortKind::Float64 => f64::datum_type(),
        PortKind::Int64 => i64::datum_type(),
        PortKind::Int32 => i32::datum_type(),
        PortKind::Bool => bool::datum_type(),
        PortKind::String => String::datum_type(),
    }
}
