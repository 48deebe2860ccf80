//! The N best items per customer: as ONNX Runtime scores the product, and as sorting the product would.

mod support;

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, Float32Array, Float64Array, Int64Array, RecordBatch, StringArray,
};
use arrow::datatypes::{Float32Type, Int64Type};
use cameo_scoring::rank::{RankOptions, Ranked, Ranking};
use cameo_scoring::{ModelError, Scorer, ScoringLimits};
use proptest::prelude::*;
use support::{Rows, json, model};

const CUSTOMERS: usize = 24;
const ITEMS: usize = 40;
const KINDS: [&str; 3] = ["food", "travel", "sport"];

/// What `make_rank.py` drew.
struct Drawn {
    customers: Vec<Vec<f32>>,
    items: Vec<Vec<f32>>,
    kinds: Vec<&'static str>,
    segments: Vec<i64>,
}

impl Drawn {
    fn new() -> Self {
        let mut rows = Rows::new(11);
        let customers = rows.matrix(CUSTOMERS, 6, false);
        let items = rows.matrix(ITEMS, 4, false);
        let mut draw = |bound| usize::try_from(rows.draw() % bound).expect("small");
        Self {
            customers,
            items,
            kinds: (0..ITEMS).map(|_| KINDS[draw(3)]).collect(),
            segments: (0..CUSTOMERS).map(|_| i64::try_from(draw(9)).expect("small")).collect(),
        }
    }

    fn customers(&self) -> RecordBatch {
        batch(floats("c", &self.customers))
    }

    fn segments(&self) -> RecordBatch {
        batch(vec![("segment".to_owned(), Arc::new(Int64Array::from(self.segments.clone())))])
    }

    /// Items with descending keys, so that their order is not the one in which they are read.
    fn items(&self) -> RecordBatch {
        batch([vec![("offer".to_owned(), descending())], floats("i", &self.items)].concat())
    }

    fn offers(&self) -> RecordBatch {
        batch(vec![
            ("kind".to_owned(), Arc::new(StringArray::from(self.kinds.clone())) as ArrayRef),
            ("price".to_owned(), Arc::new(Float32Array::from(self.items[0].clone()))),
            ("offer".to_owned(), descending()),
        ])
    }
}

fn descending() -> ArrayRef {
    let keys = (0..ITEMS).map(key);
    Arc::new(Int64Array::from_iter_values(keys))
}

fn key(item: usize) -> i64 {
    1_000 - i64::try_from(item).expect("small")
}

fn floats(prefix: &str, columns: &[Vec<f32>]) -> Vec<(String, ArrayRef)> {
    let columns = columns.iter().enumerate().map(|(index, column)| {
        (format!("{prefix}{index}"), Arc::new(Float32Array::from(column.clone())) as ArrayRef)
    });
    columns.collect()
}

fn batch(columns: Vec<(String, ArrayRef)>) -> RecordBatch {
    let columns = columns.into_iter().map(|(name, column)| (name, column, true));
    RecordBatch::try_from_iter_with_nullable(columns).expect("equal lengths")
}

fn options(top_n: usize) -> RankOptions {
    RankOptions { item_key: "offer".to_owned(), top_n, score: None }
}

fn load(
    name: &str,
    customers: &RecordBatch,
    items: &RecordBatch,
    top_n: usize,
) -> Result<Arc<Ranking>, ModelError> {
    let (customers, items) = (customers.schema(), items.schema());
    let limits = ScoringLimits::default();
    Ranking::load(&model(name), &customers, &items, &options(top_n), &limits).map(Arc::new)
}

fn rank(name: &str, customers: &RecordBatch, items: &RecordBatch, top_n: usize) -> Ranked {
    let ranking = load(name, customers, items, top_n).expect("loads");
    ranking.over(items).expect("items").rank(customers).expect("ranks")
}

/// The rows of a result: customer, rank, item, score.
fn rows(ranked: &Ranked) -> Vec<(usize, i64, i64, f32)> {
    let integers = |name: &str| {
        ranked.rows.column_by_name(name).expect("a column").as_primitive::<Int64Type>().clone()
    };
    let (ranks, offers) = (integers("rank"), integers("offer"));
    let last = ranked.rows.num_columns() - 1;
    let scores = ranked.rows.column(last).as_primitive::<Float32Type>();
    (0..ranked.rows.num_rows())
        .map(|row| {
            (ranked.customers[row] as usize, ranks.value(row), offers.value(row), scores.value(row))
        })
        .collect()
}

