//! Operators that map categories to numbers and back.

use std::collections::HashMap;

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::{NodeProto, TensorProto};
use tract_onnx::tract_hir::internal::{
    Datum, DatumType, Tensor, ToDim, TractResult, bail, ensure, format_err, tensor1,
};

use super::kernel::{Built, Kernel, ValueType, floats, host, integers, tensor, values};

/// Position of a key in a list, for each type of key.
#[derive(Debug)]
enum Positions {
    Strings(HashMap<String, usize>),
    Integers(HashMap<i64, usize>),
    /// By bits, with -0 as 0 and every NaN as one key.
    Floats(HashMap<u32, usize>),
}

impl Positions {
    /// The first position wins when a key is repeated.
    fn of(keys: &Tensor) -> TractResult<Self> {
        fn index<K: std::hash::Hash + Eq>(keys: impl Iterator<Item = K>) -> HashMap<K, usize> {
            let mut positions = HashMap::new();
            for (position, key) in keys.enumerate() {
                positions.entry(key).or_insert(position);
            }
            positions
        }
        Ok(match keys.datum_type() {
            DatumType::String => Self::Strings(index(values::<String>(keys)?.iter().cloned())),
            DatumType::F32 | DatumType::F64 => {
                Self::Floats(index(floats(keys)?.iter().map(|key| float_key(*key))))
            }
            _ => Self::Integers(index(integers(keys)?.into_iter())),
        })
    }

    fn find(&self, input: &Tensor) -> TractResult<Vec<Option<usize>>> {
        Ok(match self {
            Self::Strings(positions) => {
                values::<String>(input)?.iter().map(|key| positions.get(key).copied()).collect()
            }
            Self::Integers(positions) => {
                integers(input)?.iter().map(|key| positions.get(key).copied()).collect()
            }
            Self::Floats(positions) => {
                floats(input)?.iter().map(|key| positions.get(&float_key(*key)).copied()).collect()
            }
        })
    }
}

fn float_key(key: f32) -> u32 {
    if key.is_nan() { f32::NAN.to_bits() } else { (key + 0.0).to_bits() }
}

/// One column per category, 1 where it is the row's.
#[derive(Debug)]
struct OneHotEncoder {
    positions: Positions,
    categories: usize,
    unknown_is_zeros: bool,
}

pub(super) fn one_hot_encoder(_: &ParsingContext, node: &NodeProto) -> Built {
    let strings = node.get_attr_opt_vec::<String>("cats_strings")?.unwrap_or_default();
    let keys = if strings.is_empty() {
        tensor1(&node.get_attr_vec::<i64>("cats_int64s")?)
    } else {
        tensor1(&strings)
    };
    ensure!(keys.len() > 0, "expected at least one category");
    let unknown_is_zeros = node.get_attr_opt::<i64>("zeros")?.unwrap_or(1) != 0;
    host(
        OneHotEncoder {
            positions: Positions::of(&keys)?,
            categories: keys.len(),
            unknown_is_zeros,
        },
        1,
    )
}

impl Kernel for OneHotEncoder {
    fn name(&self) -> &'static str {
        "OneHotEncoder"
    }

    fn infer(&self, inputs: &[ValueType]) -> TractResult<Vec<ValueType>> {
        let mut shape = inputs[0].1.clone();
        shape.push(self.categories.to_dim());
        Ok(vec![(f32::datum_type(), shape)])
    }

    fn eval(&self, inputs: &[&Tensor]) -> TractResult<Vec<Tensor>> {
        let mut shape = inputs[0].shape().to_vec();
        shape.push(self.categories);
        let mut hot = vec![0f32; inputs[0].len() * self.categories];
        for (row, position) in self.positions.find(inputs[0])?.into_iter().enumerate() {
            match position {
                Some(position) => hot[row * self.categories + position] = 1.0,
                None if self.unknown_is_zeros => {}
                None => bail!(
                    "row {row} has a category the encoder was not trained on; \
                     train it with handle_unknown=\"ignore\" or filter in features.sql"
                ),
            }
        }
        Ok(vec![tensor(&shape, hot)?])
    }
}

