//! The stable codes of diagnostics: this file is their only list.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::example::{self, Example};

/// What a code means and what to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// A few words.
    pub title: &'static str,
    /// How a bundle gets there.
    pub cause: &'static str,
    /// What to do next.
    pub cure: &'static str,
    /// The cure at work, where it is quicker seen than told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub example: Option<Example>,
}

macro_rules! codes {
    ($($number:literal $name:ident { $title:literal, $cause:literal, $cure:literal })+) => {
        /// A stable code, written `CAM` and four digits. A code is never given a second meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub enum Code {
            $(#[allow(clippy::doc_markdown, reason = "the titles are plain text")] #[doc = $title] $name = $number,)+
        }

        impl Code {
            /// Every code, in order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// What the code means and what to do about it.
            #[must_use]
            pub fn explain(self) -> Explanation {
                match self {
                    $(Self::$name => Explanation {
                        title: $title,
                        cause: $cause,
                        cure: $cure,
                        example: example::of(self),
                    },)+
                }
            }
        }
    };
}

codes! {
    // Files.
    1 FileMissing { "A file is missing.",
        "A bundle needs config.yaml and every file that it names.",
        "Create the file, or correct the path. Paths are relative to the bundle's folder." }
    2 FileTooLarge { "A file is larger than its limit.",
        "config.yaml, tenant.yaml and SQL files are read whole and have a limit of 256 KiB; models have 512 MiB.",
        "Remove what does not belong there: data goes into the warehouse, not into the bundle." }
    3 NotUtf8 { "A text file is not UTF-8.",
        "The file was saved in another encoding, or it is binary.",
        "Save the file as UTF-8." }
    4 FileUnreadable { "A file cannot be read.",
        "It is a folder or a device, or its permissions refuse it.",
        "Make it a regular file that the user who runs Cameo may read." }
    5 UnsafePath { "A path leaves the bundle.",
        "An absolute path, a `..`, a backslash or a symbolic link would reach files of other teams or of the machine.",
        "Put the file into the bundle's folder, or give a gs://, s3:// or az:// URL for a model." }
    6 LocationUnsupported { "A URL scheme is not supported.",
        "Models are read from the bundle's folder or from an object store.",
        "Use a path inside the bundle, gs://bucket/path, s3://bucket/path or az://container/path." }
    7 NothingFound { "No bundle was found.",
        "The folder is neither a tenants folder, nor a tenant, nor a bundle with a config.yaml.",
        "Name the folder that holds tenants/<tenant>/<service>/config.yaml, or one level below it." }
    8 TenantNameInvalid { "A tenant's folder name is not a tenant name.",
        "The name becomes a database schema and a part of URLs.",
        "Rename the folder: a lower-case letter, then up to 39 lower-case letters, digits or underscores." }
    9 TooManyBundles { "The folder holds more bundles than the limit.",
        "Discovery stops at a bound so that a wrong folder cannot occupy the machine.",
        "Name a folder nearer to the bundles." }

    // YAML.
    10 YamlSyntax { "The YAML does not parse.",
        "Indentation, quotes, brackets or a missing colon; tabs do not indent in YAML.",
        "Correct the line. Nothing after it was checked." }
    11 YamlAlias { "YAML aliases are not accepted.",
        "An alias (`*name`) makes one line mean something that stands elsewhere and lets a small file grow without bound.",
        "Write the value out." }
    12 UnknownKey { "A key is not known.",
        "A misspelt key would otherwise be ignored, and its setting with it. Keys are upper case.",
        "Correct or remove the key; the message lists the known ones." }
    13 MissingKey { "A required key is missing.",
        "The section exists but lacks a key without which nothing can run.",
        "Add the key." }
    14 DuplicateKey { "A key occurs twice.",
        "Only one of the two values could count, and which one is anybody's guess.",
        "Remove one of them." }
    15 WrongType { "A value has the wrong type.",
        "For example text where a list is expected, or an unquoted number where text is expected.",
        "Write the value as the message says; quote text that looks like a number, a date or true/false." }
    16 YamlTooDeep { "The YAML is nested too deeply.",
        "More than 32 levels of nesting serve no config.",
        "Flatten the file." }
    17 YamlDocuments { "The file holds more than one YAML document.",
        "A `---` line starts a second document, which nothing would read.",
        "Keep one document in a file." }
    18 YamlTag { "YAML tags are not accepted.",
        "A tag (`!name`) asks the reader to build a value of a special type; configs have none.",
        "Remove the tag." }
    19 ValueOutOfRange { "A value is outside its range.",
        "The setting has bounds that protect the platform and the other teams.",
        "Choose a value inside the range that the message gives." }
    20 ValueEmpty { "A value is empty.",
        "The key is there but says nothing.",
        "Give the value." }
    21 ChoiceUnknown { "A value is none of the choices.",
        "The setting takes one word of a fixed list, in upper case.",
        "Use one of the words that the message lists." }

    // Settings.
    30 FrameworkUnsupported { "FRAMEWORK: CUSTOM is not supported by this server.",
        "CUSTOM asks for team code inside the worker. This server scores ONNX models only.",
        "Export the model to ONNX and use FRAMEWORK: BASE; express further steps in predictions.sql." }
    31 ServiceNameInvalid { "SERVICE_NAME is not a service name.",
        "The name becomes a table name and a part of URLs.",
        "Use a lower-case letter, then up to 39 lower-case letters, digits or underscores." }
    32 ServiceNameDiffers { "SERVICE_NAME differs from the folder's name.",
        "The folder is how people and tools find a service, so both names must agree.",
        "Rename the folder or correct SERVICE_NAME." }
    33 VersionInvalid { "VERSION is not a version.",
        "Versions are MAJOR.MINOR.PATCH, optionally followed by a hyphen and a label.",
        "Write for example 0.0.1 or 1.4.0-rc1." }
    34 ScheduleInvalid { "PREDICTION_SCHEDULE is not a schedule.",
        "It is a cron pattern of five fields (minute hour day-of-month month day-of-week) that fires at some time.",
        "Correct the pattern, for example \"00 18 * * *\" for 18:00 every day." }
    35 TimezoneUnknown { "PREDICTION_TIMEZONE is not an IANA time zone.",
        "Offsets and abbreviations do not say when clocks change; IANA names do.",
        "Use a name such as Asia/Tokyo, Europe/Berlin or UTC." }
    36 ColumnNameInvalid { "A prediction name is not a column name.",
        "Prediction names become columns of the database and fields of the API.",
        "Use a letter or underscore, then up to 62 letters, digits or underscores." }
    37 ColumnNameTwice { "A prediction name occurs twice.",
        "SQL ignores case, so two names must differ by more than case.",
        "Rename or remove one of them." }
    38 DataTypeUnknown { "A prediction type is not known.",
        "The types are INT, FLOAT64, STRING, BOOL, DATE and TIMESTAMP.",
        "Use one of them, in upper case." }
    39 ListsDiffer { "PREDICTION_NAMES and PREDICTION_NAMES_DATATYPE differ in length.",
        "The n-th type belongs to the n-th name, so the lists pair up.",
        "Give each name exactly one type." }
    40 TooFewColumns { "There is no prediction besides the key.",
        "The first name is the key; a key alone predicts nothing.",
        "Add at least one prediction name and its type." }
    41 KeyTypeInvalid { "The key's type cannot be a key.",
        "The first prediction name identifies the customer; only INT and STRING are looked up.",
        "Declare the key INT or STRING, or put the key first." }
    42 SqlEmpty { "A SQL file holds no statement.",
        "The file is empty or holds only comments.",
        "Write the query." }
    43 NotOnnx { "A model file is not ONNX.",
        "The file has another format, such as a pickle, a zip or a Git LFS pointer, or it is empty.",
        "Export the model to ONNX; with Git LFS, run `git lfs pull`." }
    44 TooManyColumns { "There are more prediction names than the limit.",
        "A prediction table has at most 256 columns.",
        "Split the service." }
    45 NullDefaultWithRanking { "A service that ranks has defaults for nulls.",
        "Its model is taken apart into what belongs to customers, to items and to pairs; NULL_DEFAULTS is for one row per customer.",
        "Write COALESCE in features.sql or in the items' query, and remove NULL_DEFAULTS." }

    46 ProtectedOnApply { "A release would enter production by being applied, past what guards it.",
        "PROTECTED asks for a second person's approval, SHADOW_RUNS_MIN for comparisons; applying gives neither.",
        "Write ON_APPLY: CANDIDATE or SHADOW, or leave it out; then `cameo promote` and `cameo approve`." }

    48 SensitiveInvalid { "A sensitive column is no prediction that can be sealed.",
        "SENSITIVE lists predictions by name. The key, and the rank of a service that ranks, name a row and cannot be sealed.",
        "Use names of PREDICTION_NAMES besides the key and the rank." }
    49 SensitiveExplained { "Sensitive predictions would be told by stored explanations.",
        "Contributions add up to the prediction, and the column `explanation` is not sealed.",
        "Write STORE: ON_DEMAND or NONE in EXPLANATION_CONFIG, or remove SENSITIVE." }

    // Explanations.
    50 ExplanationNameTaken { "A column has the name of the stored explanations.",
        "With STORE: PREDICTION each prediction carries its contributions in the column `explanation`.",
        "Rename the prediction or the model's output, or write STORE: ON_DEMAND in EXPLANATION_CONFIG." }
    51 ExplanationSettingUnused { "A setting of EXPLANATION_CONFIG has no effect.",
        "Another setting of the section makes it meaningless: TOP_K counts what is stored, SAMPLES belongs to KERNEL.",
        "Remove it, or change the other setting." }
    // Ranking.
    60 RankMissing { "The second prediction name of a service that ranks is not the rank.",
        "Such a service has several rows per customer; `rank`, an INT from 1, tells them apart.",
        "Write PREDICTION_NAMES: [<customer>, rank, <item>, …] with the types INT or STRING, INT, INT or STRING, …." }
    61 ItemKeyNotPredicted { "The item is not among the predictions.",
        "A rank without its item tells nobody anything: ITEM_KEY is one of PREDICTION_NAMES.",
        "Add the name of ITEM_KEY to PREDICTION_NAMES and its type to PREDICTION_NAMES_DATATYPE." }
    62 RankingWithPreprocess { "A service that ranks has a preprocess model.",
        "The model is taken apart into what belongs to customers, to items and to pairs; a second model would hide that.",
        "Merge the preprocess model into the model, and leave PREPROCESS_OBJECT_PATH empty." }

    // Templates and macros.
    70 MacroFileInvalid { "A tenant's folder of macros holds something else.",
        "Each *.sql file of tenants/<tenant>/macros has macros and comments only, and a name of its own for each macro; a service cannot be called macros.",
        "Move SQL that is no macro into the bundle that needs it, and rename what has a taken name." }
    71 TemplateSyntax { "A tag of a SQL file does not parse.",
        "Between {{ }}, {% %} and {# #} stands Jinja; a bracket, a quote or an end tag is missing, or the tag is one that SQL files do not have, such as include.",
        "Correct the tag. Where SQL itself needs the signs, put it between {% raw %} and {% endraw %}." }
    72 MacroUnknown { "A macro, function, filter or test is not known.",
        "Macros are called by their namespace: std for the standard library, team for those of tenants/<tenant>/macros.",
        "Correct the name; docs/sql-library.md lists the standard library." }
    73 MacroArgumentWrong { "A macro is given an argument that it does not take.",
        "An argument is missing, misspelt, given twice or outside of what the macro can work with.",
        "Call the macro as the message shows." }
    74 TemplateUndefined { "A name in a tag has no value.",
        "Inside of tags a bare word is a name of the template; columns and expressions of SQL are text there.",
        "Put columns and expressions into quotes, as in {{ std.capped('spend_usd', high=500) }}, or set the name." }
    75 TemplateFailed { "A tag cannot be computed.",
        "A filter or an operator does not work on such a value, for example a loop over a number.",
        "Correct the expression that the message names." }
    76 TemplateUnbounded { "A template does more than is allowed.",
        "Work, nesting and the size of the SQL are bounded, so that no file can occupy the machine.",
        "Write fewer or shorter loops, and let no macro call itself." }

    // Segments.
    80 SegmentNameUnknown { "A segment names a prediction that there is not.",
        "Conditions and ATTRIBUTES name columns: those of the own service alone or as `service.column`, those of the tenant's other services as `service.column`. Explanations and sensitive predictions cannot be named.",
        "Correct the name. What other services predict is checked by `cameo plan` and `cameo apply`; apply a new service before the segments that name it." }
    81 SegmentTypeWrong { "A segment's condition puts types together that do not fit.",
        "Numbers are compared with numbers, texts with texts; nothing is converted silently, and what AND, OR and NOT join is true or false.",
        "Compare with a value of the column's type, or CAST where nothing is lost; docs/segments.md lists the casts." }
    82 SegmentSyntax { "A segment's condition does not parse.",
        "A condition is what stands behind WHERE in SQL, from a list of operators and functions; queries, CASE and other functions are not on it.",
        "Correct the place that the message names; docs/segments.md lists what conditions may have." }
    83 SegmentNameInvalid { "The name of a segment is not a name.",
        "The name becomes a part of URLs and of file names.",
        "Use a lower-case letter, then up to 39 lower-case letters, digits or underscores." }
    84 SegmentNameTaken { "A segment is defined in two places.",
        "One place says what a segment is: one entry of one bundle, or the API. Another is not taken over in silence.",
        "Choose another name, or remove the segment where it is defined now, and apply again." }
    85 SegmentShareInvalid { "A sample or a hold-out is none.",
        "A salt has 1 to 64 letters, digits, `_`, `-` and `.`; PERCENT has steps of 0.01. A sample and a hold-out with one salt would lie within each other.",
        "Write for example HOLD_OUT: {PERCENT: 10, SALT: spring_2026}, with a salt for each." }

    // Cards.
    90 CardNotClosed { "The front matter of a card is not closed.",
        "CARD.md begins with a line of `---`, so what follows are keys, up to a second such line.",
        "Write `---` below the last key, or remove the first line." }

    // features.sql.
    100 SqlInvalid { "The SQL cannot be run.",
        "The query does not parse, or uses something of GoogleSQL that this server does not know to be equal.",
        "Correct the line that the message names." }
    101 KeyNotSelected { "The query does not give the key.",
        "The first prediction name is the key and must be a column of features.sql, and of predictions.sql where there is one.",
        "Select the key under exactly that name." }
    102 KeyTypeDiffers { "The key's type in SQL does not fit its declared type.",
        "An INT key needs an integer column, a STRING key a text column.",
        "CAST the column in features.sql, or declare the other type." }
    103 FeatureTwice { "The query gives a column twice.",
        "A column could not be told from its twin; SQL ignores case.",
        "Give one of them another alias." }
    104 CohortUnusable { "A column cannot split importance into cohorts.",
        "Each of COHORTS is a column of features.sql with few values; not the key, and not a fraction.",
        "Name such a column, or group its values in features.sql, for example with CASE." }
    105 ItemKeyNotSelected { "The items' query does not give the item key.",
        "ITEM_KEY names a column of the query of ITEM_SQL_PATH, which has one row per item.",
        "Select the item under exactly that name." }
    106 ColumnOnBothSides { "Customers and items have a column of the same name.",
        "The model's inputs are found by name on either side, so a name on both sides could mean either.",
        "Give one of them another alias." }
    107 NullDefaultUnusable { "A default for nulls belongs to no feature that is read.",
        "Each name of NULL_DEFAULTS is a column of features.sql that the model reads; not the key.",
        "Correct the name, or remove it." }

    // Model.
    200 ModelInvalid { "The model cannot be loaded.",
        "The ONNX file is damaged or uses an operator that this server does not run.",
        "Export the model again, with the operators that the message names replaced." }
    201 InputWithoutFeature { "A model input has no feature column.",
        "Each input of the model is bound to the feature column of the same name.",
        "Select the column in features.sql, or rename the input when exporting the model." }
    202 InputWidthDiffers { "The model expects another number of features.",
        "A model with one matrix input takes the feature columns of features.sql, without the key, in order.",
        "Select exactly the features the model was trained on, in the same order." }
    203 InputTypeDiffers { "A feature's type does not fit the model's input.",
        "For example text for an input of numbers; nothing is converted silently.",
        "CAST or encode the column in features.sql, or with a preprocess model." }
    204 FeatureUnused { "A feature column is used by no model input.",
        "The query pays for a column that nothing reads; often an input's name is misspelt.",
        "Remove the column or correct its name." }
    205 ExplainedOutputUnknown { "The model does not give the output that is explained.",
        "OUTPUT of EXPLANATION_CONFIG names one column of the model's outputs.",
        "Use one of the names in the message, or leave OUTPUT out to explain the last column of scores." }
    206 RankedOutputUnknown { "The model does not give the output that ranks.",
        "SCORE of RANKING_CONFIG names one column of the model's outputs.",
        "Use one of the names in the message, or leave SCORE out to rank by the last column of floats." }
    207 NullDefaultTypeDiffers { "A default for nulls does not fit its feature.",
        "A column of whole numbers or dates takes a whole number, one of floats a number, one of text a text; nothing is converted silently.",
        "Write a value of the feature's type; quote a text that looks like a number." }

    // Predictions.
    300 PredictionWithoutSource { "A prediction has no source.",
        "Each prediction name is a column of predictions.sql or, without that file, an output of the model.",
        "Correct the name, or give the column in predictions.sql." }
    301 PredictionTypeDiffers { "A prediction's source does not fit its declared type.",
        "A value becomes the declared type only where nothing is lost: FLOAT64 does not become INT.",
        "Declare the type that the source gives, or CAST in predictions.sql." }
    302 ExplanationNotPassedOn { "predictions.sql does not pass the explanations on.",
        "With STORE: PREDICTION the table model_outputs has a column `explanation`, which predictions.sql gives as it is.",
        "Add `explanation` to each SELECT of predictions.sql, or write STORE: ON_DEMAND in EXPLANATION_CONFIG." }
}

impl Code {
    /// The four digits.
    #[must_use]
    pub fn number(self) -> u16 {
        self as u16
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("CAM{:04}", self.number()))
    }
}

/// A text that is no code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a code such as CAM0012, found `{0}`")]
pub struct CodeError(String);

impl FromStr for Code {
    type Err = CodeError;

    fn from_str(text: &str) -> Result<Self, CodeError> {
        Self::ALL
            .iter()
            .copied()
            .find(|code| code.to_string().eq_ignore_ascii_case(text))
            .ok_or_else(|| CodeError(text.to_owned()))
    }
}

impl TryFrom<String> for Code {
    type Error = CodeError;

    fn try_from(text: String) -> Result<Self, CodeError> {
        text.parse()
    }
}

impl From<Code> for String {
    fn from(code: Code) -> Self {
        code.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_ordered_and_read_back() {
        assert!(Code::ALL.windows(2).all(|pair| pair[0].number() < pair[1].number()));
        for code in Code::ALL {
            assert_eq!(code.to_string().parse(), Ok(*code));
            assert!(code.explain().cure.ends_with('.'), "{code} has no cure");
        }
        assert_eq!(Code::UnknownKey.to_string(), "CAM0012");
    }
}
