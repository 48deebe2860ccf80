//! Columns as the tensors that a graph takes.

use std::borrow::Cow;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type};
use tract_onnx::tract_hir::internal::{
    Datum, IntoTValue, TValue, Tensor, TractResult, tract_ndarray,
};

use crate::columns::FloatColumn;
use crate::plan::datum_type;
use crate::signature::{Port, PortKind};

/// Rows of a column that are rounded at a time.
const BLOCK_ROWS: usize = 512;

/// A value in the type and shape of an input.
pub(crate) fn shaped(value: &TValue, port: &Port, rows: usize) -> TractResult<TValue> {
    let shape = if port.vector { vec![rows] } else { vec![rows, port.width.unwrap_or(1)] };
    if value.datum_type() == datum_type(port.kind) && value.shape() == shape {
        return Ok(value.clone());
    }
    let cast = value.cast_to_dt(datum_type(port.kind))?.into_owned();
    Ok(cast.into_shape(&shape)?.into_tvalue())
}

/// Builds the value of an input from its columns.
pub(crate) fn tensor(
    port: &Port,
    columns: &[ArrayRef],
    start: usize,
    count: usize,
) -> TractResult<Tensor> {
    let shape = if port.vector { vec![count] } else { vec![count, columns.len()] };
    let columns: Cow<'_, [ArrayRef]> =
        if start == 0 && columns.iter().all(|column| column.len() == count) {
            Cow::Borrowed(columns)
        } else {
            Cow::Owned(columns.iter().map(|column| column.slice(start, count)).collect())
        };
    Ok(match port.kind {
        PortKind::Float32 => {
            let mut values = vec![0f32; count * columns.len()];
            let mut block = [0f32; BLOCK_ROWS];
            let width = columns.len();
            for (index, column) in columns.iter().enumerate() {
                let column = FloatColumn::of(column)?;
                for from in (0..count).step_by(block.len()) {
                    let block = &mut block[..BLOCK_ROWS.min(count - from)];
                    column.fill(from, block);
                    let to = values[from * width + index..].iter_mut().step_by(width);
                    to.zip(&*block).for_each(|(to, value)| *to = *value);
                }
            }
            tract_ndarray::ArrayD::from_shape_vec(shape, values)?.into()
        }
        PortKind::Float64 => interleave(&shape, &columns, |column, row| {
            if column.is_null(row) {
                f64::NAN
            } else {
                column.as_primitive::<Float64Type>().value(row)
            }
        })?,
        PortKind::Int64 => interleave(&shape, &columns, |column, row| {
            column.as_primitive::<Int64Type>().value(row)
        })?,
        PortKind::Int32 => interleave(&shape, &columns, |column, row| {
            column.as_primitive::<Int32Type>().value(row)
        })?,
        PortKind::Bool => {
            interleave(&shape, &columns, |column, row| column.as_boolean().value(row))?
        }
        PortKind::String => interleave(&shape, &columns, |column, row| {
            column.as_string::<i32>().value(row).to_owned()
        })?,
    })
}

fn interleave<T: Datum>(
    shape: &[usize],
    columns: &[ArrayRef],
    value: impl Fn(&ArrayRef, usize) -> T,
) -> TractResult<Tensor> {
    let mut values = Vec::with_capacity(shape.iter().product());
    for row in 0..shape[0] {
        values.extend(columns.iter().map(|column| value(column, row)));
    }
    Ok(tract_ndarray::ArrayD::from_shape_vec(shape.to_vec(), values)?.into())
}
