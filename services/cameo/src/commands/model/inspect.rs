//! `cameo model inspect`: what a model takes and gives, how it runs here, and how fast.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context, bail};
use arrow::datatypes::{Field, Schema};
use cameo_bundle::{Bundle, Diagnostic, MODEL_BYTES_MAX, load, other_format, render_human};
use cameo_registry::{
    Shared,
    inspection::{self, Models, arrow_kind},
};
use cameo_scoring::{Anatomy, Scorer, ScoringLimits, anatomy};
use serde::Serialize;

use super::{
    speed::{self, Speed},
    text,
};
use crate::{
    cli::{Global, ModelInspect},
    commands::check,
    output::Output,
};

/// A model as this server sees it.
#[derive(Debug, Serialize)]
pub(super) struct Inspected {
    pub(super) file: PathBuf,
    #[serde(flatten)]
    pub(super) model: Anatomy,
    pub(super) preprocess: Option<Anatomy>,
    /// The feature columns that it was bound to, in their order.
    pub(super) features: Vec<String>,
    pub(super) outputs_become: Vec<OutputColumns>,
    /// Where each prediction of the bundle comes from.
    pub(super) predictions: Option<Vec<Bound>>,
    /// Kernel or runtime that batches go through.
    pub(super) runs_on: Option<String>,
    pub(super) speed: Option<Speed>,
    /// Why there is no speed, where there is none.
    pub(super) not_measured: Option<String>,
    /// What does not fit between the model and the bundle.
    pub(super) problems: Vec<Diagnostic>,
}

/// The columns that an output becomes.
#[derive(Debug, Serialize)]
pub(super) struct OutputColumns {
    pub(super) output: String,
    pub(super) kind: String,
    /// `None` where only compiling the model with its features tells.
    pub(super) columns: Option<Vec<String>>,
}

/// What a prediction name is bound to.
#[derive(Debug, Serialize)]
pub(super) struct Bound {
    pub(super) prediction: String,
    pub(super) data_type: String,
    pub(super) from: Option<String>,
}

