//! A model that ranks, wherever it works.

use std::sync::Arc;

use arrow::{
    array::RecordBatch,
    datatypes::{Schema, SchemaRef},
};
use cameo_scoring::{
    ScoringLimits,
    rank::{self, RankOptions, Ranked},
};

use crate::{
    Fault, Host,
    host::unasked,
    message::{Answer, Request, from_words},
    object::{Object, encoded, encoded_schema, only, schema_of},
    scorer::next_object,
};

/// A [`cameo_scoring::rank::Ranking`] in a host.
#[derive(Debug)]
pub struct Ranking {
    at: AtRanking,
    input_columns: Vec<String>,
    description: String,
    outputs: SchemaRef,
    top_n: usize,
}

#[derive(Debug)]
enum AtRanking {
    Here(Arc<rank::Ranking>),
    Apart(Object),
}

impl Ranking {
    /// As [`cameo_scoring::rank::Ranking::load`], under the default limits.
    ///
    /// # Errors
    /// See [`Fault`].
    pub fn load(
        host: &Host,
        model: &[u8],
        customers: &Schema,
        items: &Schema,
        options: &RankOptions,
    ) -> Result<Self, Fault> {
        let top_n = options.top_n;
        let Some(process) = &host.process else {
            let limits = ScoringLimits::default();
            let ranking = rank::Ranking::load(model, customers, items, options, &limits)
                .map_err(|error| Fault::of_model(&error))?;
            return Ok(Self {
                input_columns: ranking.input_columns(),
                description: ranking.describe(),
                outputs: ranking.output_schema(),
                top_n,
                at: AtRanking::Here(Arc::new(ranking)),
            });
        };
        let number = next_object();
        let request = Request::LoadRanking { object: number, options: options.clone() };
        let (customers, items) = (encoded_schema(customers)?, encoded_schema(items)?);
        match process.ask(&request, &[&customers, &items, model])? {
            (Answer::Ranking { input_columns, description }, parts) => {
                let outputs = schema_of(process, parts)?;
                let at = AtRanking::Apart(Object { process: Arc::clone(process), number });
                Ok(Self { at, input_columns, description, outputs, top_n })
            }
            (other, _) => Err(unasked(process, &other)),
        }
    }

    /// Columns of the rows of [`Ranked`].
    #[must_use]
    pub fn output_schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.outputs)
    }

    /// Names of the columns that the model reads, the customers' first.
    #[must_use]
    pub fn input_columns(&self) -> Vec<String> {
        self.input_columns.clone()
    }

    /// Rows per customer at most.
    #[must_use]
    pub fn top_n(&self) -> usize {
        self.top_n
    }

    /// By what items are ranked, in words.
    #[must_use]
    pub fn describe(&self) -> &str {
        &self.description
    }

    /// Evaluates what depends on the items alone, as [`cameo_scoring::rank::Ranking::over`].
    ///
    /// # Errors
    /// See [`Fault`].
    pub fn over(&self, items: &RecordBatch) -> Result<Ranker, Fault> {
        let object = match &self.at {
            AtRanking::Here(ranking) => {
                let ranker = ranking.over(items).map_err(|error| Fault::of_model(&error))?;
                return Ok(Ranker(AtRanker::Here(Box::new(ranker))));
            }
            AtRanking::Apart(object) => object,
        };
        let number = next_object();
        let request = Request::Over { object: number, ranking: object.number };
        match object.process.ask(&request, &[&encoded(items)?])? {
            (Answer::Ranker, _) => Ok(Ranker(AtRanker::Apart {
                object: Object { process: Arc::clone(&object.process), number },
                input_columns: self.input_columns.clone(),
                outputs: SchemaRef::clone(&self.outputs),
                top_n: self.top_n,
            })),
            (other, _) => Err(object.unasked(&other)),
        }
    }
}

/// A [`cameo_scoring::rank::Ranker`] in a host.
#[derive(Debug)]
pub struct Ranker(AtRanker);

#[derive(Debug)]
enum AtRanker {
    Here(Box<rank::Ranker>),
    Apart { object: Object, input_columns: Vec<String>, outputs: SchemaRef, top_n: usize },
}

impl Ranker {
    /// Ranks the items for each customer of a batch, as [`cameo_scoring::rank::Ranker::rank`]. Share one ranker
    /// between all threads.
    ///
    /// # Errors
    /// See [`Fault`].
    pub fn rank(&self, customers: &RecordBatch) -> Result<Ranked, Fault> {
        let (object, input_columns, outputs, top_n) = match &self.0 {
            AtRanker::Here(ranker) => {
                return ranker.rank(customers).map_err(|error| Fault::of_model(&error));
            }
            AtRanker::Apart { object, input_columns, outputs, top_n } => {
                (object, input_columns, outputs, *top_n)
            }
        };
        // No name is on both sides, so what a batch of customers has of them is the customers'.
        let schema = customers.schema_ref();
        let own = input_columns.iter().filter(|name| schema.index_of(name).is_ok());
        let own: Vec<String> = own.cloned().collect();
        let request = Request::Rank { ranker: object.number };
        let (answer, rows, rest) = object.ask(&request, &only(customers, &own)?, outputs)?;
        let Answer::Ranked { rejected } = answer else { return Err(object.unasked(&answer)) };
        object.check(&rejected, customers.num_rows())?;
        let of = rest.first().map(Vec::as_slice).unwrap_or_default();
        let of = from_words(of, u32::from_le_bytes).map_err(|error| object.unsound(error))?;
        let ascending = of.windows(2).all(|pair| pair[0] <= pair[1]);
        let in_range = of.last().is_none_or(|last| (*last as usize) < customers.num_rows());
        let few = of.chunk_by(|a, b| a == b).all(|rows| rows.len() <= top_n);
        if of.len() != rows.num_rows() || !ascending || !in_range || !few {
            return Err(object.unsound("its rows do not belong to the customers of the batch"));
        }
        Ok(Ranked { customers: of, rows, rejected })
    }
}
