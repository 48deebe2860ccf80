//! Operators of two values that tract lets panic or computes otherwise than ONNX Runtime.

use tract_onnx::tract_hir::internal::{
    Datum, DatumType, TDim, Tensor, TractResult, bail, ensure, format_err,
};

use super::kernel::{Kernel, ValueType, tensor};

/// What is computed of two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pair {
    /// The larger float; NaN when either is.
    Largest,
    /// The smaller float; NaN when either is.
    Smallest,
    /// Integer quotient towards 0; a divisor of 0 is an error, not a panic.
    Quotient,
    /// Integer remainder with the sign of the dividend; a divisor of 0 is an error.
    Remainder,
    Product,
    /// Integer power; a negative exponent gives 0 beside bases of 1 and -1.
    Power,
    /// Whether two truth values or strings are equal.
    Equal,
}

impl Pair {
    /// The rule for an operator of tract over values of a type, where tract's own will not do.
    pub(super) fn instead_of(operator: &str, kind: DatumType) -> Option<Self> {
        let float = matches!(kind, DatumType::F32 | DatumType::F64);
        let integer = matches!(kind, DatumType::I32 | DatumType::I64);
        Some(match operator {
            "Max" if float => Self::Largest,
            "Min" if float => Self::Smallest,
            "Div" if integer => Self::Quotient,
            "Rem" if integer => Self::Remainder,
            "Mul" if integer => Self::Product,
            "Pow" if integer => Self::Power,
            "Eq" if kind == DatumType::Bool => Self::Equal,
            _ => return None,
        })
    }
}

/// Integers that quotients and powers are computed of, without a panic.
trait Integer: Datum + Copy {
    fn quotient(self, divisor: Self) -> Option<Self>;
    fn remainder(self, divisor: Self) -> Option<Self>;
    fn product(self, factor: Self) -> Self;
    fn power(self, exponent: Self) -> Self;
}

macro_rules! integer {
    ($kind:ty) => {
        impl Integer for $kind {
            fn quotient(self, divisor: Self) -> Option<Self> {
                (divisor != 0).then(|| self.wrapping_div(divisor))
            }

            fn remainder(self, divisor: Self) -> Option<Self> {
                (divisor != 0).then(|| self.wrapping_rem(divisor))
            }

            fn product(self, factor: Self) -> Self {
                self.wrapping_mul(factor)
            }

            fn power(self, exponent: Self) -> Self {
                match (u32::try_from(exponent), self) {
                    (Ok(exponent), base) => base.wrapping_pow(exponent),
                    (Err(_), 1) => 1,
                    (Err(_), -1) if exponent % 2 == 0 => 1,
                    (Err(_), -1) => -1,
                    (Err(_), _) => 0,
                }
            }
        }
    };
}

integer!(i32);
integer!(i64);

impl Kernel for Pair {
    fn name(&self) -> &'static str {
        match self {
            Self::Largest => "Max",
            Self::Smallest => "Min",
            Self::Quotient => "Div",
            Self::Remainder => "Mod",
            Self::Product => "Mul",
            Self::Power => "Pow",
            Self::Equal => "Equal",
        }
    }

    fn infer(&self, inputs: &[ValueType]) -> TractResult<Vec<ValueType>> {
        let (left, right) = (&inputs[0], &inputs[1]);
        ensure!(
            left.1.len() == right.1.len(),
            "expected two values of one rank, found {:?} and {:?}",
            left.1,
            right.1
        );
        let shape: Vec<TDim> = left
            .1
            .iter()
            .zip(&right.1)
            .map(|(left, right)| if left.is_one() { right.clone() } else { left.clone() })
            .collect();
        let kind = if *self == Self::Equal { bool::datum_type() } else { left.0 };
        Ok(vec![(kind, shape)])
    }

    fn eval(&self, inputs: &[&Tensor]) -> TractResult<Vec<Tensor>> {
        let (left, right) = (inputs[0], inputs[1]);
        Ok(vec![match (self, left.datum_type()) {
            (Self::Largest, DatumType::F32) => {
                zip::<f32, _>(left, right, |a, b| Some(largest(a, b)))
            }
            (Self::Largest, DatumType::F64) => {
                zip::<f64, _>(left, right, |a, b| Some(largest(a, b)))
            }
            (Self::Smallest, DatumType::F32) => {
                zip::<f32, _>(left, right, |a, b| Some(-largest(-a, -b)))
            }
            (Self::Smallest, DatumType::F64) => {
                zip::<f64, _>(left, right, |a, b| Some(-largest(-a, -b)))
            }
            (Self::Product, DatumType::F32) => zip::<f32, _>(left, right, |a, b| Some(a * b)),
            (Self::Product, DatumType::F64) => zip::<f64, _>(left, right, |a, b| Some(a * b)),
            (Self::Equal, DatumType::Bool) => zip::<bool, _>(left, right, |a, b| Some(a == b)),
            (_, DatumType::I32) => self.integers::<i32>(left, right),
            (_, DatumType::I64) => self.integers::<i64>(left, right),
            (_, other) => bail!("no rule for values of type {other:?}"),
        }?])
    }
}

