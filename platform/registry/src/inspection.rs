//! Matching a bundle's steps for `check`, `plan` and `apply`: what SQL gives, what the model takes
//! and gives, so that every mismatch is shown at its line.

use std::sync::Arc;

use arrow::datatypes::{DataType as ArrowType, Field, Schema};
use cameo_batch::arrow_type;
use cameo_bundle::{
    Bundle, Code, Diagnostic, Located, ModelPort, Span, SqlFile, StepColumn, Steps, artifact,
    check_steps,
};
use cameo_domain::{EXPLANATION_COLUMN, RANK_COLUMN};
use cameo_scoring::{ModelSignature, Port, PortKind};
use cameo_warehouse::{
    Parameters, Query, SqlError, Warehouse, WarehouseError,
    googlesql::{self, Context, OutputColumn},
};
use chrono::Utc;

use crate::shared::Shared;

/// What could be learnt about a bundle's steps.
pub struct Inspection {
    /// Everything that does not fit, in the order of the steps.
    pub diagnostics: Vec<Diagnostic>,
    /// The model's bytes, unless they could not be read.
    pub model: Option<Vec<u8>>,
    /// The preprocess model's bytes.
    pub preprocess: Option<Vec<u8>>,
    /// The feature columns, without the key, where the query tells them.
    pub features: Option<Vec<String>>,
}

/// The bytes of a model and of the model before it.
#[derive(Clone, Default)]
pub struct Models {
    /// The model.
    pub model: Vec<u8>,
    /// The model before it, where there is one.
    pub preprocess: Option<Vec<u8>>,
}

impl std::fmt::Debug for Models {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let preprocess = self.preprocess.as_ref().map(Vec::len);
        write!(f, "Models {{ {} bytes, preprocess {preprocess:?} }}", self.model.len())
    }
}

/// Reads the models and describes the SQL. With a warehouse that has the tables, columns have
/// types; without one, names alone are matched.
pub async fn inspect(bundle: &Bundle, warehouse: Option<&Arc<dyn Warehouse>>) -> Inspection {
    inspect_models(bundle, warehouse, None, &Shared::default()).await
}

/// As [`inspect`], with what earlier inspections have left behind.
pub async fn inspect_sharing(
    bundle: &Bundle,
    warehouse: Option<&Arc<dyn Warehouse>>,
    shared: &Shared,
) -> Inspection {
    inspect_models(bundle, warehouse, None, shared).await
}

/// As [`inspect_sharing`], with models in place of those that the bundle names.
pub async fn inspect_models(
    bundle: &Bundle,
    warehouse: Option<&Arc<dyn Warehouse>>,
    instead: Option<&Models>,
    shared: &Shared,
) -> Inspection {
    let mut inspector = Inspector {
        bundle,
        shared,
        parameters: parameters(bundle),
        steps: Steps::default(),
        found: vec![],
    };
    inspector.features(warehouse).await;
    let location = &bundle.config.model.model_path;
    let given = instead.map(|models| models.model.clone());
    let (model, signature) = inspector.model(location, given).await.unzip();
    let given = instead.and_then(|models| models.preprocess.clone());
    let (preprocess, first) = match (&bundle.config.features.preprocess_object_path, given) {
        (Some(location), given) => inspector.model(location, given).await.unzip(),
        (None, Some(given)) => inspector.model(location, Some(given)).await.unzip(),
        (None, None) => (None, None),
    };
    if let Some(signature) = &signature {
        let entry = first.as_ref().unwrap_or(signature);
        inspector.steps.model_inputs = entry.inputs.iter().map(model_port).collect();
        inspector.steps.feature_names.clone_from(&entry.feature_names);
        inspector.steps.model_outputs = signature.outputs.iter().flat_map(output_ports).collect();
    }
    inspector.items(warehouse).await;
    inspector.predictions(signature.as_deref());
    let mut diagnostics = inspector.found;
    diagnostics.extend(check_steps(bundle, &inspector.steps));
    let schema = bundle.config.prediction.schema();
    let features = inspector.steps.features.map(|columns| {
        let names = columns.into_iter().map(|column| column.name);
        names.filter(|name| !name.eq_ignore_ascii_case(schema.key().name.as_str())).collect()
    });
    Inspection { diagnostics, model, preprocess, features }
}

