//! `RANKING_CONFIG`: which items are ranked for each customer, and how many are kept.

use cameo_domain::{ColumnName, DataType, PredictionSchema, RANK_COLUMN};
use serde::{Deserialize, Serialize};

use crate::{
    code::Code,
    config::PredictionConfig,
    diagnostic::{Located, Span},
    reader::{Key, Reader, Section, optional, required},
};

/// Most items that are kept for each customer.
pub(crate) const TOP_N_MAX: u32 = 1_000;

/// The keys of `RANKING_CONFIG`.
pub(crate) const KEYS: &[Key] = &[
    required("ITEM_SQL_PATH", "ITEM_SQL_PATH: items.sql"),
    required("ITEM_KEY", "ITEM_KEY: offer_id"),
    required("TOP_N", "TOP_N: 10"),
    optional("SCORE"),
];

/// What is ranked for each customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RankingConfig {
    /// The query of the items, inside the bundle.
    pub item_sql_path: Located<String>,
    /// The column of that query that names an item.
    pub item_key: Located<ColumnName>,
    /// How many items are kept for each customer.
    pub top_n: Located<u32>,
    /// The model's output column that ranks; the last one of floats where it is left out.
    pub score: Option<Located<String>>,
}

/// What a release keeps of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RankingSettings {
    /// The query of the items.
    pub item_sql: String,
    /// The column that names an item.
    pub item_key: ColumnName,
    /// How many items are kept for each customer.
    pub top_n: u32,
    /// The model's output column that ranks; the last one of floats where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<String>,
}

pub(crate) fn read(reader: &mut Reader<'_>, section: &Section<'_>) -> Option<RankingConfig> {
    let path =
        section.get("ITEM_SQL_PATH").and_then(|node| reader.filled_text(node, "ITEM_SQL_PATH"));
    let key = section.get("ITEM_KEY").and_then(|node| reader.parsed(node, Code::ColumnNameInvalid));
    let top_n = section.get("TOP_N").and_then(|node| {
        let value = reader.integer(node, "TOP_N", 1..=TOP_N_MAX)?;
        Some(Located { value, span: node.span })
    });
    let score = section.get("SCORE").and_then(|node| reader.filled_text(node, "SCORE"));
    Some(RankingConfig { item_sql_path: path?, item_key: key?, top_n: top_n?, score })
}

/// Makes the predictions those of a service that ranks: the second is `rank`, and one is the item.
pub(crate) fn apply(
    reader: &mut Reader<'_>,
    ranking: &RankingConfig,
    preprocess: Option<Span>,
    prediction: &mut PredictionConfig,
) {
    if let Some(span) = preprocess {
        let problem = reader
            .problem(
                Code::RankingWithPreprocess,
                span,
                "a service that ranks has no separate preprocess model",
            )
            .help("merge both into one model (`onnx.compose.merge_models`)");
        reader.report(problem);
    }
    item_key(reader, ranking, prediction);
    if let Some(rank) = prediction.sensitive.iter().find(|name| name.value.as_str() == RANK_COLUMN)
    {
        let problem = reader
            .problem(
                Code::SensitiveInvalid,
                rank.span,
                "the rank tells rows apart and is not sealed",
            )
            .expected("names of other predictions");
        reader.report(problem);
    }
    let second = prediction.names.get(1).zip(prediction.types.get(1));
    let is_rank = second.is_some_and(|(name, kind)| {
        name.value.as_str() == RANK_COLUMN && kind.value == DataType::Int
    });
    if is_rank {
        let ranked: Option<PredictionSchema> =
            prediction.schema.clone().ranked(ranking.top_n.value).ok();
        prediction.schema = ranked.unwrap_or_else(|| prediction.schema.clone());
        return;
    }
    let span = second.map_or(ranking.top_n.span, |(name, _)| name.span);
    let found = second.map_or_else(
        || "nothing".to_owned(),
        |(name, kind)| format!("`{}` of type {}", name.value, kind.value),
    );
    let problem = reader
        .problem(Code::RankMissing, span, format!("the second prediction name is {found}"))
        .expected("`rank` of type INT: it tells the rows of a customer apart");
    reader.report(problem);
}

fn item_key(reader: &mut Reader<'_>, ranking: &RankingConfig, prediction: &PredictionConfig) {
    let wanted = &ranking.item_key;
    let found =
        prediction.columns().enumerate().skip(1).find(|(_, (column, _))| {
            column.name.as_str().eq_ignore_ascii_case(wanted.value.as_str())
        });
    let problem = match found {
        None => reader
            .problem(
                Code::ItemKeyNotPredicted,
                wanted.span,
                format!("`{}` is not among PREDICTION_NAMES", wanted.value),
            )
            .help(format!("add `{}` after `rank`, with its type INT or STRING", wanted.value)),
        Some((at, (column, _))) if !column.data_type.is_key() => {
            let span = prediction.types.get(at).map_or(wanted.span, |kind| kind.span);
            let message = format!("the item key has type {}", column.data_type);
            reader.problem(Code::KeyTypeInvalid, span, message).expected("INT or STRING")
        }
        Some(_) => return,
    };
    reader.report(problem);
}
