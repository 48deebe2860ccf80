//! The steps of a plan, for people.

use arrow::datatypes::Schema;
use serde::{Deserialize, Serialize};

use crate::plan::Plan;

/// One column on one side of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// Column, input or output name.
    pub name: String,
    /// Type in the step's own words.
    #[serde(rename = "type")]
    pub kind: String,
}

/// What a step expects from the one before it and what it gives to the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepView {
    /// Such as `features.sql`.
    pub name: String,
    /// What it takes.
    pub expected: Vec<Port>,
    /// What it gives.
    pub given: Vec<Port>,
}

impl Plan {
    /// Every step in order, with its columns on both sides.
    #[must_use]
    pub fn steps(&self) -> Vec<StepView> {
        let tables = self.description.tables.iter();
        let mut steps = vec![
            StepView {
                name: "features.sql".to_owned(),
                expected: tables
                    .map(|table| Port { name: table.name.clone(), kind: "table".to_owned() })
                    .collect(),
                given: ports(&self.description.schema),
            },
            StepView {
                name: "model".to_owned(),
                expected: self
                    .scoring
                    .input_columns()
                    .into_iter()
                    .map(|name| Port { kind: self.feature_type(&name), name })
                    .collect(),
                given: ports(&self.scoring.output_schema()),
            },
        ];
        if let Some(step) = self.ranking() {
            let tables = step.description.tables.iter();
            let expected =
                tables.map(|table| Port { name: table.name.clone(), kind: "table".to_owned() });
            let items = StepView {
                name: "items".to_owned(),
                expected: expected.collect(),
                given: ports(&step.description.schema),
            };
            steps.insert(1, items);
            let top_n = step.ranking.top_n();
            steps[2].name = format!("model, the best {top_n} items by {}", step.ranking.describe());
        }
        if let Some(result) = &self.postprocessed {
            steps.push(StepView {
                name: "predictions.sql".to_owned(),
                expected: ports(&self.scored),
                given: ports(result),
            });
        }
        steps.push(StepView {
            name: "publish".to_owned(),
            expected: ports(self.result()),
            given: self
                .manifest
                .schema
                .columns()
                .map(|column| Port {
                    name: column.name.to_string(),
                    kind: column.data_type.to_string(),
                })
                .collect(),
        });
        steps
    }

    fn feature_type(&self, name: &str) -> String {
        let items = self.ranking().map(|step| step.description.schema.fields());
        let fields = self.description.schema.fields().iter();
        fields
            .chain(items.into_iter().flatten())
            .find(|field| field.name().eq_ignore_ascii_case(name))
            .map_or_else(String::new, |field| field.data_type().to_string())
    }
}

fn ports(schema: &Schema) -> Vec<Port> {
    schema
        .fields()
        .iter()
        .map(|field| Port { name: field.name().clone(), kind: field.data_type().to_string() })
        .collect()
}
