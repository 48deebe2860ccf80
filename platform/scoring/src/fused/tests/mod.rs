//! Random graphs of the family give what the general runtime gives, and the same bits on every level,
//! in every batch and as single rows.

mod recipe;
mod sketch;

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, Float32Array, Int64Array, RecordBatch, StringArray,
};
use arrow::datatypes::{Float32Type, Int32Type};
use proptest::prelude::*;

use crate::bind;
use crate::level::Level;
use crate::limits::ScoringLimits;
use crate::outputs::Outputs;
use crate::scorer::Scorer;
use crate::session::RowValue;
use crate::stages::Stages;
use recipe::{COLOURS, Draw, Encoding, Kind, Recipe, build, recipes};

/// More than a block, and no multiple of anything.
const ROWS: usize = 1_101;

/// Steps of a float, at the scale of what was summed, that two orders of summing may lie apart.
const STEPS_APART: f32 = 16.0;
/// The scale of the sums before a sigmoid or a softmax. Columns are 22 at most, and each of three layers
/// adds an intercept of 4 and an activation that gives 1.06 times as much.
const SUMS_MAX: f32 = 40.0;

/// A batch for the inputs of a recipe, with missing values where they are imputed or split on.
fn batch(recipe: &Recipe) -> RecordBatch {
    let mut draw = Draw(recipe.seed ^ 0x5555);
    let missing = recipe.imputes || matches!(recipe.model, Kind::Trees);
    let mut columns: Vec<(String, ArrayRef)> = (0..recipe.numbers)
        .map(|index| {
            let values = (0..ROWS)
                .map(|_| (!missing || draw.below(10) > 0).then(|| draw.number()))
                .collect::<Float32Array>();
            (format!("n{index}"), Arc::new(values) as ArrayRef)
        })
        .collect();
    if recipe.colours.is_some() {
        let colours = (0..ROWS).map(|_| COLOURS[draw.below(COLOURS.len())]);
        columns.push(("colour".to_owned(), Arc::new(StringArray::from_iter_values(colours))));
    }
    RecordBatch::try_from_iter(columns).expect("equal lengths")
}

fn load(recipe: &Recipe, batch: &RecordBatch) -> Scorer {
    Scorer::of(&build(recipe), None, &batch.schema(), &ScoringLimits::default()).expect("loads")
}

/// What the general runtime gives.
fn general(recipe: &Recipe, batch: &RecordBatch) -> Vec<ArrayRef> {
    let limits = ScoringLimits::default();
    let graph = build(recipe);
    let inputs = bind::inputs(&graph.inputs, None, &batch.schema()).expect("binds");
    let (stages, ports) = Stages::compile(&graph, None, &inputs, &limits).expect("compiles");
    let outputs = Outputs::new(ports, &limits).expect("outputs");
    stages.score(batch.columns(), &outputs, ROWS).expect("scores")
}

/// The scale of what was summed on the way to a column, as far as the column does not show it itself.
fn scale(model: &Kind) -> f32 {
    match model {
        Kind::Network { .. } => SUMS_MAX,
        _ => 1.0,
    }
}

