//! Random classifiers and support vector machines at the end of a chain.

use crate::draws::Draws;
use crate::onnx::Attribute::{Floats, Integer, Integers, Text, Texts};
use crate::onnx::Chain;
use crate::table::{Table, first_largest, lead, products, sigmoid, softmax};

/// What a head gives beside the scores in the table.
pub(crate) enum Labels {
    None,
    Integers(Vec<i64>),
    Texts(Vec<String>),
}

/// Adds a head; returns the names of the outputs (labels first) and the labels of the reference.
pub(crate) fn head(
    draws: &mut Draws,
    chain: &mut Chain,
    table: &mut Table,
) -> (Vec<String>, Labels) {
    match draws.below(4) {
        0 => (vec![chain.current()], Labels::None),
        1 => linear_classifier(draws, chain, table),
        2 => svm_regressor(draws, chain, table),
        _ => svm_classifier(draws, chain, table),
    }
}

/// Labels by class, as an attribute and as what the reference gives for the chosen classes.
fn labels(
    draws: &mut Draws,
    integers: &'static str,
    classes: usize,
    chosen: &[usize],
) -> ((&'static str, crate::onnx::Attribute), Labels) {
    if draws.one_in(2) {
        let names: Vec<String> = (0..classes).map(|class| format!("class {class}")).collect();
        let found = chosen.iter().map(|class| names[*class].clone()).collect();
        (("classlabels_strings", Texts(names)), Labels::Texts(found))
    } else {
        let names: Vec<i64> = (0i64..).map(|class| 7 - 3 * class).take(classes).collect();
        let found = chosen.iter().map(|class| names[*class]).collect();
        ((integers, Integers(names)), Labels::Integers(found))
    }
}

fn linear_classifier(
    draws: &mut Draws,
    chain: &mut Chain,
    table: &mut Table,
) -> (Vec<String>, Labels) {
    let rows = draws.between(1, 4);
    let classes = rows.max(2);
    let (weights, intercepts) = (draws.weights(table.width() * rows), draws.weights(rows));
    let post = draws.pick(&["NONE", "LOGISTIC", "SOFTMAX"]);
    table.map_rows(|row| {
        let sums = products(row, &weights).into_iter().zip(&intercepts);
        sums.map(|(sum, intercept)| sum + f64::from(*intercept)).collect()
    });
    if rows == 1 {
        table.jumps(|row| row[0]);
    } else {
        table.jumps(lead);
    }
    let chosen: Vec<usize> = table
        .rows
        .iter()
        .map(|row| if rows == 1 { usize::from(row[0] > 0.0) } else { first_largest(row) })
        .collect();
    table.map_rows(|row| match (row, post) {
        ([sum], "LOGISTIC") => vec![1.0 - sigmoid(*sum), sigmoid(*sum)],
        ([sum], _) => vec![1.0 - sum, *sum],
        (row, "LOGISTIC") => row.iter().map(|sum| sigmoid(*sum)).collect(),
        (row, "SOFTMAX") => softmax(row),
        (row, _) => row.to_vec(),
    });
    let (attribute, found) = labels(draws, "classlabels_ints", classes, &chosen);
    let outputs = chain.outputs(
        "LinearClassifier",
        &[],
        &[
            ("coefficients", Floats(weights)),
            ("intercepts", Floats(intercepts)),
            ("post_transform", Text(post)),
            attribute,
        ],
        2,
    );
    (outputs, found)
}

/// A kernel function by its definition.
struct Similarity {
    name: &'static str,
    gamma: f32,
    offset: f32,
}

impl Similarity {
    fn draw(draws: &mut Draws) -> Self {
        let name = draws.pick(&["LINEAR", "POLY", "RBF", "SIGMOID"]);
        Self { name, gamma: 0.25, offset: draws.weight() }
    }

    fn attributes(&self) -> [(&'static str, crate::onnx::Attribute); 2] {
        let parameters = vec![self.gamma, self.offset, 2.0];
        [("kernel_type", Text(self.name)), ("kernel_params", Floats(parameters))]
    }

    fn of(&self, row: &[f64], vector: &[f32]) -> f64 {
        let pairs = || row.iter().zip(vector).map(|(a, b)| (*a, f64::from(*b)));
        let product: f64 = pairs().map(|(a, b)| a * b).sum();
        let (gamma, offset) = (f64::from(self.gamma), f64::from(self.offset));
        match self.name {
            "LINEAR" => product,
            "POLY" => (gamma * product + offset).powi(2),
            "SIGMOID" => (gamma * product + offset).tanh(),
            _ => (-gamma * pairs().map(|(a, b)| (a - b) * (a - b)).sum::<f64>()).exp(),
        }
    }

    fn of_all(&self, row: &[f64], vectors: &[f32]) -> Vec<f64> {
        vectors.chunks_exact(row.len()).map(|vector| self.of(row, vector)).collect()
    }
}

fn svm_regressor(draws: &mut Draws, chain: &mut Chain, table: &mut Table) -> (Vec<String>, Labels) {
    let count = draws.between(1, 5);
    let similarity = Similarity::draw(draws);
    let vectors = draws.weights(table.width() * count);
    let (weights, rho) = (draws.weights(count), draws.weight());
    let one_class = draws.one_in(3);
    table.rounds();
    table.map_rows(|row| {
        let found = similarity.of_all(row, &vectors);
        vec![products(&found, &weights)[0] + f64::from(rho)]
    });
    if one_class {
        table.jumps(|row| row[0]);
        table.map(|value, _| if value > 0.0 { 1.0 } else { -1.0 });
    }
    let [kind, parameters] = similarity.attributes();
    chain.node(
        "SVMRegressor",
        &[],
        &[
            kind,
            parameters,
            ("n_supports", Integer(i64::try_from(count).expect("small"))),
            ("support_vectors", Floats(vectors)),
            ("coefficients", Floats(weights)),
            ("rho", Floats(vec![rho])),
            ("one_class", Integer(i64::from(one_class))),
        ],
    );
    (vec![chain.current()], Labels::None)
}

fn svm_classifier(
    draws: &mut Draws,
    chain: &mut Chain,
    table: &mut Table,
) -> (Vec<String>, Labels) {
    let classes = draws.between(2, 4);
    let per_class: Vec<usize> = (0..classes).map(|_| draws.between(1, 3)).collect();
    let count: usize = per_class.iter().sum();
    let similarity = Similarity::draw(draws);
    let vectors = draws.weights(table.width() * count);
    let weights = draws.weights(count * (classes - 1));
    let rho = draws.weights(classes * (classes - 1) / 2);
    let class_of: Vec<usize> = per_class
        .iter()
        .enumerate()
        .flat_map(|(class, count)| std::iter::repeat_n(class, *count))
        .collect();
    table.rounds();
    table.map_rows(|row| {
        let found = similarity.of_all(row, &vectors);
        let mut decisions = Vec::new();
        for first in 0..classes {
            for second in first + 1..classes {
                let mut sum = f64::from(rho[decisions.len()]);
                for (vector, class) in class_of.iter().enumerate() {
                    // A vector of one class has a weight against each other class, in their order.
                    let against = match *class {
                        class if class == first => second - 1,
                        class if class == second => first,
                        _ => continue,
                    };
                    sum += found[vector] * f64::from(weights[against * count + vector]);
                }
                decisions.push(sum);
            }
        }
        decisions
    });
    table.jumps_at(|decision| decision);
    let chosen: Vec<usize> = table
        .rows
        .iter()
        .map(|decisions| {
            let mut votes = vec![0.0; classes];
            let mut pair = 0;
            for first in 0..classes {
                for second in first + 1..classes {
                    votes[if decisions[pair] > 0.0 { first } else { second }] += 1.0;
                    pair += 1;
                }
            }
            first_largest(&votes)
        })
        .collect();
    table.map_rows(|row| match row {
        [decision] => vec![-decision, *decision],
        decisions => decisions.to_vec(),
    });
    let (attribute, found) = labels(draws, "classlabels_ints", classes, &chosen);
    let [kind, parameters] = similarity.attributes();
    let counts = per_class.iter().map(|count| i64::try_from(*count).expect("small")).collect();
    let outputs = chain.outputs(
        "SVMClassifier",
        &[],
        &[
            kind,
            parameters,
            ("vectors_per_class", Integers(counts)),
            ("support_vectors", Floats(vectors)),
            ("coefficients", Floats(weights)),
            ("rho", Floats(rho)),
            attribute,
        ],
        2,
    );
    (outputs, found)
}
