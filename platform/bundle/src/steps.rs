//! Whether each step of a run gives what the next one takes.

use cameo_domain::{Column, ColumnName, RANK_COLUMN};
use serde::{Deserialize, Serialize};

use crate::{
    bundle::Bundle,
    code::Code,
    column_type::Kind,
    diagnostic::{self, Diagnostic, Located, Span},
    explanation_steps,
    nearest::nearest,
    null_default_steps::{self, Bound},
    ranking_steps,
    source::SourceFile,
};

/// What the steps of a bundle give and take, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Steps {
    /// The columns of `features.sql`; `None` where they cannot be known without running it.
    pub features: Option<Vec<StepColumn>>,
    /// The columns of the items' query; `None` without one, or where they are unknown.
    pub items: Option<Vec<StepColumn>>,
    /// What the model takes, or the preprocess model where there is one; empty where no model was
    /// inspected.
    pub model_inputs: Vec<ModelPort>,
    /// The features of the only input, left to right, where the model names them.
    pub feature_names: Option<Vec<String>>,
    /// What the model gives; empty where no model was inspected.
    pub model_outputs: Vec<ModelPort>,
    /// The columns of `predictions.sql`; `None` without that file, or where they are unknown.
    pub postprocessed: Option<Vec<StepColumn>>,
}

/// A column that a query gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepColumn {
    /// Its name.
    pub name: String,
    /// Its type as Arrow or `GoogleSQL` names it; `None` where it is unknown.
    #[serde(default)]
    pub data_type: Option<String>,
    /// Where the file names it, or has the tag that gives it.
    #[serde(default)]
    pub span_in_sql: Option<Span>,
}

/// An input or output of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelPort {
    /// Its name.
    pub name: String,
    /// Its element type, such as `float32`.
    pub kind: String,
    /// Columns of a matrix; `Some(1)` for a single column, `None` where the model leaves it open.
    #[serde(default)]
    pub width: Option<usize>,
}

/// Checks the steps of a bundle against each other and against its config.
#[must_use]
pub fn check_steps(bundle: &Bundle, steps: &Steps) -> Vec<Diagnostic> {
    let mut check =
        Check { bundle, config: bundle.config_source(), bound: Vec::new(), problems: Vec::new() };
    if let Some(columns) = &steps.features {
        check.twins(&bundle.feature_sql.source, columns);
        check.key(columns, &bundle.feature_sql.source, "features.sql");
        if bundle.config.ranking.is_none() {
            let before = check.problems.len();
            check.inputs(columns, &steps.model_inputs, steps.feature_names.as_deref());
            // Where binding went wrong, which columns the model reads is a guess.
            let bound = Some(check.bound.as_slice())
                .filter(|bound| !bound.is_empty() && check.is_bound_whole(before));
            null_default_steps::check(bundle, columns, bound, &mut check.problems);
        }
    }
    if let (Some(sql), Some(columns)) = (&bundle.item_sql, &steps.items) {
        check.twins(&sql.source, columns);
    }
    match (&bundle.predictions_sql, &steps.postprocessed) {
        (Some(sql), Some(columns)) => {
            check.twins(&sql.source, columns);
            check.key(columns, &sql.source, "predictions.sql");
            let given = columns.iter().map(Given::of_column).collect::<Vec<_>>();
            check.predictions(&given, "predictions.sql");
        }
        (None, _) if !steps.model_outputs.is_empty() => {
            let ranked = check.ranked();
            let outputs = steps.model_outputs.iter().flat_map(Given::of_port);
            let given: Vec<_> = ranked.into_iter().chain(outputs).collect();
            check.predictions(&given, "the model's outputs");
        }
        _ => {}
    }
    ranking_steps::check(bundle, steps, &mut check.problems);
    explanation_steps::check(bundle, steps, &mut check.problems);
    diagnostic::sort(&mut check.problems);
    check.problems
}

/// Something that a prediction can be taken from.
pub(crate) struct Given {
    pub(crate) name: String,
    data_type: Option<String>,
    /// The model leaves open how many columns there are: `<name>` or `<name>_0`, `<name>_1`, …
    open: bool,
}