fn message(error: &ModelError) -> String {
    error.to_string()
}

#[test]
fn every_shape_of_model_ranks_as_the_scores_of_onnx_runtime() {
    const TOP_N: usize = 6;
    let drawn = Drawn::new();
    let cases = [
        ("rank_towers", drawn.customers(), drawn.items(), "the dot product of 5 values"),
        ("rank_cosine", drawn.customers(), drawn.items(), "the dot product of 5 values"),
        ("rank_embeddings", drawn.segments(), drawn.items(), "the dot product of 5 values"),
        (
            "rank_network",
            drawn.customers(),
            drawn.offers(),
            "pairs of 5 customer and 5 item values",
        ),
        ("rank_forest", drawn.customers(), drawn.items(), "pairs of 6 customer and 4 item values"),
    ];
    for (name, customers, items, way) in cases {
        let ranking = load(name, &customers, &items, TOP_N).expect("loads");
        assert!(ranking.describe().starts_with(way), "{name}: {}", ranking.describe());
        let found = rows(&rank(name, &customers, &items, TOP_N));
        assert_eq!(found.len(), CUSTOMERS * TOP_N, "{name}");
        let reference = json(name);
        for (at, (customer, rank, offer, score)) in found.into_iter().enumerate() {
            assert_eq!(
                (customer, rank),
                (at / TOP_N, i64::try_from(at % TOP_N + 1).expect("small"))
            );
            let scores: Vec<f64> = reference[customer]
                .as_array()
                .expect("a row")
                .iter()
                .map(|score| score.as_f64().expect("a number"))
                .collect();
            let item = usize::try_from(1_000 - offer).expect("an item");
            let mut sorted = scores.clone();
            sorted.sort_by(|a, b| b.total_cmp(a));
            // The item's own score, and the score that belongs at this rank.
            for expected in [scores[item], sorted[at % TOP_N]] {
                let close = (f64::from(score) - expected).abs() <= 2e-5 * expected.abs().max(1.0);
                assert!(
                    close,
                    "{name}, customer {customer}, rank {rank}: {score}, expected {expected}"
                );
            }
        }
    }
}

#[test]
fn a_customer_gets_all_items_where_there_are_fewer_than_n() {
    let drawn = Drawn::new();
    let items = drawn.items().slice(0, 3);
    let found = rows(&rank("rank_towers", &drawn.customers(), &items, 10));
    assert_eq!(found.len(), CUSTOMERS * 3);
    assert_eq!(found.iter().map(|row| row.1).take(4).collect::<Vec<_>>(), [1, 2, 3, 1]);
}

#[test]
fn without_items_every_customer_is_rejected_with_the_reason() {
    let drawn = Drawn::new();
    for name in ["rank_towers", "rank_forest"] {
        let ranked = rank(name, &drawn.customers(), &drawn.items().slice(0, 0), 10);
        assert_eq!((ranked.rows.num_rows(), ranked.rejected.len()), (0, CUSTOMERS), "{name}");
        assert_eq!(ranked.rejected[0].reason, "there is no item to rank");
    }
}

#[test]
fn equal_scores_rank_in_ascending_order_of_the_item_key() {
    let drawn = Drawn::new();
    // Every item is the same but for its key.
    let same: Vec<Vec<f32>> = drawn.items.iter().map(|column| vec![column[0]; ITEMS]).collect();
    let items = batch([vec![("offer".to_owned(), descending())], floats("i", &same)].concat());
    for name in ["rank_towers", "rank_forest"] {
        let found = rows(&rank(name, &drawn.customers(), &items, 3));
        let first: Vec<i64> = found.iter().take(3).map(|row| row.2).collect();
        assert_eq!(first, [961, 962, 963], "{name}");
    }
}

#[test]
fn string_keys_rank_by_their_bytes() {
    let drawn = Drawn::new();
    let same: Vec<Vec<f32>> = drawn.items.iter().map(|column| vec![column[0]; 3]).collect();
    let keys: ArrayRef = Arc::new(StringArray::from(vec!["b", "a", "Z"]));
    let items = batch([vec![("offer".to_owned(), keys)], floats("i", &same)].concat());
    let ranked = rank("rank_towers", &drawn.customers().slice(0, 1), &items, 3);
    let keys: Vec<&str> = ranked.rows.column(1).as_string::<i32>().iter().flatten().collect();
    assert_eq!(keys, ["Z", "a", "b"]);
}

