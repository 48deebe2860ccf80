//! Random steps of a chain: each adds its node to the file and does the same to the reference.

use crate::draws::Draws;
use crate::onnx::Attribute::{Float, Floats, Integer, Integers, Text};
use crate::onnx::Chain;
use crate::table::{Table, larger, products, sigmoid, softmax};

/// Widest table, so that a chain stays small.
const WIDTH_MAX: usize = 12;

type Step = fn(&mut Draws, &mut Chain, &mut Table);

const STEPS: [Step; 15] = [
    scaler,
    imputer,
    normalizer,
    binarizer,
    function,
    with_row,
    gemm,
    pick,
    one_hot,
    label_encoder,
    join,
    reduce,
    soft,
    regressor,
    clip,
];

/// Steps that take integers as well as floats.
const OF_INTEGERS: [Step; 4] = [scaler, regressor, normalizer, cast];

pub(crate) fn step(draws: &mut Draws, chain: &mut Chain, table: &mut Table) {
    let step = draws.pick(&STEPS);
    step(draws, chain, table);
    if table.width() > WIDTH_MAX {
        pick(draws, chain, table);
    }
}

pub(crate) fn first_of_integers(draws: &mut Draws, chain: &mut Chain, table: &mut Table) {
    let step = draws.pick(&OF_INTEGERS);
    step(draws, chain, table);
}

fn cast(_: &mut Draws, chain: &mut Chain, _: &mut Table) {
    chain.node("Cast", &[], &[("to", Integer(1))]);
}

/// One value for all columns or one for each.
fn per_column(draws: &mut Draws, width: usize) -> Vec<f32> {
    let count = if draws.one_in(3) { 1 } else { width };
    draws.weights(count)
}

fn at(values: &[f32], column: usize) -> f64 {
    f64::from(values[column % values.len()])
}

fn scaler(draws: &mut Draws, chain: &mut Chain, table: &mut Table) {
    let (offset, scale) = (per_column(draws, table.width()), per_column(draws, table.width()));
    chain.node(
        "Scaler",
        &[],
        &[("offset", Floats(offset.clone())), ("scale", Floats(scale.clone()))],
    );
    table.map(|value, column| (value - at(&offset, column)) * at(&scale, column));
}

fn imputer(draws: &mut Draws, chain: &mut Chain, table: &mut Table) {
    let values = per_column(draws, table.width());
    let replaced = if draws.one_in(3) { draws.value() } else { f32::NAN };
    chain.node(
        "Imputer",
        &[],
        &[
            ("imputed_value_floats", Floats(values.clone())),
            ("replaced_value_float", Float(replaced)),
        ],
    );
    let replaced = f64::from(replaced);
    table.jumps_at(|value| value - replaced);
    table.map(|value, column| {
        let hit = value.total_cmp(&replaced).is_eq()
            || (value.is_nan() && replaced.is_nan())
            || (value - replaced).abs() < f64::MIN_POSITIVE;
        if hit { at(&values, column) } else { value }
    });
}

fn normalizer(draws: &mut Draws, chain: &mut Chain, table: &mut Table) {
    let name = draws.pick(&["MAX", "L1", "L2"]);
    chain.node("Normalizer", &[], &[("norm", Text(name))]);
    let norm = |row: &[f64]| match name {
        "MAX" => row.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        "L1" => row.iter().map(|value| value.abs()).sum(),
        _ => row.iter().map(|value| value * value).sum::<f64>().sqrt(),
    };
    table.divides(norm);
    table.map_rows(|row| {
        let norm = norm(row);
        row.iter().map(|value| if norm == 0.0 { *value } else { value / norm }).collect()
    });
    table.rounds();
}

fn binarizer(draws: &mut Draws, chain: &mut Chain, table: &mut Table) {
    let threshold = draws.value();
    chain.node("Binarizer", &[], &[("threshold", Float(threshold))]);
    table.jumps_at(|value| value - f64::from(threshold));
    table.map(|value, _| if value > f64::from(threshold) { 1.0 } else { 0.0 });
}

fn function(draws: &mut Draws, chain: &mut Chain, table: &mut Table) {
    let name = draws.pick(&[
        "Relu",
        "Sigmoid",
        "Tanh",
        "Abs",
        "Neg",
        "Floor",
        "Round",
        "LeakyRelu",
        "Erf",
        "Softsign",
    ]);
    chain.node(name, &[], &[]);
    match name {
        "Floor" => table.jumps_at(|value| value - value.round()),
        "Round" => table.jumps_at(|value| value - value.floor() - 0.5),
        _ => {}
    }
    table.map(|value, _| match name {
        "Relu" => larger(value, 0.0),
        "Sigmoid" => sigmoid(value),
        "Tanh" => value.tanh(),
        "Abs" => value.abs(),
        "Neg" => -value,
        "Floor" => value.floor(),
        "Round" => value.round_ties_even(),
        "LeakyRelu" if value < 0.0 => value * 0.01,
        "Softsign" => value / (1.0 + value.abs()),
        "Erf" => integral(value),
        _ => value,
    });
    if matches!(name, "Sigmoid" | "Tanh" | "LeakyRelu" | "Erf" | "Softsign") {
        table.rounds();
    }
}