impl Given {
    fn of_column(column: &StepColumn) -> Self {
        Self { name: column.name.clone(), data_type: column.data_type.clone(), open: false }
    }

    /// A matrix output gives a column for each of its columns.
    pub(crate) fn of_port(port: &ModelPort) -> Vec<Self> {
        let data_type = || Some(port.kind.clone());
        match port.width {
            Some(width) if width != 1 => (0..width.min(crate::COLUMNS_MAX))
                .map(|n| format!("{}_{n}", port.name))
                .map(|name| Self { name, data_type: data_type(), open: false })
                .collect(),
            width => {
                vec![Self {
                    name: port.name.clone(),
                    data_type: data_type(),
                    open: width.is_none(),
                }]
            }
        }
    }

    pub(crate) fn gives(&self, name: &str) -> bool {
        let numbered = || {
            let (start, number) = name.rsplit_once('_')?;
            Some(same(start, &self.name) && number.bytes().all(|b| b.is_ascii_digit()))
        };
        same(&self.name, name) || (self.open && numbered() == Some(true))
    }
}

struct Check<'a> {
    bundle: &'a Bundle,
    config: SourceFile,
    /// The features that the model reads, as far as they were bound.
    bound: Vec<Bound>,
    problems: Vec<Diagnostic>,
}

