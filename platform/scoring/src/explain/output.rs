//! Which output column is explained.

use arrow::datatypes::{DataType, Schema};

use crate::error::ModelError;

/// Position of the output column that is explained: the named one, else the only score, else the
/// second of two.
pub(super) fn choose(outputs: &Schema, named: Option<&str>) -> Result<usize, ModelError> {
    let scores: Vec<usize> = outputs
        .fields()
        .iter()
        .enumerate()
        .filter(|(_, field)| matches!(field.data_type(), DataType::Float32 | DataType::Float64))
        .map(|(index, _)| index)
        .collect();
    let listed = || {
        let scores = scores.iter().map(|index| outputs.field(*index).name().as_str());
        scores.collect::<Vec<_>>().join(", ")
    };
    if scores.is_empty() {
        return Err(ModelError::Graph {
            problem: "no output is a float, so there is no score to explain; export the model with its probabilities or its regression value".to_owned(),
        });
    }
    if let Some(named) = named {
        let found = |exact: bool| {
            scores.iter().copied().find(|index| {
                let name = outputs.field(*index).name();
                if exact { name == named } else { name.eq_ignore_ascii_case(named) }
            })
        };
        return found(true).or_else(|| found(false)).ok_or_else(|| ModelError::Graph {
            problem: format!(
                "there is no score `{named}` to explain; name one of the float outputs {}",
                listed()
            ),
        });
    }
    match scores[..] {
        [one] => Ok(one),
        // Two classes: the contributions to one are those to the other with the sign turned.
        [_, second] => Ok(second),
        _ => Err(ModelError::Graph {
            problem: format!(
                "it has {} scores; name the one to explain among {}",
                scores.len(),
                listed()
            ),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::Field;

    fn schema(columns: &[(&str, DataType)]) -> Schema {
        let field = |(name, kind): &(&str, DataType)| Field::new(*name, kind.clone(), false);
        Schema::new(columns.iter().map(field).collect::<Vec<_>>())
    }

    #[test]
    fn the_only_score_or_the_second_of_two_is_explained() {
        let float = DataType::Float32;
        let one = schema(&[("label", DataType::Int64), ("score", float.clone())]);
        assert_eq!(choose(&one, None).expect("a score"), 1);
        let two = schema(&[("p_0", float.clone()), ("p_1", float.clone())]);
        assert_eq!(choose(&two, None).expect("a score"), 1);
        assert_eq!(choose(&two, Some("P_0")).expect("a score"), 0);
        let three = schema(&[("a", float.clone()), ("b", float.clone()), ("c", float)]);
        let refused = choose(&three, None).expect_err("which one?").to_string();
        assert!(refused.contains("a, b, c"), "{refused}");
        assert!(choose(&schema(&[("label", DataType::Int64)]), None).is_err());
    }
}
