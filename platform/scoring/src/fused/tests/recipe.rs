//! Recipes: which parts a random graph has, and the graph that they make.

use proptest::prelude::*;
use tract_onnx::pb::tensor_proto::DataType;

use super::sketch::{Attribute, Sketch};
use crate::graph::Graph;

pub(super) const COLOURS: [&str; 5] = ["red", "green", "blue", "grey", "a colour with a long name"];

/// Draws small dyadic numbers, whose sums are exact in any order.
pub(super) struct Draw(pub(super) u64);

impl Draw {
    pub(super) fn next(&mut self) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    pub(super) fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.next()).expect("31 bits") % count
    }

    pub(super) fn number(&mut self) -> f32 {
        (self.below(129) as f32 - 64.0) / 16.0
    }

    pub(super) fn numbers(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.number()).collect()
    }
}

/// Which parts a graph has.
#[derive(Debug, Clone)]
pub(super) struct Recipe {
    pub(super) seed: u64,
    pub(super) numbers: usize,
    pub(super) imputes: bool,
    pub(super) prefix: Prefix,
    /// One-hot or ordinal colours beside the numbers.
    pub(super) colours: Option<Encoding>,
    pub(super) model: Kind,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Prefix {
    None,
    Scaler,
    MulAdd,
    SubDiv,
    BatchNormalization,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Encoding {
    OneHot,
    Ordinal,
}

#[derive(Debug, Clone)]
pub(super) enum Kind {
    Classifier { classes: usize, post: &'static str, one_for_two: bool, words: bool },
    Regressor { targets: usize },
    Network { layers: Vec<(usize, &'static str)>, end: End },
    Trees,
    Normalized { norm: &'static str },
}

#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    Sigmoid,
    Softmax,
    Both,
}

pub(super) fn recipes() -> impl Strategy<Value = Recipe> {
    let post = prop::sample::select(vec!["NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO"]);
    let activation = prop::sample::select(vec![
        "Relu",
        "Tanh",
        "Sigmoid",
        "LeakyRelu",
        "Elu",
        "Selu",
        "HardSigmoid",
        "Identity",
        "Abs",
    ]);
    let ends = prop::sample::select(vec![End::Sigmoid, End::Softmax, End::Both]);
    let kind = prop_oneof![
        (1..6usize, post, any::<bool>(), any::<bool>()).prop_map(
            |(classes, post, one_for_two, words)| Kind::Classifier {
                classes,
                post,
                one_for_two,
                words
            }
        ),
        (1..4usize).prop_map(|targets| Kind::Regressor { targets }),
        (prop::collection::vec((1..40usize, activation), 1..4), ends)
            .prop_map(|(layers, end)| Kind::Network { layers, end }),
        Just(Kind::Trees),
        prop::sample::select(vec!["MAX", "L1", "L2"]).prop_map(|norm| Kind::Normalized { norm }),
    ];
    let prefix = prop::sample::select(vec![
        Prefix::None,
        Prefix::Scaler,
        Prefix::MulAdd,
        Prefix::SubDiv,
        Prefix::BatchNormalization,
    ]);
    let colours = prop::sample::select(vec![None, Some(Encoding::OneHot), Some(Encoding::Ordinal)]);
    (any::<u64>(), 1..19usize, any::<bool>(), prefix, colours, kind).prop_map(
        |(seed, numbers, imputes, prefix, colours, model)| Recipe {
            seed,
            numbers,
            imputes,
            prefix,
            colours,
            model,
        },
    )
}

/// Builds the graph of a recipe.
pub(super) fn build(recipe: &Recipe) -> Graph {
    let mut draw = Draw(recipe.seed);
    let mut sketch = Sketch::default();
    let width = recipe.numbers;
    let (mut numbers, mut total) = if recipe.colours.is_some() {
        let inputs: Vec<String> = (0..width)
            .map(|index| sketch.input(&format!("n{index}"), DataType::Float, 1))
            .collect();
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        (sketch.node("Concat", &inputs, vec![("axis", Attribute::Integer(1))]), width)
    } else {
        (sketch.input("X", DataType::Float, i64::try_from(width).expect("small")), width)
    };
    if recipe.imputes {
        numbers = sketch.node(
            "Imputer",
            &[&numbers],
            vec![
                ("imputed_value_floats", Attribute::Floats(draw.numbers(width))),
                ("replaced_value_float", Attribute::Float(f32::NAN)),
            ],
        );
    }
    numbers = prefixed(&mut sketch, &mut draw, recipe.prefix, &numbers, width);
    if let Some(encoding) = recipe.colours {
        let colour = sketch.input("colour", DataType::String, 1);
        let known: Vec<String> = COLOURS[..4].iter().map(|name| (*name).to_owned()).collect();
        let encoded = match encoding {
            Encoding::OneHot => {
                total += known.len();
                let shape = sketch.integers(&[2], vec![-1, 4]);
                let hot = sketch.node(
                    "OneHotEncoder",
                    &[&colour],
                    vec![
                        ("cats_strings", Attribute::Texts(known)),
                        ("zeros", Attribute::Integer(1)),
                    ],
                );
                sketch.node("Reshape", &[&hot, &shape], vec![])
            }
            Encoding::Ordinal => {
                total += 1;
                let codes = sketch.node(
                    "LabelEncoder",
                    &[&colour],
                    vec![
                        ("keys_strings", Attribute::Texts(known)),
                        ("values_int64s", Attribute::Integers(vec![0, 1, 2, 3])),
                        ("default_int64", Attribute::Integer(-1)),
                    ],
                );
                sketch.node("Cast", &[&codes], vec![("to", Attribute::Integer(1))])
            }
        };
        numbers =
            sketch.node("Concat", &[&numbers, &encoded], vec![("axis", Attribute::Integer(1))]);
    }
    modelled(&mut sketch, &mut draw, &recipe.model, &numbers, total);
    sketch.graph()
}

pub(super) fn prefixed(
    sketch: &mut Sketch,
    draw: &mut Draw,
    prefix: Prefix,
    numbers: &str,
    width: usize,
) -> String {
    let halves = |draw: &mut Draw| -> Vec<f32> {
        (0..width).map(|_| [0.25, 0.5, 1.0, 2.0][draw.below(4)]).collect()
    };
    match prefix {
        Prefix::None => numbers.to_owned(),
        Prefix::Scaler => sketch.node(
            "Scaler",
            &[numbers],
            vec![
                ("offset", Attribute::Floats(draw.numbers(width))),
                ("scale", Attribute::Floats(halves(draw))),
            ],
        ),
        Prefix::MulAdd => {
            let (factor, addend) = (halves(draw), draw.numbers(width));
            let (factor, addend) =
                (sketch.floats(&[width], factor), sketch.floats(&[1, width], addend));
            let product = sketch.node("Mul", &[numbers, &factor], vec![]);
            sketch.node("Add", &[&addend, &product], vec![])
        }
        Prefix::SubDiv => {
            let (from, divisor) = (sketch.floats(&[], vec![1.5]), halves(draw));
            let divisor = sketch.floats(&[width], divisor);
            let difference = sketch.node("Sub", &[&from, numbers], vec![]);
            sketch.node("Div", &[&difference, &divisor], vec![])
        }
        Prefix::BatchNormalization => {
            let lists: Vec<String> =
                [halves(draw), draw.numbers(width), draw.numbers(width), vec![1.0; width]]
                    .into_iter()
                    .map(|values| sketch.floats(&[width], values))
                    .collect();
            let inputs = [numbers, &lists[0], &lists[1], &lists[2], &lists[3]];
            sketch.node("BatchNormalization", &inputs, vec![("epsilon", Attribute::Float(0.0))])
        }
    }
}

pub(super) fn modelled(
    sketch: &mut Sketch,
    draw: &mut Draw,
    model: &Kind,
    numbers: &str,
    width: usize,
) {
    match model {
        Kind::Classifier { classes, post, one_for_two, words } => {
            let (labels, rows) = if *one_for_two { (2, 1) } else { (*classes, *classes) };
            let mut attributes = vec![
                ("coefficients", Attribute::Floats(draw.numbers(rows * width))),
                ("intercepts", Attribute::Floats(draw.numbers(rows))),
                ("post_transform", Attribute::Text(post)),
            ];
            attributes.push(if *words {
                let names = (0..labels).map(|index| format!("class {index}")).collect();
                ("classlabels_strings", Attribute::Texts(names))
            } else {
                let numbers = (0..labels).map(|index| i64::try_from(index * 7).expect("small"));
                ("classlabels_ints", Attribute::Integers(numbers.collect()))
            });
            let label = sketch.node("LinearClassifier", &[numbers], attributes);
            sketch.output(&label);
            sketch.output(&format!("{label}_scores"));
        }
        Kind::Regressor { targets } => {
            let sums = sketch.node(
                "LinearRegressor",
                &[numbers],
                vec![
                    ("coefficients", Attribute::Floats(draw.numbers(targets * width))),
                    ("intercepts", Attribute::Floats(draw.numbers(*targets))),
                    ("targets", Attribute::Integer(i64::try_from(*targets).expect("small"))),
                ],
            );
            sketch.output(&sums);
        }
        Kind::Network { layers, end } => network(sketch, draw, layers, *end, numbers, width),
        Kind::Trees => trees(sketch, draw, numbers, width),
        Kind::Normalized { norm } => {
            let rows = sketch.node("Normalizer", &[numbers], vec![("norm", Attribute::Text(norm))]);
            sketch.output(&rows);
        }
    }
}

pub(super) fn network(
    sketch: &mut Sketch,
    draw: &mut Draw,
    layers: &[(usize, &'static str)],
    end: End,
    numbers: &str,
    width: usize,
) {
    let (mut value, mut width) = (numbers.to_owned(), width);
    for (index, (units, activation)) in layers.iter().enumerate() {
        // Numbers are 4 at most, so that a sum is never larger than what is summed and an intercept: what
        // a network ends in has the scale of what it began with.
        let divisor = 4.0 * width as f32;
        let weights: Vec<f32> =
            draw.numbers(width * units).iter().map(|weight| weight / divisor).collect();
        let intercepts = draw.numbers(*units);
        value = if index % 2 == 0 {
            let weights = sketch.floats(&[*units, width], weights);
            let intercepts = sketch.floats(&[*units], intercepts);
            sketch.node(
                "Gemm",
                &[&value, &weights, &intercepts],
                vec![("transB", Attribute::Integer(1))],
            )
        } else {
            let weights = sketch.floats(&[width, *units], weights);
            let intercepts = sketch.floats(&[1, *units], intercepts);
            let product = sketch.node("MatMul", &[&value, &weights], vec![]);
            sketch.node("Add", &[&product, &intercepts], vec![])
        };
        value = sketch.node(activation, &[&value], vec![]);
        width = *units;
    }
    let outputs = match end {
        End::Sigmoid => vec![sketch.node("Sigmoid", &[&value], vec![])],
        End::Softmax => {
            vec![sketch.node("Softmax", &[&value], vec![("axis", Attribute::Integer(1))])]
        }
        End::Both => {
            let column = sketch.integers(&[1], vec![0]);
            let first =
                sketch.node("Gather", &[&value, &column], vec![("axis", Attribute::Integer(1))]);
            let positive = sketch.node("Sigmoid", &[&first], vec![]);
            let one = sketch.floats(&[], vec![1.0]);
            let negative = sketch.node("Sub", &[&one, &positive], vec![]);
            let both = sketch.node(
                "Concat",
                &[&negative, &positive],
                vec![("axis", Attribute::Integer(-1))],
            );
            vec![both, value]
        }
    };
    for output in &outputs {
        sketch.output(output);
    }
}

/// Stumps over every feature.
pub(super) fn trees(sketch: &mut Sketch, draw: &mut Draw, numbers: &str, width: usize) {
    let count = i64::try_from(width).expect("small");
    let each = |of: fn(i64) -> [i64; 3]| (0..count).flat_map(of).collect::<Vec<i64>>();
    let modes = (0..count).flat_map(|_| ["BRANCH_LT", "LEAF", "LEAF"].map(str::to_owned)).collect();
    let values = (0..count).flat_map(|_| [draw.number(), 0.0, 0.0]).collect();
    let trees = sketch.node(
        "TreeEnsembleRegressor",
        &[numbers],
        vec![
            ("n_targets", Attribute::Integer(1)),
            ("nodes_treeids", Attribute::Integers(each(|tree| [tree; 3]))),
            ("nodes_nodeids", Attribute::Integers(each(|_| [0, 1, 2]))),
            ("nodes_featureids", Attribute::Integers(each(|tree| [tree, 0, 0]))),
            ("nodes_modes", Attribute::Texts(modes)),
            ("nodes_values", Attribute::Floats(values)),
            ("nodes_truenodeids", Attribute::Integers(each(|_| [1, 0, 0]))),
            ("nodes_falsenodeids", Attribute::Integers(each(|_| [2, 0, 0]))),
            (
                "target_treeids",
                Attribute::Integers(
                    each(|tree| [tree; 3])[..]
                        .chunks(3)
                        .flat_map(|tree| tree[..2].to_vec())
                        .collect(),
                ),
            ),
            ("target_nodeids", Attribute::Integers((0..count).flat_map(|_| [1, 2]).collect())),
            ("target_ids", Attribute::Integers(vec![0; 2 * width])),
            ("target_weights", Attribute::Floats(draw.numbers(2 * width))),
        ],
    );
    sketch.output(&trees);
}