impl Pair {
    fn integers<T: Integer>(self, left: &Tensor, right: &Tensor) -> TractResult<Tensor> {
        match self {
            Self::Quotient => zip::<T, _>(left, right, T::quotient),
            Self::Remainder => zip::<T, _>(left, right, T::remainder),
            Self::Product => zip::<T, _>(left, right, |a, b| Some(a.product(b))),
            Self::Power => zip::<T, _>(left, right, |a, b| Some(a.power(b))),
            _ => bail!("no rule for integers"),
        }
    }
}

/// The larger of two floats, NaN when either is.
pub(super) fn largest<T: PartialOrd + Copy>(a: T, b: T) -> T {
    #[allow(clippy::eq_op, reason = "only NaN differs from itself")]
    if b > a || b != b { b } else { a }
}

/// Applies a function to each two values under the rules of broadcasting; `None` is a division by 0.
fn zip<T: Datum + Copy, U: Datum>(
    left: &Tensor,
    right: &Tensor,
    apply: impl Fn(T, T) -> Option<U>,
) -> TractResult<Tensor> {
    let zero = || format_err!("an integer is divided by 0; filter such rows in features.sql");
    let (a, b) = (left.to_plain_array_view::<T>()?, right.to_plain_array_view::<T>()?);
    if let (1, Some(b)) = (right.len(), b.first()) {
        let found: Option<Vec<U>> = a.iter().map(|a| apply(*a, *b)).collect();
        return tensor(left.shape(), found.ok_or_else(zero)?);
    }
    let shape: Vec<usize> = left
        .shape()
        .iter()
        .zip(right.shape())
        .map(|(left, right)| if *left == 1 { *right } else { *left })
        .collect();
    let fits = || format_err!("shapes {:?} and {:?} do not fit", left.shape(), right.shape());
    let (a, b) = (
        a.broadcast(shape.clone()).ok_or_else(fits)?,
        b.broadcast(shape.clone()).ok_or_else(fits)?,
    );
    let found: Option<Vec<U>> = a.iter().zip(b.iter()).map(|(a, b)| apply(*a, *b)).collect();
    tensor(&shape, found.ok_or_else(zero)?)
}

#[cfg(test)]
mod tests {
    use tract_onnx::tract_hir::internal::{Tensor, tensor2};

    use super::Pair;
    use crate::ops::kernel::{Kernel, values};

    fn of(pair: Pair, left: &Tensor, right: &Tensor) -> Result<Tensor, String> {
        pair.eval(&[left, right]).map(|mut found| found.remove(0)).map_err(|e| e.to_string())
    }

    #[test]
    fn a_larger_or_smaller_value_of_nan_is_nan_on_either_side() {
        let left = tensor2(&[[f32::NAN, 1.0, 2.0]]);
        let right = tensor2(&[[0.0f32], [f32::NAN]]);
        for pair in [Pair::Largest, Pair::Smallest] {
            let found = of(pair, &left, &right).expect("broadcasts");
            let nan: Vec<bool> =
                values::<f32>(&found).expect("floats").iter().map(|value| value.is_nan()).collect();
            assert_eq!(nan, [true, false, false, true, true, true], "{pair:?}");
        }
    }

    #[test]
    fn integers_never_panic() {
        let left = tensor2(&[[i64::MIN, 7, -7, 1, -1]]);
        for right in [0, -1, 2, i64::MIN, i64::MAX] {
            let right = tensor2(&[[right]]);
            for pair in [Pair::Quotient, Pair::Remainder, Pair::Product, Pair::Power] {
                let zero = values::<i64>(&right).expect("integers")[0] == 0
                    && matches!(pair, Pair::Quotient | Pair::Remainder);
                assert_eq!(of(pair, &left, &right).is_err(), zero, "{pair:?} {right:?}");
            }
        }
    }
}
