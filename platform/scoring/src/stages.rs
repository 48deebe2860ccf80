//! The general way: a graph on tract, with an optional preprocess graph in front, in chunks of rows.

use std::time::{Duration, Instant};

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::SchemaRef;
use tract_onnx::tract_hir::internal::{IntoTValue, TValue, TVec, Tensor, TractError, TractResult};

use crate::bind::BoundInput;
use crate::columns::FloatColumn;
use crate::error::{ModelError, ScoreError};
use crate::forest_stage::Forest;
use crate::graph::Graph;
use crate::limits::ScoringLimits;
use crate::outputs::{Collector, Outputs};
use crate::plan::Plan;
use crate::signature::{Port, PortKind};
use crate::tensors::{shaped, tensor};
use crate::trees::Matrix;

/// Rows of the trial evaluation when a model is loaded; no common width, so a confused dimension shows.
const PROBE_ROWS: usize = 3;

/// Graphs that run one after the other.
#[derive(Debug)]
pub(crate) struct Stages {
    inputs: Vec<BoundInput>,
    preprocess: Option<Plan>,
    engine: Engine,
    batch_time_max: Duration,
}

#[derive(Debug)]
enum Engine {
    /// An ensemble over the matrix that the preprocess model gives, or over the columns themselves.
    Forest(Forest),
    Graph {
        plan: Plan,
        /// For each input of the plan, the output of the preprocess model or the bound input that feeds it.
        links: Vec<usize>,
    },
}

impl Stages {
    /// Compiles checked graphs for bound inputs. Gives the outputs of the last with their widths settled.
    pub(crate) fn compile(
        graph: &Graph,
        first: Option<&Graph>,
        inputs: &[BoundInput],
        limits: &ScoringLimits,
    ) -> Result<(Self, Vec<Port>), ModelError> {
        let bound: Vec<Port> = inputs.iter().map(|input| input.port.clone()).collect();
        let preprocess = match first {
            None => None,
            Some(first) => Some(Plan::compile(first, &bound, limits)?),
        };
        let (ports, feeds) = match &preprocess {
            None => (bound, (0..inputs.len()).collect()),
            Some(preprocess) => link(graph, preprocess)?,
        };
        let width = ports.first().and_then(|port| port.width).unwrap_or(0);
        let (engine, outputs) = if let Some(forest) = Forest::recognise(graph, width)? {
            let outputs = forest.outputs.clone();
            (Engine::Forest(forest), outputs)
        } else {
            let plan = Plan::compile(graph, &ports, limits)?;
            let links = plan
                .inputs
                .iter()
                .map(|port| {
                    ports.iter().position(|bound| bound.name == port.name).map(|at| feeds[at])
                })
                .collect::<Option<Vec<usize>>>()
                .ok_or_else(|| ModelError::Graph {
                    problem: "an input is not bound; export the model again".to_owned(),
                })?;
            let outputs = plan.outputs.clone();
            (Engine::Graph { plan, links }, outputs)
        };
        let batch_time_max = limits.batch_time_max;
        let stages = Self { inputs: inputs.to_vec(), preprocess, engine, batch_time_max };
        stages.probe()?;
        Ok((stages, outputs))
    }

    /// How batches are evaluated, in words.
    pub(crate) fn describe(&self) -> String {
        let engine = match &self.engine {
            Engine::Forest(forest) => forest.describe(),
            Engine::Graph { .. } => "tract".to_owned(),
        };
        match &self.preprocess {
            None => engine,
            Some(_) => format!("tract, then {engine}"),
        }
    }

