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
    /// The same for 64 bits.
    Doubles(HashMap<u64, usize>),
}

impl Positions {
    /// The last position wins when a key is repeated.
    fn last_of(keys: &Tensor) -> TractResult<Self> {
        Ok(match keys.datum_type() {
            DatumType::String => {
                Self::Strings(values::<String>(keys)?.iter().cloned().zip(0..).collect())
            }
            _ => Self::Integers(integers(keys)?.into_iter().zip(0..).collect()),
        })
    }

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
            DatumType::F64 => {
                Self::Doubles(index(values::<f64>(keys)?.iter().map(|key| double_key(*key))))
            }
            DatumType::F32 => Self::Floats(index(floats(keys)?.iter().map(|key| float_key(*key)))),
            _ => Self::Integers(index(integers(keys)?.into_iter())),
        })
    }

    fn find(&self, input: &Tensor) -> TractResult<Vec<Option<usize>>> {
        Ok(match self {
            Self::Strings(positions) => {
                values::<String>(input)?.iter().map(|key| positions.get(key).copied()).collect()
            }
            // A float without an integer is no category.
            Self::Integers(positions) if input.datum_type().is_float() => {
                let input = input.cast_to::<f64>()?;
                let keys = values::<f64>(&input)?.iter().map(|key| whole(*key));
                keys.map(|key| positions.get(&key?).copied()).collect()
            }
            Self::Integers(positions) => {
                integers(input)?.iter().map(|key| positions.get(key).copied()).collect()
            }
            Self::Floats(positions) => {
                floats(input)?.iter().map(|key| positions.get(&float_key(*key)).copied()).collect()
            }
            Self::Doubles(positions) => {
                let input = input.cast_to::<f64>()?;
                let keys = values::<f64>(&input)?.iter();
                keys.map(|key| positions.get(&double_key(*key)).copied()).collect()
            }
        })
    }

    /// Leaves NaN out of the keys, as versions of `LabelEncoder` before 4 do.
    fn without_nan(mut self) -> Self {
        if let Self::Floats(positions) = &mut self {
            positions.remove(&float_key(f32::NAN));
        }
        self
    }

    /// Whether values of a type can be looked up.
    fn accept(&self, kind: DatumType) -> TractResult<()> {
        let text = matches!(self, Self::Strings(_));
        ensure!(
            text == (kind == DatumType::String),
            "its keys are {} and its input is {kind:?}",
            if text { "strings" } else { "numbers" }
        );
        ensure!(
            !(matches!(self, Self::Integers(_)) && kind.is_float()),
            "its keys are integers and its input is {kind:?}; cast the input to integers"
        );
        Ok(())
    }
}

/// A float cut to an integer; `None` for NaN and what is out of range.
fn whole(key: f64) -> Option<i64> {
    /// 2 to the power of 63, the first float that is no 64-bit integer.
    const END: f64 = 9_223_372_036_854_775_808.0;
    #[allow(clippy::cast_possible_truncation, reason = "in range, and cut as ONNX Runtime does")]
    (-END..END).contains(&key).then_some(key as i64)
}

fn double_key(key: f64) -> u64 {
    if key.is_nan() { f64::NAN.to_bits() } else { (key + 0.0).to_bits() }
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
    name: &'static str,
    positions: Positions,
    values: Tensor,
    default: Tensor,
}

pub(super) fn label_encoder(context: &ParsingContext, node: &NodeProto) -> Built {
    let imports = context.model.opset_import.iter();
    let version = imports
        .filter(|import| import.domain == "ai.onnx.ml")
        .map(|import| import.version)
        .max()
        .unwrap_or(1);
    if let Some(classes) = node.get_attr_opt_vec::<String>("classes_strings")? {
        return by_position(node, &classes);
    }
    let (keys, values) = (listed(context, node, "keys")?, listed(context, node, "values")?);
    ensure!(
        keys.len() == values.len(),
        "expected as many values as keys, found {} keys and {} values",
        keys.len(),
        values.len()
    );
    let default = match tensor_attribute(context, node, "default_tensor")? {
        Some(default) => default,
        None => match values.datum_type() {
            DatumType::String => tensor1(&[default_string(node)?]),
            DatumType::F32 | DatumType::F64 => {
                tensor1(&[node.get_attr_opt::<f32>("default_float")?.unwrap_or(-0.0)])
            }
            _ => tensor1(&[default_integer(node)?]),
        },
    };
    ensure!(
        (default.datum_type() == DatumType::String) == (values.datum_type() == DatumType::String),
        "expected a default of the type of the values ({:?}), found {:?}",
        values.datum_type(),
        default.datum_type()
    );
    let default = default.cast_to_dt(values.datum_type())?.into_owned();
    ensure!(default.len() == 1, "expected one default value, found {}", default.len());
    let positions = Positions::of(&keys)?;
    // A NaN among the keys stands for every NaN since version 4; before, it is never found.
    let positions = if version < 4 { positions.without_nan() } else { positions };
    host(LabelEncoder { name: "LabelEncoder", positions, values, default }, 1)
}

