//! What parent and child say to each other.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
};

use arrow::{
    array::RecordBatch,
    buffer::Buffer,
    datatypes::{Schema, SchemaRef},
    error::ArrowError,
    ipc::{reader::StreamDecoder, writer::StreamWriter},
};
use cameo_scoring::{
    ModelSignature, NullDefaults, Rejected,
    explain::{ExplainOptions, Method, Unit},
    rank::RankOptions,
};
use serde::{Deserialize, Serialize};

use crate::wire::invalid;

/// What a child is to do. Models, schemas and batches are the parts of its frame, in the order given here.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Tell a model's signature: the model.
    Inspect,
    /// Load a scorer under a number: features, the model, the one before it.
    LoadScorer { object: u64, null_defaults: NullDefaults },
    /// Load an explainer: features, background, the model, the one before it.
    LoadExplainer { object: u64, null_defaults: NullDefaults, options: ExplainOptions },
    /// Take a model that ranks apart: customers, items, the model.
    LoadRanking { object: u64, options: RankOptions },
    /// Evaluate the items of a ranking: items.
    Over { object: u64, ranking: u64 },
    /// Score a batch: features.
    Score { scorer: u64 },
    /// Explain a batch: features.
    Explain { explainer: u64 },
    /// Rank the items for a batch of customers: customers.
    Rank { ranker: u64 },
    /// Give up what a number stands for.
    Forget { object: u64 },
}

impl Request {
    /// What the model is doing meanwhile, as the end of a sentence.
    pub(crate) fn doing(&self) -> &'static str {
        match self {
            Self::Inspect => "to be read",
            Self::LoadScorer { .. } | Self::LoadRanking { .. } => "to load",
            Self::LoadExplainer { .. } => "to get ready to be explained",
            Self::Over { .. } => "for the items",
            Self::Score { .. } => "for one batch",
            Self::Explain { .. } => "to have one batch explained",
            Self::Rank { .. } => "for one batch of customers",
            Self::Forget { .. } => "to be forgotten",
        }
    }
}

/// What a child says.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// It is confined and waits for work, under the number 0. Names what the system did not let it give up.
    Ready { kept: Vec<String> },
    /// A signature.
    Inspected(ModelSignature),
    /// A scorer: its outputs' schema.
    Scorer { input_columns: Vec<String> },
    /// An explainer.
    Explainer {
        method: Method,
        description: String,
        unit: Unit,
        output: String,
        /// Bits of a double: JSON has no word for one that is not finite.
        base_value: u64,
        columns: Vec<String>,
    },
    /// A ranking: its outputs' schema.
    Ranking { input_columns: Vec<String>, description: String },
    /// The items are evaluated.
    Ranker,
    /// Outputs.
    Scored { rejected: Vec<Rejected> },
    /// Contributions, and standard errors as floats where there are some.
    Explained { rejected: Vec<Rejected> },
    /// Rows, and the customer of each as integers.
    Ranked { rejected: Vec<Rejected> },
    /// The model is refused or failed.
    Refused(String),
    /// Nothing is to be told.
    Done,
}

/// A batch as bytes. An empty one carries its schema.
pub(crate) fn encode(batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let mut bytes = Vec::with_capacity(batch.get_array_memory_size().min(64 << 20) + 1_024);
    let mut writer = StreamWriter::try_new(&mut bytes, batch.schema_ref())?;
    writer.write(batch)?;
    writer.finish()?;
    drop(writer);
    Ok(bytes)
}

pub(crate) fn encode_schema(schema: &Schema) -> Result<Vec<u8>, ArrowError> {
    encode(&RecordBatch::new_empty(SchemaRef::new(schema.clone())))
}

/// The batch that [`encode`] wrote. Its columns are parts of `bytes`; that they are sound is checked.
pub(crate) fn decode(bytes: Vec<u8>) -> io::Result<RecordBatch> {
    let unsound = |error: ArrowError| invalid(format!("no Arrow batch: {error}"));
    let mut buffer = Buffer::from_vec(bytes);
    // Arrow refuses most of what is wrong, and panics where a buffer is said to lie beyond the end.
    catch_unwind(AssertUnwindSafe(|| StreamDecoder::new().decode(&mut buffer)))
        .map_err(|_| invalid("no Arrow batch: its parts lie beyond its end"))?
        .map_err(unsound)?
        .ok_or_else(|| invalid("expected a batch, found none"))
}

/// Values of four bytes as bytes.
pub(crate) fn words<T: Copy>(values: &[T], bytes: impl Fn(T) -> [u8; 4]) -> Vec<u8> {
    values.iter().flat_map(|value| bytes(*value)).collect()
}

/// The values that [`words`] wrote.
pub(crate) fn from_words<T>(bytes: &[u8], value: impl Fn([u8; 4]) -> T) -> io::Result<Vec<T>> {
    let (words, rest) = bytes.as_chunks::<4>();
    if rest.is_empty() {
        Ok(words.iter().map(|word| value(*word)).collect())
    } else {
        Err(invalid("expected values of four bytes"))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{ArrayRef, DictionaryArray, Float32Array, StringArray},
        datatypes::Int32Type,
    };

    use super::*;

    #[test]
    fn a_batch_reads_back_with_its_dictionaries_nulls_and_slices() {
        let words: DictionaryArray<Int32Type> = ["a", "b", "a", "c"].into_iter().collect();
        let columns: [(&str, ArrayRef); 3] = [
            ("word", Arc::new(words)),
            ("text", Arc::new(StringArray::from(vec![None, Some("x"), Some(""), None]))),
            ("number", Arc::new(Float32Array::from(vec![1.0, f32::NAN, -0.0, 4.0]))),
        ];
        let nullable = columns.map(|(name, column)| (name, column, true));
        let batch = RecordBatch::try_from_iter_with_nullable(nullable).expect("a batch");
        for part in [batch.clone(), batch.slice(1, 2), batch.slice(0, 0)] {
            let read = decode(encode(&part).expect("bytes")).expect("a batch");
            assert_eq!(format!("{read:?}"), format!("{part:?}"));
            assert_eq!(read.schema(), part.schema());
        }
    }

    #[test]
    fn bytes_that_are_no_batch_are_refused() {
        let sound = encode(&RecordBatch::new_empty(Arc::new(Schema::empty()))).expect("bytes");
        assert!(decode(Vec::new()).is_err());
        assert!(decode(sound[..sound.len() / 2].to_vec()).is_err());
        assert!(decode(vec![0xff; 64]).is_err());
        assert!(from_words(&[1, 2, 3], u32::from_le_bytes).is_err());
    }
}
