//! What the author says about the service, by option or asked on a terminal.

use std::{
    fmt,
    io::{BufRead, IsTerminal, Read, Write},
    str::FromStr,
};

use anyhow::{Context, bail};
use cameo_domain::{ColumnName, DataType, Schedule};

use crate::cli::New;

/// The key where nobody names one.
const KEY: &str = "customer_id:INT";
/// When predictions are due where nobody says: each night, when shops sleep.
const SCHEDULE: &str = "0 4 * * *";
const TIMEZONE: &str = "UTC";
/// How often a question is put again after an answer that is none.
const TRIES: usize = 3;
/// Longest answer, in bytes.
const ANSWER_BYTES_MAX: u64 = 1_000;

/// Who is scored: the column and its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) name: ColumnName,
    pub(crate) data_type: DataType,
}

impl Key {
    /// Its type in a query.
    pub(super) fn sql_type(&self) -> &'static str {
        if self.data_type == DataType::Int { "INT64" } else { "STRING" }
    }
}

impl FromStr for Key {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (name, data_type) = text.split_once(':').unwrap_or((text, "INT"));
        let data_type: DataType = data_type.trim().to_ascii_uppercase().parse()?;
        if !data_type.is_key() {
            bail!("expected INT or STRING as the type of a key, found {data_type}");
        }
        Ok(Self { name: name.trim().parse()?, data_type })
    }
}

/// A table of the Lake, as `dataset.table`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    dataset: ColumnName,
    table: ColumnName,
}

impl FromStr for Table {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let named = text.trim().split_once('.').and_then(|(dataset, table)| {
            Some(Self { dataset: dataset.parse().ok()?, table: table.parse().ok()? })
        });
        named.with_context(|| format!("expected dataset.table, found `{text}`"))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |name: &ColumnName| super::sql::quoted(name.as_str());
        write!(f, "{}.{}", quoted(&self.dataset), quoted(&self.table))
    }
}

/// Everything that the model itself does not tell.
#[derive(Debug)]
pub(super) struct Answers {
    pub(super) key: Key,
    pub(super) table: Option<Table>,
    pub(super) schedule: Schedule,
    pub(super) owner: String,
}

impl Answers {
    /// The options, and on a terminal the answers to what no option says.
    pub(super) fn collect(wanted: &New, owner: &str) -> anyhow::Result<Self> {
        // Prompts go to standard error, so that the result can still be piped.
        let (input, prompts) = (std::io::stdin(), std::io::stderr());
        if input.is_terminal() && prompts.is_terminal() {
            Self::ask(wanted, owner, &mut Questions { input: input.lock(), prompts })
        } else {
            Self::ask(
                wanted,
                owner,
                &mut Questions { input: std::io::empty(), prompts: std::io::sink() },
            )
        }
    }

    fn ask(
        wanted: &New,
        owner: &str,
        questions: &mut Questions<impl BufRead, impl Write>,
    ) -> anyhow::Result<Self> {
        let key = match &wanted.key {
            Some(key) => key.clone(),
            None => questions.ask("Key column and type", KEY, str::parse)?,
        };
        let table = match &wanted.table {
            Some(table) => Some(table.clone()),
            None => questions.ask("Table with the features, as dataset.table", "", |text| {
                if text.is_empty() { Ok(None) } else { text.parse().map(Some) }
            })?,
        };
        let timezone = match &wanted.timezone {
            Some(timezone) => timezone.clone(),
            None => questions.ask("Time zone", TIMEZONE, |zone| {
                Schedule::parse(SCHEDULE, zone)?;
                Ok(zone.to_owned())
            })?,
        };
        let schedule = match &wanted.schedule {
            Some(pattern) => Schedule::parse(pattern, &timezone)?,
            None => questions.ask("Schedule, as cron", SCHEDULE, |pattern| {
                Ok(Schedule::parse(pattern, &timezone)?)
            })?,
        };
        let owner = match &wanted.owner {
            Some(owner) => owner.clone(),
            None => questions.ask("Owner", owner, |owner| Ok(owner.to_owned()))?,
        };
        Ok(Self { key, table, schedule, owner })
    }
}

/// Questions and where their answers come from. An input that has ended gives every default.
struct Questions<R, W> {
    input: R,
    prompts: W,
}

impl<R: BufRead, W: Write> Questions<R, W> {
    fn ask<T>(
        &mut self,
        question: &str,
        default: &str,
        read: impl Fn(&str) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        for attempt in 1.. {
            let shown = if default.is_empty() { "none yet" } else { default };
            write!(self.prompts, "{question} [{shown}]: ").and_then(|()| self.prompts.flush())?;
            let mut answer = String::new();
            self.input
                .by_ref()
                .take(ANSWER_BYTES_MAX)
                .read_line(&mut answer)
                .context("could not read the answer")?;
            let answer = answer.trim();
            match read(if answer.is_empty() { default } else { answer }) {
                Ok(value) => return Ok(value),
                Err(error) if attempt >= TRIES => return Err(error),
                Err(error) => writeln!(self.prompts, "{error}")?,
            }
        }
        bail!("the question `{question}` was not answered")
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn options(more: &[&str]) -> New {
        let arguments = [&["cameo", "new", "crm/churn", "--model", "m.onnx"], more].concat();
        match Cli::try_parse_from(arguments).expect("sound options").command {
            Command::New(new) => new,
            other => panic!("{other:?}"),
        }
    }

    fn answered(more: &[&str], typed: &str) -> (anyhow::Result<Answers>, String) {
        let mut prompts = Vec::new();
        let mut questions = Questions { input: typed.as_bytes(), prompts: &mut prompts };
        let answers = Answers::ask(&options(more), "crm@example.com", &mut questions);
        (answers, String::from_utf8(prompts).expect("text"))
    }

    #[test]
    fn an_empty_answer_is_the_default_that_the_question_shows() {
        let (answers, prompts) = answered(&[], "\n\n\n\n\n");
        let answers = answers.expect("defaults are sound");
        assert_eq!(answers.key, KEY.parse().expect("a key"));
        assert_eq!(answers.table, None);
        assert_eq!(answers.owner, "crm@example.com");
        assert!(prompts.contains("Key column and type [customer_id:INT]: "), "{prompts}");
        assert!(prompts.contains("as dataset.table [none yet]: "), "{prompts}");
    }

    #[test]
    fn what_an_option_says_is_not_asked() {
        let all = ["--key", "email:string", "--table", "crm.customers", "--timezone", "Asia/Tokyo"];
        let (answers, prompts) =
            answered(&[&all[..], &["--schedule", "5 4 * * *", "--owner", "me"]].concat(), "");
        let answers = answers.expect("sound options");
        assert_eq!(prompts, "");
        assert_eq!(answers.key.data_type, DataType::String);
        assert_eq!(answers.table.expect("a table").to_string(), "crm.customers");
        assert_eq!(answers.schedule.zone().name(), "Asia/Tokyo");
    }

    #[test]
    fn a_wrong_answer_is_explained_and_asked_again_three_times() {
        let (answers, prompts) = answered(&[], "id:DATE\nuser_id:STRING\n\nMars/Base\nUTC\n\n\n");
        assert_eq!(answers.expect("corrected").key.name.as_str(), "user_id");
        assert!(prompts.contains("expected INT or STRING as the type of a key, found DATE"));
        assert!(prompts.contains("Mars/Base"), "{prompts}");
        let (answers, _) = answered(&[], "1\n2\n3\n");
        assert!(answers.is_err());
    }
}