/// Version 1 lists classes only: strings become their positions, integers the classes at them.
fn by_position(node: &NodeProto, classes: &[String]) -> Built {
    let positions: Vec<i64> = (0i64..).take(classes.len()).collect();
    either_way(node, "LabelEncoder", classes, &positions)
}

/// Strings to integers and integers to strings, whichever the input has.
pub(super) fn category_mapper(_: &ParsingContext, node: &NodeProto) -> Built {
    let strings: Vec<String> = node.get_attr_opt_vec("cats_strings")?.unwrap_or_default();
    let integers: Vec<i64> = node.get_attr_opt_vec("cats_int64s")?.unwrap_or_default();
    ensure!(
        strings.len() == integers.len() && !strings.is_empty(),
        "expected as many cats_strings as cats_int64s and at least one, found {} and {}",
        strings.len(),
        integers.len()
    );
    either_way(node, "CategoryMapper", &strings, &integers)
}

fn either_way(node: &NodeProto, name: &'static str, strings: &[String], integers: &[i64]) -> Built {
    let (strings, integers) = (tensor1(strings), tensor1(integers));
    // The last of equal keys counts here, in contrast to keys and values that are listed.
    let to_integers = LabelEncoder {
        name,
        positions: Positions::last_of(&strings)?,
        values: integers.clone(),
        default: tensor1(&[default_integer(node)?]),
    };
    let to_strings = LabelEncoder {
        name,
        positions: Positions::last_of(&integers)?,
        values: strings,
        default: tensor1(&[default_string(node)?]),
    };
    host(EitherWay { to_integers, to_strings }, 1)
}

/// Two maps, of which the type of the input chooses one.
#[derive(Debug)]
struct EitherWay {
    to_integers: LabelEncoder,
    to_strings: LabelEncoder,
}

impl EitherWay {
    fn of(&self, kind: DatumType) -> &LabelEncoder {
        if kind == DatumType::String { &self.to_integers } else { &self.to_strings }
    }
}

impl Kernel for EitherWay {
    fn name(&self) -> &'static str {
        self.to_integers.name
    }

    fn infer(&self, inputs: &[ValueType]) -> TractResult<Vec<ValueType>> {
        self.of(inputs[0].0).infer(inputs)
    }

    fn eval(&self, inputs: &[&Tensor]) -> TractResult<Vec<Tensor>> {
        self.of(inputs[0].datum_type()).eval(inputs)
    }
}

fn default_string(node: &NodeProto) -> TractResult<String> {
    Ok(node.get_attr_opt::<String>("default_string")?.unwrap_or_else(|| "_Unused".to_owned()))
}

fn default_integer(node: &NodeProto) -> TractResult<i64> {
    Ok(node.get_attr_opt::<i64>("default_int64")?.unwrap_or(-1))
}

fn tensor_attribute(
    context: &ParsingContext,
    node: &NodeProto,
    name: &str,
) -> TractResult<Option<Tensor>> {
    node.get_attr_opt::<&TensorProto>(name)?.map(|proto| context.load_tensor(proto)).transpose()
}

/// The keys or the values, in whichever attribute they are.
fn listed(context: &ParsingContext, node: &NodeProto, prefix: &str) -> TractResult<Tensor> {
    if let Some(strings) = node.get_attr_opt_vec::<String>(&format!("{prefix}_strings"))? {
        return Ok(tensor1(&strings));
    }
    if let Some(integers) = node.get_attr_opt_vec::<i64>(&format!("{prefix}_int64s"))? {
        return Ok(tensor1(&integers));
    }
    if let Some(floats) = node.get_attr_opt_vec::<f32>(&format!("{prefix}_floats"))? {
        return Ok(tensor1(&floats));
    }
    tensor_attribute(context, node, &format!("{prefix}_tensor"))?.ok_or_else(|| {
        format_err!(
            "expected {prefix}_strings, {prefix}_int64s, {prefix}_floats or {prefix}_tensor, found none"
        )
    })
}

impl Kernel for LabelEncoder {
    fn name(&self) -> &'static str {
        self.name
    }

    fn infer(&self, inputs: &[ValueType]) -> TractResult<Vec<ValueType>> {
        self.positions.accept(inputs[0].0)?;
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
