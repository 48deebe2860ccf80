//! Loading a model for ranking: taking it apart, and making sure that the parts give what it gives.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use serde::{Deserialize, Serialize};
use tract_onnx::pb::ModelProto;

use super::bind::{self, Columns, Entry, Side};
use super::items;
use super::part::{Part, PartInput};
use super::probe;
use super::ranked::Ranker;
use super::split::{Cut, Depth, Split, cut_name};
use super::tail::DotProduct;
use crate::error::ModelError;
use crate::graph::{Graph, decode};
use crate::limits::ScoringLimits;
use crate::signature::PortKind;

/// Most items per customer.
pub const TOP_N_MAX: usize = 1_000;

/// What is ranked, and by what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RankOptions {
    /// Column of the items that names an item: an integer or a string, one row each.
    pub item_key: String,
    /// Rows per customer at most, 1 to [`TOP_N_MAX`].
    pub top_n: usize,
    /// Output column to rank by, largest first; `None` for the last float one.
    pub score: Option<String>,
}

/// A model that is checked, taken apart and compiled, and waits for its items.
#[derive(Debug)]
pub struct Ranking {
    pub(super) options: RankOptions,
    pub(super) customer: Part,
    pub(super) item: Part,
    pub(super) joint: Part,
    pub(super) method: Method,
    /// Column of the joint part's outputs that ranks.
    pub(super) score: usize,
    schema: SchemaRef,
}

/// The way through the pairs.
#[derive(Debug)]
pub(super) enum Method {
    Dot(Dot),
    Pairs,
}

/// A dot product with its vectors found among the columns of the parts.
#[derive(Debug)]
pub(super) struct Dot {
    pub(super) steps: Vec<super::tail::Step>,
    pub(super) customer: Vec<usize>,
    pub(super) item: Vec<usize>,
    pub(super) item_bias: Option<usize>,
    /// For each cut, its first column in its side's part.
    pub(super) cut_columns: Vec<usize>,
}

impl Ranking {
    /// Checks and compiles a model that scores a customer with an item.
    ///
    /// `customers` are the columns of the customers' SQL without its key, `items` those of the items'
    /// SQL with it. No name may be on both sides. A model input of one value takes the column of its
    /// name; a matrix takes the columns that the model's metadata lists (`feature_names` for a lone
    /// input, `feature_names.<input>` for one of several), else all columns, the customers' first, for
    /// a lone input, else all columns of the side that it is named for (`customer`, `item`).
    ///
    /// # Errors
    /// [`ModelError`] names the operator and node, the input, or the column, and what to do.
    pub fn load(
        model: &[u8],
        customers: &Schema,
        items: &Schema,
        options: &RankOptions,
        limits: &ScoringLimits,
    ) -> Result<Self, ModelError> {
        let refused = |problem: String| ModelError::Graph { problem };
        if !(1..=TOP_N_MAX).contains(&options.top_n) {
            return Err(refused(format!(
                "expected to keep 1 to {TOP_N_MAX} items, found {}",
                options.top_n
            )));
        }
        let (key, item_features) = without_key(items, &options.item_key)?;
        let checked = Graph::read(model, limits)?;
        let proto = decode(model)?;
        let columns = Columns { customers, items: &item_features };
        let entries = bind::entries(&checked.inputs, |key| metadata(&proto, key), &columns)?;
        for (side, query) in [(Side::Customer, "customers'"), (Side::Item, "items'")] {
            if !entries.iter().flat_map(|entry| &entry.sources).any(|source| source.side == side) {
                return Err(refused(format!(
                    "the model reads no column of the {query} SQL, so it cannot rank items for a customer; \
                     name its inputs after columns of both sides"
                )));
            }
        }
        let build =
            Build { proto: &proto, entries: &entries, columns: &columns, options, limits, key };
        let whole = build.at(Depth::Inputs)?;
        // Cutting deep may fail or change the result where a graph confuses rows with values; the
        // whole model for every pair is always right.
        let deep = build.at(Depth::Deep).ok();
        Ok(deep
            .filter(|deep| probe::agree(deep, &whole, customers, &item_features))
            .unwrap_or(whole))
    }

