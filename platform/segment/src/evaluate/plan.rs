//! A condition split into parts that one service alone decides.
//!
//! Each such part is computed over the service's own columns, as they lie, and only its bits are
//! joined with those of the others: nothing is gathered but where one comparison names two services.

use cameo_domain::ServiceName;

use super::truth::Truth;
use crate::condition::{Condition, node::Node};

/// How the parts make the whole.
#[derive(Debug)]
pub(crate) enum Plan {
    Part(usize),
    Not(Box<Plan>),
    And(Vec<Plan>),
    Or(Vec<Plan>),
}

/// A part of the condition.
#[derive(Debug)]
pub(crate) struct Part<'a> {
    pub(crate) node: &'a Node,
    /// Position of the service that decides it; `None` where several do.
    pub(crate) service: Option<usize>,
}

/// Splits a condition. `services` gives positions.
pub(crate) fn split<'a>(
    condition: &'a Condition,
    services: &[&ServiceName],
) -> (Plan, Vec<Part<'a>>) {
    let mut parts = Vec::new();
    let plan = divide(condition.root(), condition, services, &mut parts);
    (plan, parts)
}

fn divide<'a>(
    node: &'a Node,
    condition: &Condition,
    services: &[&ServiceName],
    parts: &mut Vec<Part<'a>>,
) -> Plan {
    let mut named = Vec::new();
    node.visit_columns(&mut |column| {
        let service = &condition.columns()[column].service;
        named.extend(services.iter().position(|known| *known == service));
    });
    named.sort_unstable();
    named.dedup();
    let mut below = |nodes: &'a [Node]| {
        nodes.iter().map(|node| divide(node, condition, services, parts)).collect()
    };
    match (named.as_slice(), node) {
        ([_, _, ..], Node::And(nodes)) => Plan::And(below(nodes)),
        ([_, _, ..], Node::Or(nodes)) => Plan::Or(below(nodes)),
        ([_, _, ..], Node::Not(inner)) => {
            Plan::Not(Box::new(divide(inner, condition, services, parts)))
        }
        (named, _) => {
            // A constant is decided by any.
            let service = match named {
                [] => Some(0),
                [one] => Some(*one),
                _ => None,
            };
            parts.push(Part { node, service });
            Plan::Part(parts.len() - 1)
        }
    }
}

impl Plan {
    /// The whole from its parts.
    pub(crate) fn combine(&self, parts: &[Truth]) -> Truth {
        let all = |plans: &[Self], join: fn(&Truth, &Truth) -> Truth| {
            plans
                .iter()
                .map(|plan| plan.combine(parts))
                .reduce(|left, right| join(&left, &right))
                .unwrap_or_else(|| unreachable!("a chain has at least two links"))
        };
        match self {
            Self::Part(at) => parts[*at].clone(),
            Self::Not(plan) => plan.combine(parts).not(),
            Self::And(plans) => all(plans, Truth::and),
            Self::Or(plans) => all(plans, Truth::or),
        }
    }
}
