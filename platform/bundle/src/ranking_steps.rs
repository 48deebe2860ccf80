//! Whether the steps of a service that ranks fit each other.

use crate::{
    bundle::Bundle,
    code::Code,
    column_type::Kind,
    diagnostic::{Diagnostic, Span},
    nearest::nearest,
    ranking_config::RankingConfig,
    source::SourceFile,
    steps::{ModelPort, StepColumn, Steps, listed, names, same},
};

/// Adds what does not fit to `problems`; what is not known of the steps is not judged.
pub(crate) fn check(bundle: &Bundle, steps: &Steps, problems: &mut Vec<Diagnostic>) {
    let (Some(ranking), Some(sql)) = (&bundle.config.ranking, &bundle.item_sql) else { return };
    let check = Check { bundle, ranking, sql: &sql.source };
    if let Some(items) = &steps.items {
        problems.extend(check.key(items));
        if let Some(features) = &steps.features {
            problems.extend(check.both_sides(features, items));
            check.inputs(features, items, steps, problems);
        }
    }
    problems.extend(check.score(&steps.model_outputs));
}

struct Check<'a> {
    bundle: &'a Bundle,
    ranking: &'a RankingConfig,
    sql: &'a SourceFile,
}

/// A feature of one side, and the query that gives it.
struct Feature<'a> {
    column: &'a StepColumn,
    sql: &'a SourceFile,
}

impl Check<'_> {
    fn key(&self, items: &[StepColumn]) -> Option<Diagnostic> {
        let (wanted, config) = (&self.ranking.item_key, self.bundle.config_source());
        let name = wanted.value.as_str();
        let Some(column) = items.iter().find(|column| same(&column.name, name)) else {
            let message = format!("the items' query does not give the item key `{name}`");
            return Some(
                Diagnostic::at(Code::ItemKeyNotSelected, &config, wanted.span, message)
                    .expected(format!("one of its columns: {}", listed(names(items))))
                    .did_you_mean(nearest(name, names(items))),
            );
        };
        let found = column.data_type.as_ref()?;
        let (declared, _) = self
            .bundle
            .config
            .prediction
            .columns()
            .find(|(column, _)| same(column.name.as_str(), name))?;
        if Kind::of(found).fits(declared.data_type) {
            return None;
        }
        let message = format!(
            "the item key `{name}` is declared {}, the items' query gives {found}",
            declared.data_type
        );
        let span = column.span_in_sql.unwrap_or_else(|| self.sql.start());
        Some(
            Diagnostic::at(Code::KeyTypeDiffers, self.sql, span, message)
                .expected(format!("a column that is {}", declared.data_type)),
        )
    }

    fn both_sides(&self, features: &[StepColumn], items: &[StepColumn]) -> Vec<Diagnostic> {
        let twins = items
            .iter()
            .filter(|item| features.iter().any(|feature| same(&feature.name, &item.name)));
        twins
            .map(|item| {
                let span = item.span_in_sql.unwrap_or_else(|| self.sql.start());
                let message = format!("features.sql gives a column `{}` as well", item.name);
                Diagnostic::at(Code::ColumnOnBothSides, self.sql, span, message)
                    .expected("names that tell customers and items apart")
            })
            .collect()
    }

    /// Model inputs of one value are found by name on either side, a lone matrix takes all columns.
    fn inputs(
        &self,
        features: &[StepColumn],
        items: &[StepColumn],
        steps: &Steps,
        problems: &mut Vec<Diagnostic>,
    ) {
        let schema = self.bundle.config.prediction.schema();
        let own = |columns: &'_ [StepColumn], key: &str| -> Vec<usize> {
            (0..columns.len()).filter(|at| !same(&columns[*at].name, key)).collect()
        };
        let customer = own(features, schema.key().name.as_str());
        let item = own(items, self.ranking.item_key.value.as_str());
        let all: Vec<Feature<'_>> = customer
            .iter()
            .map(|at| Feature { column: &features[*at], sql: &self.bundle.feature_sql.source })
            .chain(item.iter().map(|at| Feature { column: &items[*at], sql: self.sql }))
            .collect();
        let place = self.bundle.config.model.model_path.span;
        if let [matrix] = &steps.model_inputs[..] {
            // A model that lists its columns takes them by name; the plan matches these.
            if steps.feature_names.is_some() {
                return;
            }
            let found = all.len();
            if let Some(width) = matrix.width.filter(|width| *width != 1 && *width != found) {
                let message = format!(
                    "the model's input `{}` takes {width} features, customers and items give {found}: {}",
                    matrix.name,
                    listed(all.iter().map(|feature| feature.column.name.as_str()))
                );
                let config = self.bundle.config_source();
                problems.push(
                    Diagnostic::at(Code::InputWidthDiffers, &config, place, message).expected(
                        format!("{width} columns besides the keys, the customers' first"),
                    ),
                );
            }
            return;
        }
        for port in steps.model_inputs.iter().filter(|port| port.width == Some(1)) {
            match all.iter().find(|feature| same(&feature.column.name, &port.name)) {
                Some(feature) => problems.extend(input_type(feature, port)),
                None => problems.push(self.without_feature(port, &all, place)),
            }
        }
    }

    fn without_feature(&self, port: &ModelPort, all: &[Feature<'_>], place: Span) -> Diagnostic {
        let known = || all.iter().map(|feature| feature.column.name.as_str());
        let message = format!("the model's input `{}` has no feature column", port.name);
        Diagnostic::at(Code::InputWithoutFeature, &self.bundle.config_source(), place, message)
            .expected(format!(
                "a column `{}` of customers or items, found {}",
                port.name,
                listed(known())
            ))
            .did_you_mean(nearest(&port.name, known()))
    }

    fn score(&self, outputs: &[ModelPort]) -> Option<Diagnostic> {
        let wanted = self.ranking.score.as_ref().filter(|_| !outputs.is_empty())?;
        let known = || outputs.iter().map(|output| output.name.as_str());
        // An output of several columns gives `<name>_0` and so on; how many, the plan knows.
        let gives =
            |name: &str| same(name, &wanted.value) || wanted.value.starts_with(&format!("{name}_"));
        if known().any(gives) {
            return None;
        }
        let message = format!("the model has no output `{}` to rank by", wanted.value);
        let config = self.bundle.config_source();
        Some(
            Diagnostic::at(Code::RankedOutputUnknown, &config, wanted.span, message)
                .expected(format!("one of {}", listed(known())))
                .did_you_mean(nearest(&wanted.value, known())),
        )
    }
}

fn input_type(feature: &Feature<'_>, port: &ModelPort) -> Option<Diagnostic> {
    let found = feature.column.data_type.as_ref()?;
    if Kind::of(&port.kind).takes(Kind::of(found)) {
        return None;
    }
    let span = feature.column.span_in_sql.unwrap_or_else(|| feature.sql.start());
    let message = format!(
        "the feature `{}` is {found}, the model's input `{}` takes {}",
        feature.column.name, port.name, port.kind
    );
    Some(
        Diagnostic::at(Code::InputTypeDiffers, feature.sql, span, message)
            .help("CAST or encode it in the query, or export the encoder with the model"),
    )
}