fn assert_close(found: &ArrayRef, expected: &ArrayRef, scale: f32, place: &str) {
    let Some(expected) = expected.as_primitive_opt::<Float32Type>() else {
        assert_eq!(found, expected, "{place}");
        return;
    };
    let found = found.as_primitive::<Float32Type>();
    // Sums in another order differ by steps of a float at the scale of what is summed.
    let largest = expected.values().iter().filter(|value| value.is_finite());
    let largest = largest.fold(scale, |largest, value| largest.max(value.abs()));
    for row in 0..ROWS {
        let (found, expected) = (found.value(row), expected.value(row));
        let close = (found - expected).abs()
            <= STEPS_APART * f32::EPSILON * largest + 1e-5 * expected.abs();
        assert!(
            close || found.total_cmp(&expected).is_eq() || (found.is_nan() && expected.is_nan()),
            "{place}, row {row}: expected {expected}, found {found}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn random_graphs_give_what_the_general_runtime_gives(recipe in recipes()) {
        let batch = batch(&recipe);
        let scorer = load(&recipe, &batch);
        prop_assert!(scorer.describe().contains("over the columns"), "{}", scorer.describe());
        let found = scorer.score(&batch).expect("scores").outputs;
        let expected = general(&recipe, &batch);
        prop_assert_eq!(found.num_columns(), expected.len());
        for (index, (found, expected)) in found.columns().iter().zip(&expected).enumerate() {
            let place = format!("{recipe:?}, column {index}");
            assert_close(found, expected, scale(&recipe.model), &place);
        }
    }

    #[test]
    fn a_row_has_the_same_bits_on_every_level_in_every_batch_and_alone(recipe in recipes()) {
        let batch = batch(&recipe);
        let whole = load(&recipe, &batch).score(&batch).expect("scores").outputs;
        for level in Level::available() {
            let scorer = level.at_most(|| load(&recipe, &batch));
            for (start, count) in [(0, ROWS), (3, 1), (10, 7), (100, 33), (5, 600)] {
                let part = scorer.score(&batch.slice(start, count)).expect("scores").outputs;
                let expected = whole.slice(start, count);
                prop_assert_eq!(bits(&part), bits(&expected), "{:?}", level);
            }
            let mut session = scorer.session();
            for row in [0, 1, 500] {
                let values: Vec<RowValue<'_>> =
                    batch.columns().iter().map(|column| value(column, row)).collect();
                let found = session.score(&values).expect("scores").to_vec();
                let expected: Vec<RowValue<'_>> =
                    whole.columns().iter().map(|column| value(column, row)).collect();
                prop_assert_eq!(text(&found), text(&expected));
            }
        }
    }

    #[test]
    fn dictionaries_and_views_encode_like_plain_strings(recipe in recipes()) {
        let recipe = Recipe { colours: recipe.colours.or(Some(Encoding::OneHot)), ..recipe };
        let batch = batch(&recipe);
        let whole = load(&recipe, &batch).score(&batch).expect("scores").outputs;
        let strings = batch.column_by_name("colour").expect("a column");
        let dictionary: DictionaryArray<Int32Type> =
            strings.as_string::<i32>().iter().collect();
        let views = arrow::compute::cast(strings, &arrow::datatypes::DataType::Utf8View);
        for colours in [Arc::new(dictionary) as ArrayRef, views.expect("casts")] {
            let columns = batch.schema().fields().iter().zip(batch.columns()).map(|(field, column)| {
                let is_colour = field.name() == "colour";
                (field.name().clone(), if is_colour { Arc::clone(&colours) } else { Arc::clone(column) })
            }).collect::<Vec<_>>();
            let given = RecordBatch::try_from_iter(columns).expect("equal lengths");
            let found = load(&recipe, &given).score(&given).expect("scores").outputs;
            prop_assert_eq!(bits(&found), bits(&whole));
        }
    }
}

/// Values of a batch with floats as bits, so that NaN equals itself.
fn bits(batch: &RecordBatch) -> Vec<String> {
    let bits = |column: &ArrayRef| match column.as_primitive_opt::<Float32Type>() {
        Some(floats) => {
            format!("{:?}", floats.values().iter().map(|value| value.to_bits()).collect::<Vec<_>>())
        }
        None => format!("{column:?}"),
    };
    batch.columns().iter().map(bits).collect()
}

fn value(column: &ArrayRef, row: usize) -> RowValue<'_> {
    if column.is_null(row) {
        return RowValue::Null;
    }
    if let Some(floats) = column.as_primitive_opt::<Float32Type>() {
        return RowValue::Number(floats.value(row).into());
    }
    match column.as_any().downcast_ref::<Int64Array>() {
        Some(integers) => RowValue::Integer(integers.value(row)),
        None => RowValue::Text(column.as_string::<i32>().value(row).into()),
    }
}

fn text(values: &[RowValue<'_>]) -> String {
    format!("{values:?}")
}
