//! Random ensembles against the definition of the Shapley value.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, Float64Array};
use proptest::prelude::*;

use super::compile::{Compiled, Covers, Game, Question};
use super::grow::Background;
use crate::columns::FloatColumn;
use crate::level::Level;
use crate::trees::Precision;
use crate::trees::structure::{Child, Ensemble, Mode, Node, Tree, Weight};

/// A linear congruential generator.
struct Draws(u64);

impl Draws {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn value(&mut self) -> f64 {
        // Few distinct values, so that thresholds are met exactly; some missing.
        match self.below(9) {
            8 => f64::NAN,
            value => f64::from(u32::try_from(value).expect("small")),
        }
    }
}

const MODES: [Mode; 7] = [
    Mode::LessOrEqual,
    Mode::Less,
    Mode::GreaterOrEqual,
    Mode::Greater,
    Mode::Equal,
    Mode::NotEqual,
    Mode::Member(0),
];

fn grow(tree: &mut Tree, draws: &mut Draws, depth: u64, features: u64, targets: u64) -> Child {
    if depth == 0 || draws.below(6) == 0 {
        let weights = (0..targets).map(|target| Weight {
            target: u32::try_from(target).expect("small"),
            value: f64::from(u32::try_from(draws.below(64)).expect("small")) / 16.0 - 2.0,
        });
        tree.leaves.push(weights.collect());
        return Child::Leaf(u32::try_from(tree.leaves.len() - 1).expect("small"));
    }
    let at = tree.nodes.len();
    tree.nodes.push(Node {
        feature: u32::try_from(draws.below(features)).expect("small"),
        threshold: f64::from(u32::try_from(draws.below(8)).expect("small")),
        mode: MODES[usize::try_from(draws.below(7)).expect("small")],
        missing_true: draws.below(2) == 0,
        on_true: Child::Leaf(0),
        on_false: Child::Leaf(0),
    });
    let on_true = grow(tree, draws, depth - 1, features, targets);
    // Sometimes both branches lead to the same subtree.
    let on_false = if draws.below(12) == 0 {
        tree.shares_subtrees = true;
        on_true
    } else {
        grow(tree, draws, depth - 1, features, targets)
    };
    tree.nodes[at].on_true = on_true;
    tree.nodes[at].on_false = on_false;
    Child::Node(u32::try_from(at).expect("small"))
}

fn tree(draws: &mut Draws, depth: u64, features: u64, targets: u64) -> Tree {
    let mut tree =
        Tree { root: Child::Leaf(0), nodes: vec![], leaves: vec![], shares_subtrees: false };
    tree.root = grow(&mut tree, draws, depth, features, targets);
    tree
}

struct Case {
    ensemble: Ensemble,
    players: Vec<Option<usize>>,
    player_count: usize,
    weights: Vec<f64>,
    background: Background,
    rows: Vec<Vec<f64>>,
}

const BACKGROUND_ROWS: usize = 12;

impl Case {
    fn draw(seed: u64, features: usize, depth: u64, precision: Precision, grouped: bool) -> Self {
        let draws = &mut Draws(seed);
        let trees = (0..3).map(|_| tree(draws, depth, features as u64, 2)).collect();
        let ensemble =
            Ensemble { trees, targets: 2, features, precision, sets: vec![vec![1.0, 4.0, 6.0]] };
        // Grouped: two tree features come from the same column, and one is constant.
        let players = (0..features)
            .map(|feature| match (grouped, feature) {
                (true, 0) => None,
                (true, _) => Some((feature - 1) / 2),
                (false, _) => Some(feature),
            })
            .collect::<Vec<_>>();
        let player_count = players.iter().flatten().max().map_or(1, |player| player + 1);
        let mut background: Background =
            (0..features).map(|_| (0..BACKGROUND_ROWS).map(|_| draws.value()).collect()).collect();
        if grouped {
            background[0] = vec![3.0; BACKGROUND_ROWS];
        }
        let rows = (0..5)
            .map(|_| {
                let mut row: Vec<f64> = (0..features).map(|_| draws.value()).collect();
                if grouped {
                    row[0] = 3.0;
                }
                row
            })
            .collect();
        Self { ensemble, players, player_count, weights: vec![1.0, -0.5], background, rows }
    }