    /// Columns of [`super::Ranked::rows`]: `rank`, the item's key, the model's outputs.
    #[must_use]
    pub fn output_schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }

    /// Names of the columns that the model reads, the customers' first.
    #[must_use]
    pub fn input_columns(&self) -> Vec<String> {
        self.customer.columns.iter().chain(&self.item.columns).cloned().collect()
    }

    /// Rows per customer at most.
    #[must_use]
    pub fn top_n(&self) -> usize {
        self.options.top_n
    }

    /// By what items are ranked, in words.
    #[must_use]
    pub fn describe(&self) -> String {
        match &self.method {
            Method::Dot(dot) => {
                format!("the dot product of {} values per customer and item", dot.customer.len())
            }
            Method::Pairs => format!(
                "pairs of {} customer and {} item values",
                self.customer.scorer.output_schema().fields().len(),
                self.item.scorer.output_schema().fields().len()
            ),
        }
    }

    /// Evaluates what depends on the items alone and is ready for customers.
    ///
    /// # Errors
    /// [`ModelError`] when an item has no key, occurs twice, or has a value that the model cannot take.
    pub fn over(self: &Arc<Self>, items: &RecordBatch) -> Result<Ranker, ModelError> {
        Ranker::new(Arc::clone(self), items::sorted(items, &self.options.item_key)?)
    }
}

/// Everything from which parts are made.
struct Build<'a> {
    proto: &'a ModelProto,
    entries: &'a [Entry],
    columns: &'a Columns<'a>,
    options: &'a RankOptions,
    limits: &'a ScoringLimits,
    key: Field,
}

impl Build<'_> {
    fn at(&self, depth: Depth) -> Result<Ranking, ModelError> {
        let graph = self.proto.graph.as_ref().ok_or_else(|| ModelError::Malformed {
            problem: "the file holds no graph".to_owned(),
        })?;
        let split = Split::new(graph, self.entries, depth);
        let compile = |side, schema| {
            let (inputs, body) = split.side(side);
            Part::compile(self.proto, &inputs, body, schema, self.limits)
        };
        let customer = compile(Side::Customer, self.columns.customers)?;
        let item = compile(Side::Item, self.columns.items)?;
        let cut_input = |cut: &Cut| {
            let own = if cut.side == Side::Customer { &customer } else { &item };
            let at = split.own_cuts(cut.side).position(|other| other == cut).unwrap_or_default();
            let port = &own.scorer.output_ports()[at];
            PartInput {
                tensor: cut.tensor.clone(),
                columns: port.columns().unwrap_or_default(),
                kind: port.kind,
                vector: port.vector,
            }
        };
        let (inputs, body) = split.joint(cut_input);
        let (customer_schema, item_schema) =
            (customer.scorer.output_schema(), item.scorer.output_schema());
        let both: Vec<_> =
            customer_schema.fields().iter().chain(item_schema.fields()).cloned().collect();
        let joint = Part::compile(self.proto, &inputs, body, &Schema::new(both), self.limits)?;
        let outputs = joint.scorer.output_schema();
        let score = score_column(&outputs, self.options.score.as_deref())?;
        let method = DotProduct::recognise(&split)
            .filter(|_| depth == Depth::Deep)
            .and_then(|found| dot(&split, found, &customer, &item))
            .map_or(Method::Pairs, Method::Dot);
        let schema = output_schema(&self.key, &outputs)?;
        Ok(Ranking { options: self.options.clone(), customer, item, joint, method, score, schema })
    }
}