/// The error function by Simpson's rule.
fn integral(x: f64) -> f64 {
    const STEPS: u32 = 400;
    if x.is_nan() || x.abs() > 6.0 {
        return if x.is_nan() { x } else { x.signum() };
    }
    let width = x / f64::from(STEPS);
    let sum: f64 = (0..=STEPS)
        .map(|step| {
            let t = width * f64::from(step);
            let weight = if step == 0 || step == STEPS { 1.0 } else { f64::from(2 + step % 2 * 2) };
            weight * (-t * t).exp()
        })
        .sum();
    sum * width / 3.0 * std::f64::consts::FRAC_2_SQRT_PI
}

fn with_row(draws: &mut Draws, chain: &mut Chain, table: &mut Table) {
    let name = draws.pick(&["Add", "Sub", "Mul", "Max", "Min"]);
    let row = draws.weights(table.width());
    let constant = chain.floats(&[row.len()], &row);
    chain.node(name, &[constant], &[]);
    table.map(|value, column| {
        let other = f64::from(row[column]);
        match name {
            "Add" => value + other,
            "Sub" => value - other,
            "Mul" => value * other,
            "Max" => larger(value, other),
            _ => -larger(-value, -other),
        }
    });
}

fn clip(draws: &mut Draws, chain: &mut Chain, table: &mut Table) {
    let low = draws.weight();
    let high = low + draws.below(4) as f32;
    let bounds = [chain.floats(&[], &[low]), chain.floats(&[], &[high])];
    chain.node("Clip", &bounds, &[]);
    table.map(|value, _| -larger(-larger(value, f64::from(low)), -f64::from(high)));
}

fn gemm(draws: &mut Draws, chain: &mut Chain, table: &mut Table) {
    let (width, outputs) = (table.width(), draws.between(1, 5));
    let (alpha, beta) = (draws.pick(&[1.0f32, 0.5]), draws.pick(&[1.0f32, 0.0, 2.0]));
    let transposed = draws.one_in(2);
    // One row per output, whichever way round the file has them.
    let weights = draws.weights(width * outputs);
    let shift = draws.weights(outputs);
    let matrix = if transposed {
        chain.floats(&[outputs, width], &weights)
    } else {
        let columns: Vec<f32> = (0..width)
            .flat_map(|feature| weights.iter().skip(feature).step_by(width).copied())
            .collect();
        chain.floats(&[width, outputs], &columns)
    };
    let shift_name = chain.floats(&[outputs], &shift);
    chain.node(
        "Gemm",
        &[matrix, shift_name],
        &[
            ("alpha", Float(alpha)),
            ("beta", Float(beta)),
            ("transB", Integer(i64::from(transposed))),
        ],
    );
    table.map_rows(|row| {
        let sums = products(row, &weights).into_iter().zip(&shift);
        sums.map(|(sum, shift)| f64::from(alpha) * sum + f64::from(beta * shift)).collect()
    });
}

fn pick(draws: &mut Draws, chain: &mut Chain, table: &mut Table) {
    let count = draws.between(1, 5);
    let places: Vec<usize> = (0..count).map(|_| draws.below(table.width())).collect();
    let listed: Vec<i64> =
        places.iter().map(|place| i64::try_from(*place).expect("small")).collect();
    let constant = chain.integers(&[count], &listed);
    chain.node("ArrayFeatureExtractor", &[constant], &[]);
    table.map_rows(|row| places.iter().map(|place| row[*place]).collect());
}

fn one_hot(draws: &mut Draws, chain: &mut Chain, table: &mut Table) {
    let first = i64::try_from(draws.below(3)).expect("small") - 2;
    let categories: Vec<i64> = (first..).take(draws.between(1, 3)).collect();
    chain.node("OneHotEncoder", &[], &[("cats_int64s", Integers(categories.clone()))]);
    chain.node("Flatten", &[], &[("axis", Integer(1))]);
    table.jumps_at(|value| value - value.round());
    table.map_rows(|row| {
        row.iter()
            .flat_map(|value| {
                let whole = value.trunc();
                categories.iter().map(move |category| {
                    if (whole - *category as f64).abs() < 0.5 { 1.0 } else { 0.0 }
                })
            })
            .collect()
    });
}

