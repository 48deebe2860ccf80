//! Rows as Braze takes them, so that its campaigns can use predictions as custom attributes.
//!
//! Each row is a *user attributes object*, which Braze's `/users/track` endpoint takes in `attributes`
//! (<https://www.braze.com/docs/api/objects_filters/user_attributes_object>): `external_id`, which is a
//! string, then custom attributes by name; one that is null is removed from the profile. The CSV has the
//! same columns for Braze's own importer
//! (<https://www.braze.com/docs/user_guide/data/unification/user_data/import_users/csv/>); there an empty
//! field leaves the profile as it is.
//!
//! - An attribute `service.column` is called `service_column`: a dot would mean a nested property.
//! - `segment_<name>` says whether the customer is a member, so a change that takes a customer out
//!   reaches the profile as well; the attributes of one who left are null.
//! - `updated_at` is the time as of which this is so.

use std::{collections::HashSet, sync::Arc};

use arrow::{
    array::{ArrayRef, BooleanArray, StringArray, TimestampMicrosecondArray},
    compute::cast,
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
    record_batch::RecordBatch,
};
use cameo_domain::SegmentName;
use chrono::{DateTime, Utc};

use crate::{
    changes::{CHANGE, Change, ChangesError},
    export::ExportError,
};

const EXTERNAL_ID: &str = "external_id";
const UPDATED_AT: &str = "updated_at";

/// Fields of a user's profile that Braze itself gives a meaning; a prediction must not overwrite them.
const PROFILE_FIELDS: [&str; 28] = [
    "alias_name",
    "braze_id",
    "country",
    "current_location",
    "date_of_first_session",
    "date_of_last_session",
    "dob",
    "email",
    "email_subscribe",
    "email_open_tracking_disabled",
    "email_click_tracking_disabled",
    "external_id",
    "facebook",
    "first_name",
    "gender",
    "home_city",
    "language",
    "last_name",
    "marked_email_as_spam_at",
    "phone",
    "push_subscribe",
    "push_tokens",
    "subscription_groups",
    "time_zone",
    "twitter",
    "updated_at",
    "user_alias",
    "user_name",
];

/// Why attributes cannot be given to Braze.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BrazeError {
    /// Two attributes have one name there.
    #[error(
        "two attributes would both be called `{0}` in Braze; name fewer attributes in the segment"
    )]
    Twice(String),
    /// Braze has a meaning of its own for the name.
    #[error(
        "the attribute `{attribute}` would be called `{name}`, which is a field of Braze's profiles; \
         leave it out of the segment"
    )]
    Profile {
        /// `service.column`.
        attribute: String,
        /// What it would be called.
        name: String,
    },
}

/// Turns members, or changes, into rows for Braze.
pub(crate) struct Braze {
    schema: SchemaRef,
    /// Which column says what changed; none: all rows are members.
    change: Option<usize>,
    updated_at: i64,
}

impl Braze {
    /// For rows of `schema`: the key, [`CHANGE`] where there is one, the attributes.
    pub(crate) fn new(
        schema: &Schema,
        segment: &SegmentName,
        as_of: DateTime<Utc>,
    ) -> Result<Self, BrazeError> {
        let change = schema.index_of(CHANGE).ok();
        let mut fields = vec![Field::new(EXTERNAL_ID, DataType::Utf8, false)];
        let mut names = HashSet::from([format!("segment_{segment}")]);
        for field in schema.fields().iter().skip(1 + usize::from(change.is_some())) {
            let name = field.name().replace('.', "_");
            if PROFILE_FIELDS.contains(&name.as_str()) {
                return Err(BrazeError::Profile { attribute: field.name().clone(), name });
            }
            if !names.insert(name.clone()) {
                return Err(BrazeError::Twice(name));
            }
            fields.push(Field::new(name, field.data_type().clone(), true));
        }
        fields.push(Field::new(format!("segment_{segment}"), DataType::Boolean, false));
        let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        fields.push(Field::new(UPDATED_AT, instant, false));
        let schema = Arc::new(Schema::new(fields));
        Ok(Self { schema, change, updated_at: as_of.timestamp_micros() })
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub(crate) fn rows(&self, batch: &RecordBatch) -> Result<RecordBatch, ExportError> {
        let is_member: BooleanArray = match self.change {
            None => std::iter::repeat_n(Some(true), batch.num_rows()).collect(),
            Some(at) => {
                let changes = batch.column(at).as_any().downcast_ref::<StringArray>();
                let changes = changes
                    .ok_or_else(|| ChangesError::Type(format!("`{CHANGE}` is no text column")))?;
                let left = Change::Left.as_str();
                changes.iter().map(|change| Some(change != Some(left))).collect()
            }
        };
        let updated_at = std::iter::repeat_n(self.updated_at, batch.num_rows());
        let updated_at = TimestampMicrosecondArray::from_iter_values(updated_at);
        let mut columns: Vec<ArrayRef> = vec![cast(batch.column(0), &DataType::Utf8)?];
        let attributes = 1 + usize::from(self.change.is_some());
        columns.extend(batch.columns().iter().skip(attributes).cloned());
        columns.push(Arc::new(is_member));
        columns.push(Arc::new(updated_at.with_timezone("UTC")));
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}