/// Finds the vectors of a dot product among the columns of the parts; `None` where they are no floats.
fn dot(split: &Split<'_>, found: DotProduct, customer: &Part, item: &Part) -> Option<Dot> {
    let columns = |cut: usize| -> Option<Vec<usize>> {
        let cut = &split.cuts[cut];
        let own = if cut.side == Side::Customer { customer } else { item };
        let at = split.own_cuts(cut.side).position(|other| other == cut)?;
        let ports = own.scorer.output_ports();
        let first: usize = ports[..at].iter().filter_map(|port| port.width).sum();
        debug_assert_eq!(ports[at].name, cut_name(cut.side, at));
        (ports[at].kind == PortKind::Float32)
            .then(|| (first..first + ports[at].width.unwrap_or(0)).collect())
    };
    let (customer_columns, item_columns) = (columns(found.customer)?, columns(found.item)?);
    let single =
        |cut: usize| columns(cut).filter(|columns| columns.len() == 1).map(|columns| columns[0]);
    let item_bias = match found.item_bias {
        Some(cut) => Some(single(cut)?),
        None => None,
    };
    let cut_columns: Vec<usize> = (0..split.cuts.len())
        .map(|cut| columns(cut).and_then(|columns| columns.first().copied()).unwrap_or(0))
        .collect();
    for step in &found.steps {
        if let super::tail::Step::AddCustomer(cut) = step {
            single(*cut)?;
        }
    }
    let fits = !customer_columns.is_empty() && customer_columns.len() == item_columns.len();
    fits.then_some(Dot {
        steps: found.steps,
        customer: customer_columns,
        item: item_columns,
        item_bias,
        cut_columns,
    })
}

/// The item key as it is given out, and the items' other columns.
fn without_key(items: &Schema, key: &str) -> Result<(Field, Schema), ModelError> {
    let index = items::key_index(items, key).ok_or_else(|| {
        let names: Vec<&str> = items.fields().iter().map(|field| field.name().as_str()).collect();
        ModelError::Graph {
            problem: format!("the items have no column `{key}`, only {}", names.join(", ")),
        }
    })?;
    let found = items.field(index);
    let kind = items::key_type(found.data_type())
        .ok_or_else(|| items::not_a_key(key, found.data_type()))?;
    let fields = items.fields().iter().enumerate();
    let others: Vec<_> =
        fields.filter(|(at, _)| *at != index).map(|(_, field)| Arc::clone(field)).collect();
    Ok((Field::new(found.name(), kind, false), Schema::new(others)))
}

fn metadata(proto: &ModelProto, key: &str) -> Option<Vec<String>> {
    let entry = proto.metadata_props.iter().find(|entry| entry.key == key)?;
    Some(entry.value.split(',').map(|name| name.trim().to_owned()).collect())
}

/// The output column that ranks.
fn score_column(outputs: &Schema, wanted: Option<&str>) -> Result<usize, ModelError> {
    let float = |field: &Field| matches!(field.data_type(), DataType::Float32 | DataType::Float64);
    let names = || {
        let fields = outputs.fields().iter();
        fields
            .map(|field| format!("{} ({})", field.name(), field.data_type()))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let fields = outputs.fields();
    let found = match wanted {
        Some(name) => {
            fields.iter().position(|field| field.name().eq_ignore_ascii_case(name) && float(field))
        }
        None => fields.iter().rposition(|field| float(field)),
    };
    found.ok_or_else(|| ModelError::Graph {
        problem: match wanted {
            Some(name) => {
                format!("no float output `{name}` to rank by; the model gives {}", names())
            }
            None => format!("no float output to rank by; the model gives {}", names()),
        },
    })
}

fn output_schema(key: &Field, outputs: &Schema) -> Result<SchemaRef, ModelError> {
    let mut fields =
        vec![Arc::new(Field::new("rank", DataType::Int64, false)), Arc::new(key.clone())];
    for output in outputs.fields() {
        if fields.iter().any(|field| field.name().eq_ignore_ascii_case(output.name())) {
            return Err(ModelError::Graph {
                problem: format!(
                    "the model's output `{0}` has the name of a column that ranking adds; rename the output",
                    output.name()
                ),
            });
        }
        fields.push(Arc::clone(output));
    }
    Ok(Arc::new(Schema::new(fields)))
}
