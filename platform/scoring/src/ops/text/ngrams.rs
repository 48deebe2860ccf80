//! `TfIdfVectorizer`: how often each phrase of a vocabulary occurs in a row of words or integers.

use std::collections::HashMap;
use std::hash::Hash;

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::{
    Datum, DatumType, Tensor, ToDim, TractResult, bail, ensure, format_err,
};

use crate::ops::kernel::{Built, Kernel, ValueType, host, integers, tensor, values};

/// Longest phrase and widest gap, so that a row's time stays bounded.
const GRAM_LENGTH_MAX: usize = 64;
/// Most columns of counts.
const COLUMNS_MAX: usize = 1024 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// How often.
    Frequency,
    /// The weight when it occurs at all.
    Weight,
    /// How often, times the weight.
    Both,
}

/// The phrases and the column that each counts in.
#[derive(Debug)]
enum Vocabulary {
    Words(HashMap<Vec<String>, usize>),
    Integers(HashMap<Vec<i64>, usize>),
}

#[derive(Debug)]
struct TfIdfVectorizer {
    vocabulary: Vocabulary,
    lengths: (usize, usize),
    skips_max: usize,
    mode: Mode,
    /// One per column.
    weights: Vec<f32>,
    columns: usize,
}

pub(crate) fn tf_idf_vectorizer(_: &ParsingContext, node: &NodeProto) -> Built {
    let bounded = |name: &str| -> TractResult<usize> {
        let found = node.get_attr::<i64>(name)?;
        usize::try_from(found).ok().filter(|found| *found <= GRAM_LENGTH_MAX).ok_or_else(|| {
            format_err!("expected {name} from 0 to {GRAM_LENGTH_MAX}, found {found}")
        })
    };
    let lengths = (bounded("min_gram_length")?, bounded("max_gram_length")?);
    ensure!(
        0 < lengths.0 && lengths.0 <= lengths.1,
        "expected 1 <= min_gram_length <= max_gram_length, found {lengths:?}"
    );
    let mode = match node.get_attr::<&str>("mode")? {
        "TF" => Mode::Frequency,
        "IDF" => Mode::Weight,
        "TFIDF" => Mode::Both,
        other => bail!("expected mode TF, IDF or TFIDF, found {other}"),
    };
    let counts: Vec<usize> = node.get_attr_vec("ngram_counts")?;
    let places: Vec<usize> = node.get_attr_vec("ngram_indexes")?;
    let columns = places.iter().max().map_or(0, |last| last.saturating_add(1));
    ensure!(
        (1..=COLUMNS_MAX).contains(&columns),
        "expected ngram_indexes from 0 to {}, found a largest index of {columns} or none",
        COLUMNS_MAX - 1
    );
    let strings = node.get_attr_opt_vec::<String>("pool_strings")?.unwrap_or_default();
    let vocabulary = if strings.is_empty() {
        let pool = node.get_attr_opt_vec::<i64>("pool_int64s")?.unwrap_or_default();
        Vocabulary::Integers(phrases(&pool, &counts, &places)?)
    } else {
        Vocabulary::Words(phrases(&strings, &counts, &places)?)
    };
    let listed = node.get_attr_opt_vec::<f32>("weights")?.unwrap_or_default();
    ensure!(
        listed.is_empty() || listed.len() == places.len(),
        "expected one weight per phrase ({}), found {}",
        places.len(),
        listed.len()
    );
    let mut weights = vec![1.0; columns];
    places.iter().zip(listed).for_each(|(column, weight)| weights[*column] = weight);
    let skips_max = bounded("max_skip_count")?;
    host(TfIdfVectorizer { vocabulary, lengths, skips_max, mode, weights, columns }, 1)
}