/// The parameters of a run that would start now.
#[must_use]
pub fn parameters(bundle: &Bundle) -> Parameters {
    let run_time = Utc::now();
    let zone = bundle.config.prediction.schedule.zone();
    Parameters { run_time, run_date: run_time.with_timezone(&zone).date_naive() }
}

struct Inspector<'a> {
    bundle: &'a Bundle,
    shared: &'a Shared,
    parameters: Parameters,
    steps: Steps,
    found: Vec<Diagnostic>,
}

impl Inspector<'_> {
    async fn features(&mut self, warehouse: Option<&Arc<dyn Warehouse>>) {
        self.steps.features = self.columns(&self.bundle.feature_sql, warehouse).await;
    }

    async fn items(&mut self, warehouse: Option<&Arc<dyn Warehouse>>) {
        if let Some(source) = &self.bundle.item_sql {
            self.steps.items = self.columns(source, warehouse).await;
        }
    }

    /// The columns of a query over the warehouse: their names, and their types where it has the tables.
    async fn columns(
        &mut self,
        source: &SqlFile,
        warehouse: Option<&Arc<dyn Warehouse>>,
    ) -> Option<Vec<StepColumn>> {
        let rewritten = match googlesql::to_duckdb(&source.text, &Context::lake(self.parameters)) {
            Ok(rewritten) => rewritten,
            Err(error) => {
                self.found.push(sql_problem(source, &error));
                return None;
            }
        };
        let places = rewritten.columns.map(|columns| placed(source, columns));
        let Some(warehouse) = warehouse else { return places };
        let query = Query { sql: source.text.to_string(), parameters: self.parameters };
        match warehouse.describe(&self.bundle.path.tenant, &query).await {
            Ok(description) => Some(typed(&description.schema, places.as_deref())),
            Err(error) => {
                self.found.push(warehouse_problem(source, &error));
                places
            }
        }
    }

    async fn model(
        &mut self,
        location: &Located<String>,
        given: Option<Vec<u8>>,
    ) -> Option<(Vec<u8>, Arc<ModelSignature>)> {
        let bundle = self.bundle;
        let bytes = match given {
            Some(bytes) => bytes,
            None => match artifact::fetch(&location.value, &bundle.folder).await {
                Ok(bytes) => bytes.to_vec(),
                Err(error) => {
                    self.model_problem(location, &error.to_string());
                    return None;
                }
            },
        };
        match self.shared.signature(&bytes) {
            Ok(signature) => Some((bytes, signature)),
            Err(error) => {
                self.model_problem(location, &error.to_string());
                None
            }
        }
    }

    fn model_problem(&mut self, location: &Located<String>, message: &str) {
        let config = self.bundle.config_source();
        self.found.push(Diagnostic::at(Code::ModelInvalid, &config, location.span, message));
    }

    fn predictions(&mut self, signature: Option<&ModelSignature>) {
        let Some(source) = &self.bundle.predictions_sql else { return };
        let context = Context::model_outputs(self.parameters);
        let rewritten = match googlesql::to_duckdb(&source.text, &context) {
            Ok(rewritten) => rewritten,
            Err(error) => return self.found.push(sql_problem(source, &error)),
        };
        let places = rewritten.columns.map(|columns| placed(source, columns));
        self.steps.postprocessed = match signature.and_then(|model| scored(self.bundle, model)) {
            None => places,
            Some(input) => {
                match self.shared.describer().describe(&source.text, &input, &self.parameters) {
                    Ok(schema) => Some(typed(&schema, places.as_deref())),
                    Err(error) => {
                        self.found.push(warehouse_problem(source, &error));
                        places
                    }
                }
            }
        };
    }
}