fn label_encoder(draws: &mut Draws, chain: &mut Chain, table: &mut Table) {
    let keys: Vec<f32> = (-2i16..2).map(f32::from).collect();
    let (values, default) = (draws.weights(keys.len()), draws.weight());
    chain.node("Round", &[], &[]);
    chain.node(
        "LabelEncoder",
        &[],
        &[
            ("keys_floats", Floats(keys.clone())),
            ("values_floats", Floats(values.clone())),
            ("default_float", Float(default)),
        ],
    );
    table.jumps_at(|value| value - value.floor() - 0.5);
    table.map(|value, _| {
        let rounded = value.round_ties_even();
        let place = keys.iter().position(|key| (f64::from(*key) - rounded).abs() < 0.5);
        place.map_or(f64::from(default), |place| f64::from(values[place]))
    });
}

fn join(draws: &mut Draws, chain: &mut Chain, table: &mut Table) {
    let width = table.width();
    // A declared width beyond the input's own is filled with 0, a smaller one cuts.
    let declared = [draws.between(1, width + 1), draws.between(1, width + 1)];
    let listed = declared.iter().map(|width| i64::try_from(*width).expect("small")).collect();
    let again = chain.current();
    chain.node("FeatureVectorizer", &[again], &[("inputdimensions", Integers(listed))]);
    table.map_rows(|row| {
        let part = |width: usize| (0..width).map(|at| row.get(at).copied().unwrap_or(0.0));
        part(declared[0]).chain(part(declared[1])).collect()
    });
}

fn reduce(draws: &mut Draws, chain: &mut Chain, table: &mut Table) {
    let name = draws.pick(&[
        "ReduceSum",
        "ReduceMean",
        "ReduceMax",
        "ReduceMin",
        "ReduceL1",
        "ReduceLogSumExp",
    ]);
    if name == "ReduceSum" {
        let axes = chain.integers(&[1], &[1]);
        chain.node(name, &[axes], &[]);
    } else {
        chain.node(name, &[], &[("axes", Integers(vec![1]))]);
    }
    table.map_rows(|row| {
        let top = row.iter().copied().fold(f64::NEG_INFINITY, larger);
        vec![match name {
            "ReduceSum" => row.iter().sum(),
            "ReduceMean" => row.iter().sum::<f64>() / row.len() as f64,
            "ReduceMax" => top,
            "ReduceMin" => -row.iter().map(|value| -value).fold(f64::NEG_INFINITY, larger),
            "ReduceL1" => row.iter().map(|value| value.abs()).sum(),
            _ => row.iter().map(|value| (value - top).exp()).sum::<f64>().ln() + top,
        }]
    });
    if matches!(name, "ReduceMean" | "ReduceLogSumExp") {
        table.rounds();
    }
}

fn soft(draws: &mut Draws, chain: &mut Chain, table: &mut Table) {
    let logarithm = draws.one_in(2);
    chain.node(if logarithm { "LogSoftmax" } else { "Softmax" }, &[], &[("axis", Integer(1))]);
    table.map_rows(|row| {
        if !logarithm {
            return softmax(row);
        }
        let top = row.iter().copied().fold(f64::NEG_INFINITY, larger);
        let log = row.iter().map(|value| (value - top).exp()).sum::<f64>().ln() + top;
        row.iter().map(|value| value - log).collect()
    });
    table.rounds();
}

fn regressor(draws: &mut Draws, chain: &mut Chain, table: &mut Table) {
    let targets = draws.between(1, 4);
    let (weights, intercepts) = (draws.weights(table.width() * targets), draws.weights(targets));
    let post = draws.pick(&["NONE", "LOGISTIC", "SOFTMAX"]);
    chain.node(
        "LinearRegressor",
        &[],
        &[
            ("coefficients", Floats(weights.clone())),
            ("intercepts", Floats(intercepts.clone())),
            ("targets", Integer(i64::try_from(targets).expect("small"))),
            ("post_transform", Text(post)),
        ],
    );
    table.map_rows(|row| {
        let sums = products(row, &weights).into_iter().zip(&intercepts);
        let sums: Vec<f64> = sums.map(|(sum, intercept)| sum + f64::from(*intercept)).collect();
        match post {
            // ONNX Runtime leaves a single target alone.
            _ if targets == 1 => sums,
            "LOGISTIC" => sums.into_iter().map(sigmoid).collect(),
            "SOFTMAX" => softmax(&sums),
            _ => sums,
        }
    });
    if targets > 1 && post != "NONE" {
        table.rounds();
    }
}