    /// Output columns of `rows` rows, over chunks that fit a core's cache.
    pub(crate) fn score(
        &self,
        columns: &[ArrayRef],
        outputs: &Outputs,
        rows: usize,
    ) -> Result<Vec<ArrayRef>, ScoreError> {
        if let (Engine::Forest(forest), None) = (&self.engine, &self.preprocess) {
            let columns = columns.iter().map(FloatColumn::of).collect::<Result<Vec<_>, _>>()?;
            return Ok(forest.score(&columns, rows));
        }
        let mut collectors: Vec<Collector> =
            outputs.ports().iter().map(|port| Collector::new(port, rows)).collect();
        let mut arrays: Vec<Vec<ArrayRef>> = Vec::new();
        let chunk_rows = self.chunk_rows();
        let began = Instant::now();
        for start in (0..rows).step_by(chunk_rows) {
            if began.elapsed() > self.batch_time_max {
                let seconds_max = self.batch_time_max.as_secs_f64();
                return Err(ScoreError::Time { seconds_max, done: start, rows });
            }
            let count = chunk_rows.min(rows - start);
            let values = self.tensors(columns, start, count).map_err(|error| evaluation(&error))?;
            match self.evaluate(values, count)? {
                Evaluated::Tensors(values) => {
                    for (collector, value) in collectors.iter_mut().zip(&values) {
                        collector.append(value).map_err(|error| evaluation(&error))?;
                    }
                }
                Evaluated::Arrays(columns) => arrays.push(columns),
            }
        }
        if matches!(self.engine, Engine::Forest(_)) {
            return concat(&arrays, &outputs.schema());
        }
        Ok(collectors.into_iter().flat_map(Collector::finish).collect())
    }

    fn chunk_rows(&self) -> usize {
        let preprocess = self.preprocess.as_ref().map(|plan| plan.chunk_rows);
        let engine = match &self.engine {
            Engine::Graph { plan, .. } => Some(plan.chunk_rows),
            Engine::Forest(_) => None,
        };
        preprocess.into_iter().chain(engine).min().unwrap_or(usize::MAX)
    }

    /// One value per bound input for a range of rows.
    fn tensors(
        &self,
        columns: &[ArrayRef],
        start: usize,
        count: usize,
    ) -> TractResult<Vec<TValue>> {
        let mut next = 0;
        self.inputs
            .iter()
            .map(|input| {
                let columns = &columns[next..next + input.columns.len()];
                next += input.columns.len();
                Ok(tensor(&input.port, columns, start, count)?.into_tvalue())
            })
            .collect()
    }

    fn evaluate(&self, values: Vec<TValue>, rows: usize) -> Result<Evaluated, ScoreError> {
        let values: Vec<TValue> = match &self.preprocess {
            None => values,
            Some(plan) => {
                plan.run(in_plan_order(plan, &self.inputs, &values), rows)?.into_iter().collect()
            }
        };
        match &self.engine {
            Engine::Graph { plan, links } => {
                let inputs = links
                    .iter()
                    .zip(&plan.inputs)
                    .map(|(from, port)| shaped(&values[*from], port, rows))
                    .collect::<TractResult<TVec<TValue>>>()
                    .map_err(|error| evaluation(&error))?;
                Ok(Evaluated::Tensors(plan.run(inputs, rows)?))
            }
            Engine::Forest(forest) => {
                let value = values
                    .first()
                    .ok_or_else(|| ScoreError::Evaluation { problem: "no input".to_owned() })?;
                let columns =
                    forest_over(forest, value, rows).map_err(|error| evaluation(&error))?;
                Ok(Evaluated::Arrays(columns))
            }
        }
    }

    /// Evaluates a few rows of zeros, so that what cannot work is refused now.
    fn probe(&self) -> Result<(), ModelError> {
        let first = match (&self.preprocess, &self.engine) {
            (Some(plan), _) | (None, Engine::Graph { plan, .. }) => plan,
            (None, Engine::Forest(_)) => return Ok(()),
        };
        let probed = first.probe(PROBE_ROWS).and_then(|values| match &self.preprocess {
            None => Ok(()),
            Some(_) => self.after_preprocess(&values),
        });
        match probed {
            Ok(()) => Ok(()),
            // A zero or an empty string may be a category that an encoder rightly refuses.
            Err(ScoreError::Evaluation { .. })
                if self.inputs.iter().any(|input| !input.port.kind.is_float()) =>
            {
                Ok(())
            }
            Err(error) => {
                Err(ModelError::Engine { stage: "evaluated", problem: error.to_string() })
            }
        }
    }