/// The schema of `model_outputs`, where the model says every width.
fn scored(bundle: &Bundle, model: &ModelSignature) -> Option<Schema> {
    let key = bundle.config.prediction.schema().key();
    let mut fields = vec![Field::new(key.name.as_str(), arrow_type(key.data_type), false)];
    if let Some(ranking) = &bundle.config.ranking {
        let item = ranking.item_key.value.as_str();
        let mut columns = bundle.config.prediction.schema().columns();
        let declared = columns.find(|column| column.name.as_str().eq_ignore_ascii_case(item))?;
        fields.push(Field::new(RANK_COLUMN, ArrowType::Int64, false));
        fields.push(Field::new(item, arrow_type(declared.data_type), false));
    }
    for port in &model.outputs {
        let kind = arrow_kind(port.kind);
        fields.extend(port.columns()?.into_iter().map(|name| Field::new(name, kind.clone(), true)));
    }
    if bundle.config.published_schema().is_explained() {
        fields.push(Field::new(EXPLANATION_COLUMN, ArrowType::Utf8, true));
    }
    Some(Schema::new(fields))
}

/// Arrow type of the values of a port.
#[must_use]
pub fn arrow_kind(kind: PortKind) -> ArrowType {
    match kind {
        PortKind::Float32 => ArrowType::Float32,
        PortKind::Float64 => ArrowType::Float64,
        PortKind::Int64 => ArrowType::Int64,
        PortKind::Int32 => ArrowType::Int32,
        PortKind::Bool => ArrowType::Boolean,
        PortKind::String => ArrowType::Utf8,
    }
}

fn model_port(port: &Port) -> ModelPort {
    ModelPort { name: port.name.clone(), kind: port.kind.to_string(), width: port.width }
}

/// An output that names its classes gives a column for each.
fn output_ports(port: &Port) -> Vec<ModelPort> {
    match port.columns() {
        Some(columns) if port.classes.is_some() => columns
            .into_iter()
            .map(|name| ModelPort { name, kind: port.kind.to_string(), width: Some(1) })
            .collect(),
        _ => vec![model_port(port)],
    }
}

fn placed(source: &SqlFile, columns: Vec<OutputColumn>) -> Vec<StepColumn> {
    columns
        .into_iter()
        .map(|column| StepColumn {
            span_in_sql: Some(source.span_at(column.line, column.column)),
            name: column.name,
            data_type: None,
        })
        .collect()
}

/// The engine's columns with their types, at the places that the text gave them.
fn typed(schema: &Schema, places: Option<&[StepColumn]>) -> Vec<StepColumn> {
    let place = |name: &str| {
        places?.iter().find(|column| column.name.eq_ignore_ascii_case(name))?.span_in_sql
    };
    schema
        .fields()
        .iter()
        .map(|field| StepColumn {
            name: field.name().clone(),
            data_type: Some(field.data_type().to_string()),
            span_in_sql: place(field.name()),
        })
        .collect()
}

/// A problem of a query, at the place of the file that its author wrote.
#[must_use]
pub fn sql_problem(source: &SqlFile, error: &SqlError) -> Diagnostic {
    let problem = if let (Some(line), Some(column)) = (error.line, error.column) {
        source.problem_at(Code::SqlInvalid, line, column, error.message.as_str())
    } else {
        // The engine saw rewritten text, so its own place would be wrong: the name is looked for.
        let span = error.name.as_deref().and_then(|name| word(source, name));
        let span = span.unwrap_or(source.start());
        Diagnostic::at(Code::SqlInvalid, &source.source, span, error.message.as_str())
    };
    match &error.help {
        Some(help) => problem.help(help.as_str()),
        None => problem,
    }
}

/// The first place of `name` as a word of the query, comments left out.
fn word(source: &SqlFile, name: &str) -> Option<Span> {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut start = 0;
    for line in source.text.split_inclusive('\n') {
        let code = line.split("--").next().unwrap_or_default();
        for (at, _) in code.match_indices(name) {
            let end = at + name.len();
            let alone =
                !code[..at].ends_with(part_of_word) && !code[end..].starts_with(part_of_word);
            if alone {
                return Some(source.span(start + at..start + end));
            }
        }
        start += line.len();
    }
    None
}

fn warehouse_problem(source: &SqlFile, error: &WarehouseError) -> Diagnostic {
    match error {
        WarehouseError::Sql(error) => sql_problem(source, error),
        other => {
            let source = &source.source;
            Diagnostic::at(Code::SqlInvalid, source, source.start(), other.to_string())
        }
    }
}
