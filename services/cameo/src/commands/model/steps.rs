//! The steps of a graph as a person would draw them: plumbing left out, equal operators side by side
//! counted, a chain in one box.

use std::collections::BTreeMap;

use cameo_scoring::{Anatomy, NodeView};

/// Operators that move or reshape values without computing any.
const PLUMBING: [&str; 10] = [
    "Cast",
    "Constant",
    "Flatten",
    "Identity",
    "Reshape",
    "Shape",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
    "ZipMap",
];
/// Steps that are drawn at most; of more, the ones in the middle become one line.
const STEPS_MAX: usize = 12;

/// What happens at the same time: boxes side by side, each with lines of text.
pub(super) type Step = Vec<Vec<String>>;

/// The steps of a model, first to last.
pub(super) fn of(model: &Anatomy) -> Vec<Step> {
    let mut chained: Vec<Step> = Vec::new();
    let mut chain: Vec<String> = Vec::new();
    for layer in layers(&model.nodes) {
        let lone = layer.len() == 1 && !layer.keys().any(|operator| is_ensemble(operator));
        if lone {
            chain.extend(layer.into_iter().map(counted));
            continue;
        }
        if !chain.is_empty() {
            chained.push(vec![vec![std::mem::take(&mut chain).join(" → ")]]);
        }
        chained.push(layer.into_iter().map(|operator| labelled(operator, model)).collect());
    }
    if !chain.is_empty() {
        chained.push(vec![vec![chain.join(" → ")]]);
    }
    shortened(chained)
}

/// Operators by distance from the inputs, each with its number of nodes.
fn layers(nodes: &[NodeView]) -> Vec<BTreeMap<&str, usize>> {
    let mut layers: Vec<BTreeMap<&str, usize>> = Vec::new();
    // Number of steps up to and including each node; plumbing is none.
    let mut ends: Vec<usize> = Vec::with_capacity(nodes.len());
    for node in nodes {
        let before = node.reads.iter().map(|read| ends[*read]).max().unwrap_or(0);
        if PLUMBING.contains(&node.operator.as_str()) {
            ends.push(before);
            continue;
        }
        if layers.len() == before {
            layers.push(BTreeMap::new());
        }
        *layers[before].entry(&node.operator).or_insert(0) += 1;
        ends.push(before + 1);
    }
    layers
}

fn is_ensemble(operator: &str) -> bool {
    operator.starts_with("TreeEnsemble")
}

fn counted((operator, count): (&str, usize)) -> String {
    if count == 1 { operator.to_owned() } else { format!("{operator} ×{count}") }
}

/// An operator, with the size of its trees where it has any.
fn labelled((operator, count): (&str, usize), model: &Anatomy) -> Vec<String> {
    let mut lines = vec![counted((operator, count))];
    if is_ensemble(operator)
        && let [ensemble] = &model.ensembles[..]
    {
        lines.push(format!("{} trees, depth {}", ensemble.trees, ensemble.depth_max));
    }
    lines
}

fn shortened(mut steps: Vec<Step>) -> Vec<Step> {
    if steps.len() > STEPS_MAX {
        let left_out = steps.len() - STEPS_MAX + 1;
        let middle = STEPS_MAX / 2;
        steps.splice(middle..middle + left_out, [vec![vec![format!("… {left_out} more steps")]]]);
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(operator: &str, reads: &[usize]) -> NodeView {
        NodeView {
            name: String::new(),
            operator: operator.to_owned(),
            reads: reads.to_vec(),
            inputs: vec![],
            outputs: vec![],
        }
    }

    #[test]
    fn plumbing_takes_no_step_and_equal_operators_are_counted() {
        let nodes = [
            node("Scaler", &[]),
            node("OneHotEncoder", &[]),
            node("OneHotEncoder", &[]),
            node("Cast", &[0]),
            node("Concat", &[3, 1, 2]),
        ];
        let found = layers(&nodes);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0], BTreeMap::from([("Scaler", 1), ("OneHotEncoder", 2)]));
        assert_eq!(found[1], BTreeMap::from([("Concat", 1)]));
    }

    #[test]
    fn a_long_model_is_cut_in_the_middle() {
        let steps = (0..100).map(|index| vec![vec![index.to_string()]]).collect();
        let short = shortened(steps);
        assert_eq!(short.len(), STEPS_MAX);
        assert_eq!(short[STEPS_MAX / 2], [["… 89 more steps".to_owned()]]);
        assert_eq!(short[STEPS_MAX - 1], [["99".to_owned()]]);
    }
}