#[test]
fn a_customer_whose_scores_are_no_numbers_has_no_rows() {
    let drawn = Drawn::new();
    let mut columns = drawn.customers.clone();
    columns[2][5] = f32::NAN;
    let customers = batch(floats("c", &columns));
    let ranked = rank("rank_towers", &customers, &drawn.items(), 4);
    assert_eq!(ranked.rows.num_rows(), (CUSTOMERS - 1) * 4);
    let rejected: Vec<(usize, &str)> =
        ranked.rejected.iter().map(|row| (row.row, row.reason.as_str())).collect();
    assert_eq!(rejected, [(5, "no item has a finite score for this customer")]);
    assert!(!ranked.customers.contains(&5));
}

#[test]
fn a_customer_without_a_value_that_must_be_there_is_rejected_and_the_others_keep_their_rows() {
    let drawn = Drawn::new();
    let segments: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(2)]));
    let customers = batch(vec![("segment".to_owned(), segments)]);
    let ranked = rank("rank_embeddings", &customers, &drawn.items(), 2);
    assert_eq!(ranked.customers, [0, 0, 2, 2]);
    assert_eq!(ranked.rejected.len(), 1);
    assert_eq!((ranked.rejected[0].row, ranked.rejected[0].column.as_str()), (1, "segment"));
}

#[test]
fn items_that_cannot_be_told_apart_or_scored_are_refused_by_name() {
    let drawn = Drawn::new();
    let customers = drawn.customers();
    let with = |keys: ArrayRef, kinds: Vec<Option<&str>>| {
        let price: ArrayRef = Arc::new(Float64Array::from(vec![1.0, 2.0, 3.0]));
        let kinds: ArrayRef = Arc::new(StringArray::from(kinds));
        batch(vec![
            ("offer".to_owned(), keys),
            ("kind".to_owned(), kinds),
            ("price".to_owned(), price),
        ])
    };
    let all = vec![Some("food"); 3];
    let keys = |keys: Vec<Option<i64>>| -> ArrayRef { Arc::new(Int64Array::from(keys)) };
    let cases = [
        (
            with(keys(vec![Some(7), Some(8), Some(7)]), all.clone()),
            "item `7` occurs more than once",
        ),
        (with(keys(vec![Some(7), None, Some(9)]), all), "item 2 has no `offer`"),
        (
            with(keys(vec![Some(7), Some(8), Some(9)]), vec![Some("food"), None, Some("food")]),
            "item `8` cannot be scored: `kind`: it is null",
        ),
    ];
    for (items, expected) in cases {
        let ranking = load("rank_network", &customers, &items, 2).expect("loads");
        let error = ranking.over(&items).expect_err("refused");
        assert!(message(&error).contains(expected), "{error}");
    }
}

#[test]
fn what_cannot_be_bound_is_refused_with_the_columns_of_both_sides() {
    let drawn = Drawn::new();
    let (customers, items) = (drawn.customers(), drawn.items());
    let float_key: ArrayRef = Arc::new(Float64Array::from(vec![1.0]));
    let by_float = batch(vec![("offer".to_owned(), float_key)]);
    let narrow = items.project(&[0, 1, 2]).expect("columns");
    let cases = [
        (load("rank_towers", &customers, &items, 0), "expected to keep 1 to 1000 items, found 0"),
        (load("rank_towers", &customers, &customers, 3), "the items have no column `offer`"),
        (load("rank_towers", &customers, &by_float, 3), "the item key `offer` is Float64"),
        (
            load("rank_towers", &items, &items, 3),
            "both the customers' and the items' SQL give a column",
        ),
        (load("rank_towers", &customers, &narrow, 3), "expected 4 columns, found 2"),
        (load("rank_network", &customers, &items, 3), "no column feeds it"),
    ];
    for (loaded, expected) in cases {
        let error = loaded.expect_err("refused");
        assert!(message(&error).contains(expected), "{error}");
    }
}

