//! What a child has loaded, and its answers.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arrow::{array::RecordBatch, error::ArrowError};
use cameo_scoring::{
    NullDefaults, Scorer, ScoringLimits,
    explain::{ExplainOptions, Explainer},
    rank::{RankOptions, Ranker, Ranking},
};

use crate::{
    Explanation,
    message::{Answer, Request, decode, encode, encode_schema, words},
    scorer::load_options,
};

type Parts = Vec<Vec<u8>>;
/// An answer with its parts, or why there is none.
type Answered = Result<(Answer, Parts), String>;

/// What was loaded, by the number that the parent gave it.
pub(super) struct Objects {
    loaded: Mutex<HashMap<u64, Object>>,
    watch: Box<dyn Fn(&RecordBatch) + Send + Sync>,
}

#[derive(Clone)]
enum Object {
    Scorer(Arc<Scorer>),
    Explainer(Arc<Explainer>),
    Ranking(Arc<Ranking>),
    Ranker(Arc<Ranker>),
}

impl Objects {
    pub(super) fn new(watch: Box<dyn Fn(&RecordBatch) + Send + Sync>) -> Self {
        Self { loaded: Mutex::default(), watch }
    }

    pub(super) fn answer(&self, request: Request, parts: Parts) -> Answered {
        let mut parts = parts.into_iter();
        let mut part = || parts.next().ok_or_else(|| "the question lacks a part".to_owned());
        match request {
            Request::Inspect => {
                let signature = cameo_scoring::inspect(&part()?).map_err(said)?;
                Ok((Answer::Inspected(signature), Vec::new()))
            }
            Request::LoadScorer { object, null_defaults } => {
                let (features, model, first) = (part()?, part()?, parts.next());
                self.load_scorer(object, features, &model, first.as_deref(), &null_defaults)
            }
            Request::LoadExplainer { object, null_defaults, options } => {
                let (features, background, model) = (part()?, part()?, part()?);
                let first = parts.next();
                let batches = (batch(features)?, batch(background)?);
                let how = (&options, &null_defaults);
                self.load_explainer(object, batches, &model, first.as_deref(), how)
            }
            Request::LoadRanking { object, options } => {
                let (customers, items) = (batch(part()?)?, batch(part()?)?);
                self.load_ranking(object, (&customers, &items), &part()?, &options)
            }
            Request::Over { object, ranking } => {
                let Object::Ranking(ranking) = self.find(ranking)? else { return unknown() };
                let ranker = ranking.over(&batch(part()?)?).map_err(said)?;
                self.keep(object, Object::Ranker(Arc::new(ranker)));
                Ok((Answer::Ranker, Vec::new()))
            }
            Request::Score { scorer } => {
                let Object::Scorer(scorer) = self.find(scorer)? else { return unknown() };
                self.score(&scorer, &batch(part()?)?)
            }
            Request::Explain { explainer } => {
                let Object::Explainer(explainer) = self.find(explainer)? else { return unknown() };
                explain(&explainer, &batch(part()?)?)
            }
            Request::Rank { ranker } => {
                let Object::Ranker(ranker) = self.find(ranker)? else { return unknown() };
                rank(&ranker, &batch(part()?)?)
            }
            Request::Forget { object } => {
                self.loaded().remove(&object);
                Ok((Answer::Done, Vec::new()))
            }
        }
    }

    fn load_scorer(
        &self,
        object: u64,
        features: Vec<u8>,
        model: &[u8],
        first: Option<&[u8]>,
        null_defaults: &NullDefaults,
    ) -> Answered {
        let features = batch(features)?.schema();
        let options = load_options(null_defaults);
        let scorer = Scorer::load_with(model, first, &features, &options).map_err(said)?;
        let outputs = encode_schema(&scorer.output_schema()).map_err(broken)?;
        let answer = Answer::Scorer { input_columns: scorer.input_columns() };
        self.keep(object, Object::Scorer(Arc::new(scorer)));
        Ok((answer, vec![outputs]))
    }

    fn load_explainer(
        &self,
        object: u64,
        (features, background): (RecordBatch, RecordBatch),
        model: &[u8],
        first: Option<&[u8]>,
        (options, null_defaults): (&ExplainOptions, &NullDefaults),
    ) -> Answered {
        let load = load_options(null_defaults);
        let features = features.schema();
        let explainer = Explainer::load_with(model, first, &features, &background, options, &load)
            .map_err(said)?;
        let about = Explanation::of(&explainer);
        self.keep(object, Object::Explainer(Arc::new(explainer)));
        let answer = Answer::Explainer {
            method: about.method,
            description: about.description,
            unit: about.unit,
            output: about.output,
            base_value: about.base_value.to_bits(),
            columns: about.columns,
        };
        Ok((answer, Vec::new()))
    }

    fn load_ranking(
        &self,
        object: u64,
        (customers, items): (&RecordBatch, &RecordBatch),
        model: &[u8],
        options: &RankOptions,
    ) -> Answered {
        let limits = ScoringLimits::default();
        let (customers, items) = (customers.schema(), items.schema());
        let ranking = Ranking::load(model, &customers, &items, options, &limits).map_err(said)?;
        let outputs = encode_schema(&ranking.output_schema()).map_err(broken)?;
        let answer = Answer::Ranking {
            input_columns: ranking.input_columns(),
            description: ranking.describe(),
        };
        self.keep(object, Object::Ranking(Arc::new(ranking)));
        Ok((answer, vec![outputs]))
    }

    fn score(&self, scorer: &Scorer, features: &RecordBatch) -> Answered {
        (self.watch)(features);
        let scored = scorer.score(features).map_err(said)?;
        let outputs = encode(&scored.outputs).map_err(broken)?;
        Ok((Answer::Scored { rejected: scored.rejected }, vec![outputs]))
    }

    fn keep(&self, number: u64, object: Object) {
        self.loaded().insert(number, object);
    }

    fn find(&self, number: u64) -> Result<Object, String> {
        self.loaded().get(&number).cloned().ok_or_else(|| UNKNOWN.to_owned())
    }

    fn loaded(&self) -> MutexGuard<'_, HashMap<u64, Object>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn explain(explainer: &Explainer, features: &RecordBatch) -> Answered {
    let explained = explainer.explain(features).map_err(said)?;
    let mut parts = vec![encode(&explained.contributions).map_err(broken)?];
    parts.extend(explained.error.map(|errors| words(&errors, f32::to_le_bytes)));
    Ok((Answer::Explained { rejected: explained.rejected }, parts))
}

fn rank(ranker: &Ranker, customers: &RecordBatch) -> Answered {
    let ranked = ranker.rank(customers).map_err(said)?;
    let parts =
        vec![encode(&ranked.rows).map_err(broken)?, words(&ranked.customers, u32::to_le_bytes)];
    Ok((Answer::Ranked { rejected: ranked.rejected }, parts))
}

const UNKNOWN: &str = "the question is about something that is not loaded";

fn unknown() -> Answered {
    Err(UNKNOWN.to_owned())
}

fn batch(bytes: Vec<u8>) -> Result<RecordBatch, String> {
    decode(bytes).map_err(|error: io::Error| error.to_string())
}

fn said(error: impl std::error::Error) -> String {
    error.to_string()
}

#[expect(clippy::needless_pass_by_value, reason = "as `map_err` hands it over")]
fn broken(error: ArrowError) -> String {
    format!("the outputs do not form a batch: {error}")
}