    fn compile(&self, game: Game, table_bytes_max: usize, covers: Option<&Covers>) -> Compiled {
        Question {
            ensemble: &self.ensemble,
            weights: &self.weights,
            players: &self.players,
            player_count: self.player_count,
            background: &self.background,
            rows: BACKGROUND_ROWS,
            covers,
            game,
            table_bytes_max,
        }
        .compile()
        .expect("within bounds")
    }

    fn columns(&self) -> Vec<FloatColumn> {
        (0..self.ensemble.features)
            .map(|feature| {
                let values = self.rows.iter().map(|row| row[feature]);
                #[allow(clippy::cast_possible_truncation, reason = "small integers")]
                let column: ArrayRef = match self.ensemble.precision {
                    Precision::Single => {
                        Arc::new(values.map(|value| value as f32).collect::<Float32Array>())
                    }
                    Precision::Double => Arc::new(values.collect::<Float64Array>()),
                };
                FloatColumn::of(&column).expect("a float")
            })
            .collect()
    }

    fn leaf(&self, tree: &Tree, leaf: u32) -> f64 {
        let weights = tree.leaves[leaf as usize].iter();
        weights.map(|weight| self.weights[weight.target as usize] * weight.value).sum()
    }

    fn reach(&self, tree: &Tree, row: &[f64]) -> f64 {
        let mut at = tree.root;
        loop {
            match at {
                Child::Leaf(leaf) => return self.leaf(tree, leaf),
                Child::Node(node) => {
                    let node = &tree.nodes[node as usize];
                    let holds = self.ensemble.takes_true(node, row[node.feature as usize]);
                    at = if holds { node.on_true } else { node.on_false };
                }
            }
        }
    }

    /// What a coalition earns below a node that `reaching` background rows reach.
    fn path_dependent(
        &self,
        tree: &Tree,
        at: Child,
        row: &[f64],
        known: usize,
        reaching: &[usize],
    ) -> f64 {
        let Child::Node(node) = at else {
            let Child::Leaf(leaf) = at else { unreachable!() };
            return self.leaf(tree, leaf);
        };
        let node = &tree.nodes[node as usize];
        let feature = node.feature as usize;
        let (on_true, on_false): (Vec<usize>, Vec<usize>) = reaching
            .iter()
            .partition(|at| self.ensemble.takes_true(node, self.background[feature][**at]));
        let sides = [(node.on_true, on_true), (node.on_false, on_false)];
        let value =
            |side: usize| self.path_dependent(tree, sides[side].0, row, known, &sides[side].1);
        let is_known = self.players[feature].is_none_or(|player| known >> player & 1 == 1);
        if is_known {
            return value(usize::from(!self.ensemble.takes_true(node, row[feature])));
        }
        let share =
            if reaching.is_empty() { 0.5 } else { sides[0].1.len() as f64 / reaching.len() as f64 };
        share * value(0) + (1.0 - share) * value(1)
    }

    fn earns(&self, game: Game, row: &[f64], known: usize) -> f64 {
        let every: Vec<usize> = (0..BACKGROUND_ROWS).collect();
        let tree = |tree: &Tree| match game {
            Game::PathDependent => self.path_dependent(tree, tree.root, row, known, &every),
            Game::Interventional => {
                let mixed = |from: usize| -> Vec<f64> {
                    (0..row.len())
                        .map(|feature| match self.players[feature] {
                            Some(player) if known >> player & 1 == 0 => {
                                self.background[feature][from]
                            }
                            _ => row[feature],
                        })
                        .collect()
                };
                every.iter().map(|from| self.reach(tree, &mixed(*from))).sum::<f64>()
                    / BACKGROUND_ROWS as f64
            }
        };
        self.ensemble.trees.iter().map(tree).sum()
    }

    /// The base value, then Shapley values by their definition.
    fn reference(&self, game: Game, row: &[f64]) -> Vec<f64> {
        let players = self.player_count;
        let earned: Vec<f64> =
            (0..1 << players).map(|known| self.earns(game, row, known)).collect();
        let factorial = |n: usize| (1..=n).map(|factor| factor as f64).product::<f64>();
        let value = |player: usize| -> f64 {
            (0..1usize << players)
                .filter(|set| set >> player & 1 == 0)
                .map(|set| {
                    let size = set.count_ones() as usize;
                    let weight =
                        factorial(size) * factorial(players - 1 - size) / factorial(players);
                    weight * (earned[set | 1 << player] - earned[set])
                })
                .sum()
        };
        std::iter::once(earned[0]).chain((0..players).map(value)).collect()
    }

