//! A checked ensemble: every index below is in range and every tree is finite.

/// How exactly features are compared and weights are summed.
///
/// Thresholds and weights are held as `f64` either way; those of a single ensemble are `f32` values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Precision {
    /// Features are rounded to `f32` and weights are summed in `f32`.
    Single,
    /// Features are `f64` and weights are summed in `f64`.
    Double,
}

/// Comparison of an inner node: `feature OP threshold` leads to the true child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    LessOrEqual,
    Less,
    GreaterOrEqual,
    Greater,
    Equal,
    NotEqual,
    /// The feature is one of the values of a set, by index in [`Ensemble::sets`]; the threshold has no meaning.
    Member(u32),
}

/// Where a branch leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Child {
    /// An inner node of the same tree, at a larger index than its parent unless the tree shares subtrees.
    Node(u32),
    /// A leaf of the same tree.
    Leaf(u32),
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Node {
    pub(crate) feature: u32,
    pub(crate) threshold: f64,
    pub(crate) mode: Mode,
    /// Whether NaN takes the true branch although the comparison fails.
    pub(crate) missing_true: bool,
    pub(crate) on_true: Child,
    pub(crate) on_false: Child,
}

/// Weight of a leaf for a target.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Weight {
    pub(crate) target: u32,
    pub(crate) value: f64,
}

#[derive(Debug, Clone)]
pub(crate) struct Tree {
    pub(crate) root: Child,
    pub(crate) nodes: Vec<Node>,
    pub(crate) leaves: Vec<Vec<Weight>>,
    /// Whether a node or leaf has two parents, as `LightGBM`'s categorical splits make.
    pub(crate) shares_subtrees: bool,
}

/// Trees in the order of the file.
#[derive(Debug, Clone)]
pub(crate) struct Ensemble {
    pub(crate) trees: Vec<Tree>,
    pub(crate) targets: usize,
    pub(crate) features: usize,
    pub(crate) precision: Precision,
    /// The sets of [`Mode::Member`], each sorted, without NaN and without duplicates.
    pub(crate) sets: Vec<Vec<f64>>,
}

impl Ensemble {
    /// Whether a value takes the true branch of a node. For [`Precision::Single`] it must be an `f32` value.
    #[allow(clippy::float_cmp, reason = "the operator compares exactly")]
    pub(crate) fn takes_true(&self, node: &Node, value: f64) -> bool {
        let holds = match node.mode {
            Mode::LessOrEqual => value <= node.threshold,
            Mode::Less => value < node.threshold,
            Mode::GreaterOrEqual => value >= node.threshold,
            Mode::Greater => value > node.threshold,
            Mode::Equal => value == node.threshold,
            Mode::NotEqual => value != node.threshold,
            Mode::Member(set) => {
                let set = &self.sets[set as usize];
                let at = set.partition_point(|member| *member < value);
                set.get(at) == Some(&value)
            }
        };
        holds || (node.missing_true && value.is_nan())
    }
}