#[test]
fn a_score_that_the_model_does_not_give_is_refused_with_what_it_gives() {
    let drawn = Drawn::new();
    let wanted = RankOptions { score: Some("probabilty".to_owned()), ..options(3) };
    let (customers, items) = (drawn.customers().schema(), drawn.items().schema());
    let limits = ScoringLimits::default();
    let error = Ranking::load(&model("rank_towers"), &customers, &items, &wanted, &limits);
    let error = error.expect_err("refused");
    assert!(
        message(&error).contains("`probabilty`")
            && message(&error).contains("probability (Float32)")
    );
}

#[test]
fn another_output_can_rank() {
    let drawn = Drawn::new();
    let wanted = RankOptions { score: Some("label".to_owned()), ..options(ITEMS) };
    let (customers, items) = (drawn.customers().slice(0, 1), drawn.offers());
    let limits = ScoringLimits::default();
    let ranking = Ranking::load(
        &model("rank_network"),
        &customers.schema(),
        &items.schema(),
        &wanted,
        &limits,
    );
    let ranking = Arc::new(ranking.expect("loads"));
    let ranked = ranking.over(&items).expect("items").rank(&customers).expect("ranks");
    let names: Vec<&String> =
        ranked.rows.schema_ref().fields().iter().map(|field| field.name()).collect();
    assert_eq!(names, ["rank", "offer", "label", "score"]);
    let prices = ranked.rows.column(2).as_primitive::<Float32Type>().values().to_vec();
    assert!(prices.is_sorted_by(|a, b| a >= b), "{prices:?}");
}

/// Customers and items of few different values, so that pairs tie.
fn matrix(rows: std::ops::Range<usize>, width: usize) -> impl Strategy<Value = Vec<Vec<f32>>> {
    let value = prop_oneof![12 => (-4i8..4).prop_map(f32::from), 1 => Just(f32::NAN)];
    prop::collection::vec(prop::collection::vec(value, width), rows).prop_map(move |rows| {
        (0..width).map(|column| rows.iter().map(|row| row[column]).collect()).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn ranking_is_sorting_the_product(
        customers in matrix(1..12, 6),
        items in matrix(1..30, 4),
        top_n in 1usize..8,
        first in 0usize..12,
    ) {
        let (count, width) = (customers[0].len(), items[0].len());
        let keys: ArrayRef = Arc::new(Int64Array::from_iter_values((0..width).map(key)));
        let item_batch = batch([vec![("offer".to_owned(), keys)], floats("i", &items)].concat());
        let customer_batch = batch(floats("c", &customers));

        let pair = |column: &Vec<f32>, of: fn(usize, usize) -> usize| -> Vec<f32> {
            (0..count * width).map(|pair| column[of(pair, width)]).collect()
        };
        let mut product: Vec<Vec<f32>> = customers.iter().map(|column| pair(column, |p, w| p / w)).collect();
        product.extend(items.iter().map(|column| pair(column, |p, w| p % w)));
        let product = batch(floats("p", &product));
        let scorer = Scorer::load(&model("rank_forest"), None, &product.schema(), &ScoringLimits::default());
        let scored = scorer.expect("loads").score(&product).expect("scores").outputs;
        let scores = scored.column(0).as_primitive::<Float32Type>().values();
        let mut expected = Vec::new();
        for customer in 0..count {
            let own = &scores[customer * width..][..width];
            let mut best: Vec<(f32, i64)> = own.iter().copied().zip((0..width).map(key)).collect();
            best.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            let ranked = (1..).zip(best.into_iter().take(top_n));
            expected.extend(ranked.map(|(rank, (score, offer))| (customer, rank, offer, score)));
        }

        let ranking = load("rank_forest", &customer_batch, &item_batch, top_n).expect("loads");
        let ranker = ranking.over(&item_batch).expect("items");
        prop_assert_eq!(&rows(&ranker.rank(&customer_batch).expect("ranks")), &expected);
        // However the customers are dealt to batches.
        let first = first.min(count);
        let mut parts = rows(&ranker.rank(&customer_batch.slice(0, first)).expect("ranks"));
        let rest = ranker.rank(&customer_batch.slice(first, count - first)).expect("ranks");
        parts.extend(rows(&rest).into_iter().map(|(c, r, o, s)| (c + first, r, o, s)));
        prop_assert_eq!(&parts, &expected);
    }
}