    fn assert_exact(&self, game: Game, table_bytes_max: usize) {
        let compiled = self.compile(game, table_bytes_max, None);
        assert!(compiled.table_bytes <= table_bytes_max);
        let found = compiled.shap.explain(&self.columns(), self.rows.len());
        for (at, row) in self.rows.iter().enumerate() {
            let expected = self.reference(game, row);
            assert!((compiled.expected - expected[0]).abs() < 1e-9, "{game:?}: base value");
            for (player, (found, expected)) in found.iter().zip(&expected[1..]).enumerate() {
                assert!(
                    (f64::from(found[at]) - expected).abs() < 1e-5,
                    "{game:?}, {table_bytes_max} bytes, row {at}, feature {player}: {} for {expected}",
                    found[at]
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn contributions_are_shapley_values(
        seed in any::<u64>(),
        features in 2..8usize,
        depth in 1..8u64,
        double in any::<bool>(),
        grouped in any::<bool>(),
    ) {
        let precision = if double { Precision::Double } else { Precision::Single };
        let case = Case::draw(seed, features, depth, precision, grouped);
        for level in Level::available() {
            level.at_most(|| {
                for game in [Game::PathDependent, Game::Interventional] {
                    for table_bytes_max in [0, 1 << 20] {
                        case.assert_exact(game, table_bytes_max);
                    }
                }
            });
        }
    }
}

#[test]
fn wide_tables_give_what_walking_gives_at_every_level() {
    // Paths of about ten features: tables beyond what fits registers.
    let mut case = Case::draw(11, 40, 10, Precision::Single, false);
    let draws = &mut Draws(12);
    case.rows = (0..600).map(|_| (0..40).map(|_| draws.value()).collect()).collect();
    let columns = case.columns();
    let walked = case.compile(Game::Interventional, 0, None).shap.explain(&columns, 600);
    for level in Level::available() {
        let compiled = level.at_most(|| case.compile(Game::Interventional, 1 << 27, None));
        assert!(compiled.table_bytes > 1 << 20, "only {} bytes of tables", compiled.table_bytes);
        let found = compiled.shap.explain(&columns, 600);
        for (player, (found, walked)) in found.iter().zip(&walked).enumerate() {
            for (row, (found, walked)) in found.iter().zip(walked).enumerate() {
                assert!(
                    (found - walked).abs() < 1e-4,
                    "{level}, row {row}, feature {player}: {found} for {walked}"
                );
            }
        }
    }
}

#[test]
fn a_block_gives_what_its_rows_give_alone() {
    let mut case = Case::draw(3, 6, 5, Precision::Single, false);
    let draws = &mut Draws(4);
    case.rows = (0..1300).map(|_| (0..6).map(|_| draws.value()).collect()).collect();
    for table_bytes_max in [0, 1 << 20] {
        let compiled = case.compile(Game::PathDependent, table_bytes_max, None);
        let whole = compiled.shap.explain(&case.columns(), case.rows.len());
        for at in [0, 511, 512, 1299] {
            let mut alone = Case {
                rows: vec![case.rows[at].clone()],
                ..Case::draw(3, 6, 5, Precision::Single, false)
            };
            alone.background.clone_from(&case.background);
            let alone = compiled.shap.explain(&alone.columns(), 1);
            for (alone, whole) in alone.iter().zip(&whole) {
                assert_eq!(alone[0].to_bits(), whole[at].to_bits(), "row {at}");
            }
        }
    }
}

#[test]
fn covers_that_do_not_fit_are_refused_with_the_tree() {
    let case = Case::draw(9, 4, 4, Precision::Single, false);
    let covers = Covers { trees: vec![vec![1.0]; 3] };
    let refused = Question {
        ensemble: &case.ensemble,
        weights: &case.weights,
        players: &case.players,
        player_count: case.player_count,
        background: &case.background,
        rows: BACKGROUND_ROWS,
        covers: Some(&covers),
        game: Game::PathDependent,
        table_bytes_max: 0,
    }
    .compile();
    assert!(refused.err().is_some_and(|problem| problem.starts_with("tree ")));
}