    fn after_preprocess(&self, values: &[TValue]) -> Result<(), ScoreError> {
        match &self.engine {
            Engine::Graph { plan, links } => {
                let inputs = links
                    .iter()
                    .zip(&plan.inputs)
                    .map(|(from, port)| shaped(&values[*from], port, PROBE_ROWS))
                    .collect::<TractResult<TVec<TValue>>>()
                    .map_err(|error| evaluation(&error))?;
                plan.run(inputs, PROBE_ROWS).map(|_| ())
            }
            Engine::Forest(forest) => forest_over(forest, &values[0], PROBE_ROWS)
                .map(|_| ())
                .map_err(|error| evaluation(&error)),
        }
    }
}

/// Outputs of one chunk.
enum Evaluated {
    Tensors(TVec<TValue>),
    Arrays(Vec<ArrayRef>),
}

fn evaluation(error: &TractError) -> ScoreError {
    ScoreError::Evaluation { problem: format!("{error:#}") }
}

/// Finds, for each input of the model, the output of the preprocess model that feeds it.
fn link(graph: &Graph, preprocess: &Plan) -> Result<(Vec<Port>, Vec<usize>), ModelError> {
    let mut ports = Vec::new();
    let mut feeds = Vec::new();
    for input in &graph.inputs {
        let refused = |problem: String| ModelError::Input {
            input: input.name.clone(),
            kind: input.to_string(),
            problem,
        };
        let exact = preprocess.outputs.iter().position(|output| output.name == input.name);
        let by_name = exact.or_else(|| {
            preprocess
                .outputs
                .iter()
                .position(|output| output.name.eq_ignore_ascii_case(&input.name))
        });
        let lone = graph.inputs.len() == 1 && preprocess.outputs.len() == 1;
        let from = by_name.or(lone.then_some(0)).ok_or_else(|| {
            let names: Vec<&str> = preprocess.outputs.iter().map(|output| output.name.as_str()).collect();
            refused(format!(
                "the preprocess model gives no output of that name, it gives {}; rename one of them in the export",
                names.join(", ")
            ))
        })?;
        let output = &preprocess.outputs[from];
        let text = |kind: PortKind| kind == PortKind::String;
        if text(output.kind) != text(input.kind) {
            return Err(refused(format!("the preprocess model gives {output} for it")));
        }
        if input.width.is_some_and(|width| Some(width) != output.width) {
            return Err(refused(format!(
                "the preprocess model's output `{}` is {output}",
                output.name
            )));
        }
        let mut port = input.clone();
        port.width = output.width;
        ports.push(port);
        feeds.push(from);
    }
    Ok((ports, feeds))
}

/// The values of bound inputs in the order in which a plan takes them.
fn in_plan_order(plan: &Plan, inputs: &[BoundInput], values: &[TValue]) -> TVec<TValue> {
    plan.inputs
        .iter()
        .filter_map(|port| inputs.iter().position(|input| input.port.name == port.name))
        .map(|at| values[at].clone())
        .collect()
}

fn forest_over(forest: &Forest, value: &Tensor, rows: usize) -> TractResult<Vec<ArrayRef>> {
    if forest.reads_doubles {
        let cast = value.cast_to::<f64>()?;
        let values = cast.try_as_plain_ram()?.as_slice::<f64>()?;
        return Ok(forest.score(&Matrix { values, width: values.len() / rows.max(1) }, rows));
    }
    let cast = value.cast_to::<f32>()?;
    let values = cast.try_as_plain_ram()?.as_slice::<f32>()?;
    Ok(forest.score(&Matrix { values, width: values.len() / rows.max(1) }, rows))
}

/// Joins the columns of chunks.
fn concat(chunks: &[Vec<ArrayRef>], schema: &SchemaRef) -> Result<Vec<ArrayRef>, ScoreError> {
    if let [one] = chunks {
        return Ok(one.clone());
    }
    (0..schema.fields().len())
        .map(|index| {
            let parts: Vec<&dyn Array> = chunks.iter().map(|chunk| chunk[index].as_ref()).collect();
            if parts.is_empty() {
                return Ok(arrow::array::new_empty_array(schema.field(index).data_type()));
            }
            Ok(arrow::compute::concat(&parts)?)
        })
        .collect()
}
