//! A client of the Cameo API.
//!
//! ```no_run
//! # async fn example() -> Result<(), cameo_client::Error> {
//! let client = cameo_client::Client::new("https://cameo.example", "cameo_…")?;
//! let gender = client.tenant("marketing").service("gender");
//!
//! let one = gender.prediction(17).await?;
//! println!("{} of generation {}", one.predictions.row()["female_percentile"], one.generation);
//!
//! // Any number of keys: they are asked in parts, and all answers are of one generation.
//! let many = gender.predictions(1..=50_000).await?;
//! println!("{} found", many.results.iter().filter(|result| result.is_found()).count());
//! # Ok(())
//! # }
//! ```
//!
//! - A request that the server refuses because it has too much to do is repeated after the time that it says,
//!   within [`ClientBuilder::deadline`]; one that could have changed something is repeated only where it has not.
//! - Every error of the API is an [`Error::Problem`] with a [`Code`] to act on and the request's id to ask with.
//! - With [`ClientBuilder::cache`] a prediction that has not changed is not sent again.

mod cache;
mod changes;
mod client;
mod error;
mod http;
mod key;
mod keys;
mod predictions;
mod profiles;
mod releases;
mod retry;
mod runs;
mod segments;
mod services;
mod webhooks;

pub use changes::{Change, ChangeKind, Changes, Consumer, SegmentCount, Since};
pub use client::{Client, ClientBuilder, ServiceClient, TenantClient};
pub use error::{Code, Error, Position, Problem};
pub use key::Key;
pub use keys::{ApiKey, KeyRequest, Me, Membership, NewKey};
pub use predictions::{Batch, Columns, KeyResult, Prediction, Predictions, Status};
pub use profiles::{Attributes, Failed, Missing, MissingReason, Profile, ProfileQuery};
pub use releases::{Generation, Promotion, Release, Rollback};
pub use runs::{Reason, Run, RunFilter, RunPage, RunState};
pub use segments::{Export, Format, Materialisation, Segment};
pub use services::{Column, DataType, Service, Stage};
pub use webhooks::{Delivery, DeliveryState, Webhook};