pub(super) async fn run(
    global: &Global,
    wanted: ModelInspect,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let bundle = match &wanted.bundle {
        Some(folder) => match load(folder) {
            Ok(bundle) => Some(bundle),
            Err(problems) => {
                check::show_problems(&problems, "; the bundle cannot be read", output)?;
                return Ok(ExitCode::FAILURE);
            }
        },
        None => None,
    };
    let (file, models) = read_models(&wanted, bundle.as_ref()).await?;
    let limits = ScoringLimits::default();
    let take_apart = |bytes: &[u8], place: &Path| {
        anatomy(bytes, &limits).with_context(|| format!("{} is refused", place.display()))
    };
    let model = take_apart(&models.model, &file)?;
    let preprocess = match (&models.preprocess, &wanted.preprocess) {
        (Some(bytes), place) => {
            Some(take_apart(bytes, place.as_deref().unwrap_or(Path::new("the preprocess model")))?)
        }
        (None, _) => None,
    };
    let (mut features, mut problems) = (None, vec![]);
    if let Some(bundle) = &bundle {
        let warehouse = check::lake(global)?;
        let (warehouse, shared) = (warehouse.as_ref(), Shared::default());
        let found = inspection::inspect_models(bundle, warehouse, Some(&models), &shared).await;
        (features, problems) = (found.features, found.diagnostics);
    }
    let mut inspected = Inspected {
        file,
        predictions: None,
        features: features.unwrap_or_default(),
        outputs_become: outputs_become(&model, None),
        model,
        preprocess,
        runs_on: None,
        speed: None,
        not_measured: None,
        problems,
    };
    inspected.load_and_measure(&models, &limits);
    inspected.predictions = bundle.as_ref().map(|bundle| predictions(bundle, &inspected));
    output.show(&inspected, |inspected| {
        let mut shown = text::describe(inspected, bundle.as_ref(), output);
        if !inspected.problems.is_empty() {
            shown = format!("{shown}\n{}", render_human(&inspected.problems, output.has_colour()));
        }
        shown
    })?;
    let failed = inspected.problems.iter().any(Diagnostic::is_error);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The model's file and its bytes with those of its preprocess model, by argument or else by bundle.
async fn read_models(
    wanted: &ModelInspect,
    bundle: Option<&Bundle>,
) -> anyhow::Result<(PathBuf, Models)> {
    let from_bundle = |location: &str| PathBuf::from(location);
    let (file, model) = match (&wanted.model, bundle) {
        (Some(file), _) => (file.clone(), read_file(file)?),
        (None, Some(bundle)) => {
            let location = &bundle.config.model.model_path.value;
            (from_bundle(location), fetch(bundle, location).await?)
        }
        (None, None) => bail!("name a model file, or a bundle with --bundle"),
    };
    let preprocess = match (&wanted.preprocess, bundle) {
        (Some(file), _) => Some(read_file(file)?),
        (None, Some(bundle)) => match &bundle.config.features.preprocess_object_path {
            Some(location) => Some(fetch(bundle, &location.value).await?),
            None => None,
        },
        (None, None) => None,
    };
    Ok((file, Models { model, preprocess }))
}

async fn fetch(bundle: &Bundle, location: &str) -> anyhow::Result<Vec<u8>> {
    Ok(cameo_bundle::artifact::fetch(location, &bundle.folder).await?.to_vec())
}

/// A file that may be ONNX; what it certainly is instead is told before any decoder sees it.
pub(crate) fn read_file(file: &Path) -> anyhow::Result<Vec<u8>> {
    let name = file.display();
    let bytes = std::fs::metadata(file).with_context(|| format!("could not read {name}"))?.len();
    if bytes > MODEL_BYTES_MAX {
        bail!("{name} has {bytes} bytes, the limit is {MODEL_BYTES_MAX}; make the model smaller");
    }
    let content = std::fs::read(file).with_context(|| format!("could not read {name}"))?;
    if let Some(format) = other_format(&content) {
        bail!(
            "{name} is {format}; expected an ONNX model, so export it (skl2onnx, onnxmltools, torch.onnx), \
             or with Git LFS run `git lfs pull`"
        );
    }
    Ok(content)
}

impl Inspected {
    /// Binds the model to its columns, or to made-up ones, and times it.
    fn load_and_measure(&mut self, models: &Models, limits: &ScoringLimits) {
        let entry = self.preprocess.as_ref().unwrap_or(&self.model);
        let schema = match schema(entry, &self.features) {
            Ok(schema) => Arc::new(schema),
            Err(reason) => {
                self.not_measured = Some(reason);
                return;
            }
        };
        let loaded = Scorer::load(&models.model, models.preprocess.as_deref(), &schema, limits);
        let scorer = match loaded {
            Ok(scorer) => scorer,
            Err(error) => {
                self.not_measured = Some(error.to_string());
                return;
            }
        };
        self.features = schema.fields().iter().map(|field| field.name().clone()).collect();
        self.runs_on = Some(scorer.describe());
        self.outputs_become = outputs_become(&self.model, Some(&scorer));
        match speed::measure(&scorer, &schema) {
            Ok(speed) => self.speed = Some(speed),
            Err(error) => self.not_measured = Some(error.to_string()),
        }
    }
}

/// Columns of the types that the inputs want: the bundle's names, else the model's, else made-up ones.
fn schema(entry: &Anatomy, features: &[String]) -> Result<Schema, String> {
    let ports = &entry.signature.inputs;
    let names: Vec<String> = match (features, &ports[..]) {
        ([], [port]) => match (&entry.signature.feature_names, port.width) {
            (Some(names), _) => names.clone(),
            (None, Some(1)) => vec![port.name.clone()],
            (None, Some(width)) => (0..width).map(|index| format!("f{index}")).collect(),
            (None, None) => {
                let compared = entry.ensembles.iter().map(|ensemble| ensemble.features).max();
                let width = compared.filter(|width| *width > 0).ok_or_else(|| {
                    format!(
                        "input `{}` leaves its width open; name the bundle with --bundle, whose query gives the \
                         columns, or export with a fixed number of features",
                        port.name
                    )
                })?;
                (0..width).map(|index| format!("f{index}")).collect()
            }
        },
        ([], ports) => ports.iter().map(|port| port.name.clone()).collect(),
        (features, _) => features.to_vec(),
    };
    let kind = |name: &str| match &ports[..] {
        [port] => Some(port.kind),
        ports => {
            ports.iter().find(|port| port.name.eq_ignore_ascii_case(name)).map(|port| port.kind)
        }
    };
    let fields: Vec<Field> = names
        .iter()
        .filter_map(|name| Some(Field::new(name, arrow_kind(kind(name)?), true)))
        .collect();
    Ok(Schema::new(fields))
}

fn outputs_become(model: &Anatomy, scorer: Option<&Scorer>) -> Vec<OutputColumns> {
    let mut given = scorer.map(|scorer| scorer.output_schema().fields().clone().to_vec());
    model
        .signature
        .outputs
        .iter()
        .map(|port| {
            let mut columns = port.columns();
            let mut kind = port.kind.to_string();
            if let Some(given) = &mut given {
                // The columns follow one another in the order of the outputs.
                let belongs = |name: &str| {
                    name == port.name
                        || name.strip_prefix(&port.name).is_some_and(|rest| rest.starts_with('_'))
                };
                let count = match &columns {
                    Some(columns) if columns.iter().zip(&*given).all(|(a, b)| a == b.name()) => {
                        columns.len()
                    }
                    _ => given.iter().take_while(|field| belongs(field.name())).count(),
                };
                let mine: Vec<_> = given.drain(..count.min(given.len())).collect();
                if let Some(first) = mine.first() {
                    kind = first.data_type().to_string().to_lowercase();
                }
                columns = Some(mine.iter().map(|field| field.name().clone()).collect());
            }
            OutputColumns { output: port.name.clone(), kind, columns }
        })
        .collect()
}

fn predictions(bundle: &Bundle, inspected: &Inspected) -> Vec<Bound> {
    let schema = bundle.config.prediction.schema();
    let postprocessed = bundle.predictions_sql.is_some();
    let source = |name: &str| {
        if postprocessed {
            return Some("predictions.sql".to_owned());
        }
        inspected.outputs_become.iter().find_map(|output| {
            let column =
                output.columns.iter().flatten().find(|column| column.eq_ignore_ascii_case(name))?;
            Some(if *column == output.output {
                format!("output {column}")
            } else {
                format!("column {column} of output {}", output.output)
            })
        })
    };
    let key = Bound {
        prediction: schema.key().name.to_string(),
        data_type: schema.key().data_type.to_string(),
        from: Some("the key in features.sql".to_owned()),
    };
    std::iter::once(key)
        .chain(schema.predictions().iter().map(|column| Bound {
            prediction: column.name.to_string(),
            data_type: column.data_type.to_string(),
            from: source(column.name.as_str()),
        }))
        .collect()
}