impl<'a> Check<'a> {
    fn columns(&self) -> impl Iterator<Item = (&'a Column, &'a Located<ColumnName>)> + use<'a> {
        self.bundle.config.prediction.columns()
    }

    /// What ranking gives beside the model's outputs.
    fn ranked(&self) -> Vec<Given> {
        let Some(ranking) = &self.bundle.config.ranking else { return Vec::new() };
        let given = |name: &str| Given { name: name.to_owned(), data_type: None, open: false };
        vec![given(RANK_COLUMN), given(ranking.item_key.value.as_str())]
    }

    /// Whether binding the inputs found nothing wrong after the first `before` problems.
    fn is_bound_whole(&self, before: usize) -> bool {
        !self.problems[before..].iter().any(Diagnostic::is_error)
    }

    fn twins(&mut self, sql: &SourceFile, columns: &[StepColumn]) {
        for (index, column) in columns.iter().enumerate() {
            if columns[..index].iter().any(|other| same(&other.name, &column.name)) {
                let span = column.span_in_sql.unwrap_or_else(|| sql.start());
                let message = format!("the query gives the column `{}` twice", column.name);
                self.problems.push(
                    Diagnostic::at(Code::FeatureTwice, sql, span, message)
                        .expected("names that differ by more than case"),
                );
            }
        }
    }

    fn key(&mut self, columns: &[StepColumn], sql: &SourceFile, file: &str) {
        let Some((key, place)) = self.columns().next() else { return };
        let Some(column) = columns.iter().find(|column| same(&column.name, key.name.as_str()))
        else {
            let message = format!("{file} does not give the key `{}`", key.name);
            self.problems.push(
                Diagnostic::at(Code::KeyNotSelected, &self.config, place.span, message)
                    .expected(format!("one of its columns: {}", listed(names(columns))))
                    .did_you_mean(nearest(key.name.as_str(), names(columns))),
            );
            return;
        };
        if let Some(found) = &column.data_type
            && !Kind::of(found).fits(key.data_type)
        {
            let message = format!(
                "the key `{}` is declared {}, {file} gives {found}",
                key.name, key.data_type
            );
            let (source, span) = match column.span_in_sql {
                Some(span) => (sql, span),
                None => (&self.config, place.span),
            };
            self.problems.push(
                Diagnostic::at(Code::KeyTypeDiffers, source, span, message)
                    .expected(format!("a column that is {}", key.data_type)),
            );
        }
    }

    fn inputs(
        &mut self,
        columns: &[StepColumn],
        inputs: &[ModelPort],
        feature_names: Option<&[String]>,
    ) {
        let Some((key, _)) = self.columns().next() else { return };
        // Without its key, which columns are features is a guess.
        if !columns.iter().any(|column| same(&column.name, key.name.as_str())) {
            return;
        }
        let features: Vec<_> =
            columns.iter().filter(|column| !same(&column.name, key.name.as_str())).collect();
        match (inputs, feature_names) {
            ([], _) => {}
            ([matrix], Some(names)) => self.named(&features, matrix, names),
            ([matrix], None) if matrix.width != Some(1) || features.len() == 1 => {
                self.matrix(&features, matrix);
            }
            (ports, _) => self.ports(&features, ports, "input"),
        }
    }

    /// One input takes the features that the model's metadata names.
    fn named(&mut self, features: &[&StepColumn], matrix: &ModelPort, names: &[String]) {
        if let Some(width) = matrix.width
            && width != names.len()
        {
            let message = format!(
                "the model's input `{}` takes {width} features, its metadata names {}",
                matrix.name,
                names.len(),
            );
            let path = &self.bundle.config.model.model_path;
            self.problems.push(
                Diagnostic::at(Code::InputWidthDiffers, &self.config, path.span, message)
                    .expected(format!("{width} names in `feature_names`, separated by commas")),
            );
        }
        let ports: Vec<_> = names
            .iter()
            .map(|name| ModelPort { name: name.clone(), kind: matrix.kind.clone(), width: Some(1) })
            .collect();
        self.ports(features, &ports, "feature");
    }

    /// One input takes all features in order.
    fn matrix(&mut self, features: &[&StepColumn], matrix: &ModelPort) {
        if let Some(width) = matrix.width
            && width != features.len()
        {
            let message = format!(
                "the model's input `{}` takes {width} features, features.sql gives {}: {}",
                matrix.name,
                features.len(),
                listed(features.iter().map(|column| column.name.as_str())),
            );
            let path = &self.bundle.config.features.feature_sql_path;
            self.problems.push(
                Diagnostic::at(Code::InputWidthDiffers, &self.config, path.span, message)
                    .expected(format!("{width} columns besides the key")),
            );
        }
        for feature in features {
            self.input_type(feature, matrix);
        }
    }

    /// Each input, or each feature that a model names, takes the column of its name; matrices share the
    /// others in order.
    fn ports(&mut self, features: &[&StepColumn], ports: &[ModelPort], what: &str) {
        let sql = &self.bundle.feature_sql.source;
        let takes = |feature: &StepColumn| ports.iter().any(|port| same(&port.name, &feature.name));
        let unused: Vec<_> = features.iter().filter(|feature| !takes(feature)).copied().collect();
        let (matrices, ports): (Vec<_>, Vec<_>) = ports.iter().partition(|port| {
            port.width != Some(1) && !features.iter().any(|column| same(&column.name, &port.name))
        });
        if !matrices.is_empty() {
            self.matrices(&unused, &matrices);
        }
        let mut misspelt = Vec::new();
        for port in ports {
            if let Some(feature) = features.iter().find(|column| same(&column.name, &port.name)) {
                self.input_type(feature, port);
                continue;
            }
            let near = nearest(&port.name, unused.iter().map(|column| column.name.as_str()));
            let feature = unused.iter().find(|column| Some(column.name.as_str()) == near);
            misspelt.extend(near);
            let message = format!("the model's {what} `{}` has no feature column", port.name);
            let path = &self.bundle.config.features.feature_sql_path;
            // The column that was probably meant, or else the query as a whole.
            let problem = match feature.and_then(|feature| feature.span_in_sql) {
                Some(span) => Diagnostic::at(Code::InputWithoutFeature, sql, span, message),
                None => Diagnostic::at(Code::InputWithoutFeature, &self.config, path.span, message),
            };
            let known = features.iter().map(|column| column.name.as_str());
            self.problems.push(
                problem
                    .expected(format!("a column `{}`, found {}", port.name, listed(known)))
                    .did_you_mean(feature.map(|_| &port.name)),
            );
        }
        for feature in unused.iter().filter(|_| matrices.is_empty()) {
            if !misspelt.contains(&feature.name.as_str()) {
                let span = feature.span_in_sql.unwrap_or_else(|| sql.start());
                let message = format!("the model does not take the feature `{}`", feature.name);
                self.problems.push(
                    Diagnostic::at(Code::FeatureUnused, sql, span, message)
                        .expected("only columns that the model takes")
                        .warning(),
                );
            }
        }
    }

    /// Matrices share the features that no other input is named after, in order.
    fn matrices(&mut self, mut features: &[&StepColumn], matrices: &[&ModelPort]) {
        let wanted: usize = matrices.iter().filter_map(|matrix| matrix.width).sum();
        let open = matrices.iter().filter(|matrix| matrix.width.is_none()).count();
        if open > 0 || wanted == features.len() {
            let widths = matrices.iter().map(|matrix| matrix.width.filter(|_| open == 0));
            for (matrix, width) in matrices.iter().zip(widths) {
                let (own, rest) = features.split_at(width.unwrap_or(0));
                features = rest;
                for feature in own {
                    self.input_type(feature, matrix);
                }
            }
            // With a width left open, which matrix takes which of these is decided when it is loaded.
            let taken = features.iter().map(|f| Bound { column: f.name.clone(), kind: None });
            self.bound.extend(taken);
            return;
        }
        let message = format!(
            "the model's inputs {} take {wanted} features together, features.sql gives {} that no other input is named after: {}",
            listed(matrices.iter().map(|matrix| matrix.name.as_str())),
            features.len(),
            listed(features.iter().map(|column| column.name.as_str())),
        );
        let path = &self.bundle.config.features.feature_sql_path;
        self.problems.push(
            Diagnostic::at(Code::InputWidthDiffers, &self.config, path.span, message).expected(
                format!("{wanted} columns besides the key and those named after an input"),
            ),
        );
    }

    fn input_type(&mut self, feature: &StepColumn, port: &ModelPort) {
        self.bound.push(Bound { column: feature.name.clone(), kind: Some(port.kind.clone()) });
        let Some(found) = &feature.data_type else { return };
        if Kind::of(&port.kind).takes(Kind::of(found)) {
            return;
        }
        let sql = &self.bundle.feature_sql.source;
        let span = feature.span_in_sql.unwrap_or_else(|| sql.start());
        let message = format!(
            "the feature `{}` is {found}, the model's input `{}` takes {}",
            feature.name, port.name, port.kind
        );
        self.problems.push(
            Diagnostic::at(Code::InputTypeDiffers, sql, span, message)
                .help("CAST or encode it in the query, or with a preprocess model"),
        );
    }

    /// Each prediction besides the key is given by something, with a type that fits.
    fn predictions(&mut self, given: &[Given], by: &str) {
        for (column, place) in self.columns().skip(1) {
            let name = column.name.as_str();
            let Some(source) = given.iter().find(|given| given.gives(name)) else {
                let known = || given.iter().map(|given| given.name.as_str());
                self.problems.push(
                    Diagnostic::at(
                        Code::PredictionWithoutSource,
                        &self.config,
                        place.span,
                        format!("nothing gives the prediction `{name}`"),
                    )
                    .expected(format!("a column of {by}: {}", listed(known())))
                    .did_you_mean(nearest(name, known())),
                );
                continue;
            };
            if let Some(found) = &source.data_type
                && !Kind::of(found).fits(column.data_type)
            {
                let message = format!(
                    "the prediction `{name}` is declared {}, its source gives {found}",
                    column.data_type
                );
                self.problems.push(
                    Diagnostic::at(Code::PredictionTypeDiffers, &self.config, place.span, message)
                        .expected(format!("a source that is {}", column.data_type)),
                );
            }
        }
    }
}

pub(crate) fn same(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}

pub(crate) fn names(columns: &[StepColumn]) -> impl Iterator<Item = &str> {
    columns.iter().map(|column| column.name.as_str())
}

/// Most names that a message lists.
const LISTED_MAX: usize = 20;

pub(crate) fn listed<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let names: Vec<_> = names.collect();
    let shown = names[..names.len().min(LISTED_MAX)].join(", ");
    match names.len().saturating_sub(LISTED_MAX) {
        0 if names.is_empty() => "none".to_owned(),
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