/// Maps keys to values of any two of the types string, integer and float.
#[derive(Debug)]
struct LabelEncoder {
    positions: Positions,
    values: Tensor,
    default: Tensor,
}

pub(super) fn label_encoder(context: &ParsingContext, node: &NodeProto) -> Built {
    let given = |name: &str| -> TractResult<Option<Tensor>> {
        node.get_attr_opt::<&TensorProto>(name)?.map(|proto| context.load_tensor(proto)).transpose()
    };
    let list = |prefix: &str| -> TractResult<Option<Tensor>> {
        if let Some(strings) = node.get_attr_opt_vec::<String>(&format!("{prefix}_strings"))? {
            return Ok(Some(tensor1(&strings)));
        }
        if let Some(integers) = node.get_attr_opt_vec::<i64>(&format!("{prefix}_int64s"))? {
            return Ok(Some(tensor1(&integers)));
        }
        if let Some(floats) = node.get_attr_opt_vec::<f32>(&format!("{prefix}_floats"))? {
            return Ok(Some(tensor1(&floats)));
        }
        given(&format!("{prefix}_tensor"))
    };
    let (keys, values) = if let (Some(keys), Some(values)) = (list("keys")?, list("values")?) {
        (keys, values)
    } else {
        // Version 1 lists classes only; the value is the position.
        {
            let keys = list("classes")?.ok_or_else(|| {
                format_err!("expected keys and values (or classes_strings), found neither")
            })?;
            let positions: Vec<i64> = (0i64..).take(keys.len()).collect();
            (keys, tensor1(&positions))
        }
    };
    ensure!(
        keys.len() == values.len(),
        "expected as many values as keys, found {} keys and {} values",
        keys.len(),
        values.len()
    );
    let default = match given("default_tensor")? {
        Some(default) => default,
        None => match values.datum_type() {
            DatumType::String => tensor1(&[node
                .get_attr_opt::<String>("default_string")?
                .unwrap_or_else(|| "_Unused".to_owned())]),
            DatumType::I64 => tensor1(&[node.get_attr_opt::<i64>("default_int64")?.unwrap_or(-1)]),
            _ => tensor1(&[node.get_attr_opt::<f32>("default_float")?.unwrap_or(-0.0)]),
        },
    };
    let default = default.cast_to_dt(values.datum_type())?.into_owned();
    ensure!(default.len() == 1, "expected one default value, found {}", default.len());
    host(LabelEncoder { positions: Positions::of(&keys)?, values, default }, 1)
}

impl Kernel for LabelEncoder {
    fn name(&self) -> &'static str {
        "LabelEncoder"
    }

    fn infer(&self, inputs: &[ValueType]) -> TractResult<Vec<ValueType>> {
        Ok(vec![(self.values.datum_type(), inputs[0].1.clone())])
    }

    fn eval(&self, inputs: &[&Tensor]) -> TractResult<Vec<Tensor>> {
        let positions = self.positions.find(inputs[0])?;
        let shape = inputs[0].shape();
        Ok(vec![match self.values.datum_type() {
            DatumType::String => self.look_up::<String>(shape, &positions)?,
            DatumType::I64 => self.look_up::<i64>(shape, &positions)?,
            DatumType::I32 => self.look_up::<i32>(shape, &positions)?,
            DatumType::I16 => self.look_up::<i16>(shape, &positions)?,
            DatumType::F64 => self.look_up::<f64>(shape, &positions)?,
            DatumType::F32 => self.look_up::<f32>(shape, &positions)?,
            other => bail!("expected string, integer or float values, found {other:?}"),
        }])
    }
}

impl LabelEncoder {
    fn look_up<T: Datum>(
        &self,
        shape: &[usize],
        positions: &[Option<usize>],
    ) -> TractResult<Tensor> {
        let known = values::<T>(&self.values)?;
        let default = &values::<T>(&self.default)?[0];
        let found = positions
            .iter()
            .map(|position| position.map_or(default, |position| &known[position]).clone())
            .collect();
        tensor(shape, found)
    }
}