/// Cuts the pool into phrases of 1, 2, … words; `counts` says where each length starts.
fn phrases<T: Clone + Eq + Hash>(
    pool: &[T],
    counts: &[usize],
    places: &[usize],
) -> TractResult<HashMap<Vec<T>, usize>> {
    let mut found = HashMap::new();
    let mut places = places.iter();
    for (index, start) in counts.iter().enumerate() {
        let end = counts.get(index + 1).copied().unwrap_or(pool.len());
        let length = index + 1;
        ensure!(
            *start <= end && end <= pool.len() && (end - start).is_multiple_of(length),
            "expected ngram_counts to cut the pool of {} entries into whole phrases, found {counts:?}",
            pool.len()
        );
        for phrase in pool[*start..end].chunks_exact(length) {
            let place = places.next().ok_or_else(|| {
                format_err!("expected one of ngram_indexes per phrase, found too few")
            })?;
            found.insert(phrase.to_vec(), *place);
        }
    }
    ensure!(places.next().is_none(), "expected one of ngram_indexes per phrase, found too many");
    Ok(found)
}

impl TfIdfVectorizer {
    /// Adds what a row of `words` has of each phrase to `counts`.
    fn count<T: Clone + Eq + Hash>(
        &self,
        vocabulary: &HashMap<Vec<T>, usize>,
        words: &[T],
        counts: &mut [f32],
    ) {
        let mut phrase = Vec::with_capacity(self.lengths.1);
        for length in self.lengths.0..=self.lengths.1 {
            // A single word has no gap, so skips would count it again.
            let skips = if length == 1 { 0 } else { self.skips_max };
            for step in 1..=skips + 1 {
                let reach = (length - 1) * step;
                for start in 0..words.len().saturating_sub(reach) {
                    phrase.clear();
                    phrase.extend((0..length).map(|index| words[start + index * step].clone()));
                    if let Some(column) = vocabulary.get(&phrase) {
                        counts[*column] += 1.0;
                    }
                }
            }
        }
    }

    fn weigh(&self, counts: &mut [f32]) {
        for (count, weight) in counts.iter_mut().zip(&self.weights) {
            match self.mode {
                Mode::Weight if *count > 0.0 => *count = *weight,
                Mode::Frequency | Mode::Weight => {}
                Mode::Both => *count *= weight,
            }
        }
    }
}

impl Kernel for TfIdfVectorizer {
    fn name(&self) -> &'static str {
        "TfIdfVectorizer"
    }

    fn infer(&self, inputs: &[ValueType]) -> TractResult<Vec<ValueType>> {
        let mut shape = inputs[0].1.clone();
        ensure!(
            (1..=2).contains(&shape.len()),
            "expected one row or rows of words, found {} dimensions",
            shape.len()
        );
        shape.pop();
        shape.push(self.columns.to_dim());
        Ok(vec![(f32::datum_type(), shape)])
    }

    fn eval(&self, inputs: &[&Tensor]) -> TractResult<Vec<Tensor>> {
        let input = inputs[0];
        let width = input.shape().last().copied().unwrap_or(1);
        let rows: usize = input.shape()[..input.rank() - 1].iter().product();
        let mut counts = vec![0f32; rows * self.columns];
        let by_row = counts.chunks_exact_mut(self.columns).enumerate();
        match (&self.vocabulary, input.datum_type()) {
            (Vocabulary::Words(vocabulary), DatumType::String) => {
                let words = values::<String>(input)?;
                by_row.for_each(|(row, counts)| {
                    self.count(vocabulary, &words[row * width..(row + 1) * width], counts);
                });
            }
            (Vocabulary::Integers(vocabulary), kind) if kind != DatumType::String => {
                let words = integers(input)?;
                by_row.for_each(|(row, counts)| {
                    self.count(vocabulary, &words[row * width..(row + 1) * width], counts);
                });
            }
            (_, found) => bail!("its vocabulary is of another type than its input ({found:?})"),
        }
        counts.chunks_exact_mut(self.columns).for_each(|counts| self.weigh(counts));
        let mut shape = input.shape().to_vec();
        shape.pop();
        shape.push(self.columns);
        Ok(vec![tensor(&shape, counts)?])
    }
}
