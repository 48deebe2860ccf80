//! Strings to strings.

use std::collections::HashSet;

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::{Datum, TDim, Tensor, TractResult, bail, ensure, format_err};

use crate::ops::kernel::{Built, Kernel, ValueType, host, tensor, values};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    Keep,
    Lower,
    Upper,
}

impl Case {
    fn of(self, text: &str) -> String {
        match self {
            Self::Keep => text.to_owned(),
            Self::Lower => text.to_lowercase(),
            Self::Upper => text.to_uppercase(),
        }
    }
}

/// Changes the case of strings.
#[derive(Debug)]
struct StringNormalizer {
    case: Case,
}

pub(crate) fn string_normalizer(_: &ParsingContext, node: &NodeProto) -> Built {
    let stopwords = node.get_attr_opt_vec::<String>("stopwords")?.unwrap_or_default();
    let distinct: HashSet<&String> = stopwords.iter().collect();
    ensure!(
        distinct.is_empty(),
        "it removes {} stop words, so a row would lose its place; expected one string per row, so \
         filter stop words in features.sql or in the vocabulary",
        distinct.len()
    );
    let case = match node.get_attr_opt::<&str>("case_change_action")?.unwrap_or("NONE") {
        "NONE" => Case::Keep,
        "LOWER" => Case::Lower,
        "UPPER" => Case::Upper,
        other => bail!("expected case_change_action NONE, LOWER or UPPER, found {other}"),
    };
    host(StringNormalizer { case }, 1)
}

impl Kernel for StringNormalizer {
    fn name(&self) -> &'static str {
        "StringNormalizer"
    }

    fn infer(&self, inputs: &[ValueType]) -> TractResult<Vec<ValueType>> {
        ensure!(inputs[0].0 == String::datum_type(), "expected strings, found {:?}", inputs[0].0);
        Ok(vec![inputs[0].clone()])
    }

    fn eval(&self, inputs: &[&Tensor]) -> TractResult<Vec<Tensor>> {
        let changed = values::<String>(inputs[0])?.iter().map(|text| self.case.of(text)).collect();
        Ok(vec![tensor(inputs[0].shape(), changed)?])
    }
}

/// Joins each two strings.
#[derive(Debug)]
struct StringConcat;

pub(crate) fn string_concat(_: &ParsingContext, _: &NodeProto) -> Built {
    host(StringConcat, 2)
}

impl Kernel for StringConcat {
    fn name(&self) -> &'static str {
        "StringConcat"
    }

    fn infer(&self, inputs: &[ValueType]) -> TractResult<Vec<ValueType>> {
        let shapes = [&inputs[0].1[..], &inputs[1].1[..]];
        let shape = tract_onnx::tract_core::broadcast::multi_broadcast::<TDim>(&shapes)?;
        Ok(vec![(String::datum_type(), shape.to_vec())])
    }

    fn eval(&self, inputs: &[&Tensor]) -> TractResult<Vec<Tensor>> {
        let shapes = [inputs[0].shape(), inputs[1].shape()];
        let shape = tract_onnx::tract_core::broadcast::multi_broadcast::<usize>(&shapes)?.to_vec();
        let fits = || format_err!("shapes {shapes:?} do not fit");
        let left = inputs[0].to_plain_array_view::<String>()?;
        let left = left.broadcast(shape.clone()).ok_or_else(fits)?;
        let right = inputs[1].to_plain_array_view::<String>()?;
        let right = right.broadcast(shape.clone()).ok_or_else(fits)?;
        let joined =
            left.iter().zip(right.iter()).map(|(left, right)| format!("{left}{right}")).collect();
        Ok(vec![tensor(&shape, joined)?])
    }
}
