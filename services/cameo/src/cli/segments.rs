//! Segments: who they are, and getting them out.

use std::{path::PathBuf, str::FromStr};

use cameo_domain::{ConsumerName, Scope, SegmentName, TenantName};
use cameo_segment::{
    Share,
    export::{Compression, Format},
};
use clap::{ArgGroup, Args, Subcommand};

use crate::remote::Server;

#[derive(Debug, Subcommand)]
pub(crate) enum Segment {
    /// List a tenant's segments, by name.
    List(ListSegments),
    /// Show one segment, with what was made of it.
    Show(SegmentNamed),
    /// Count whom a condition chooses from what is served now. Keeps nothing.
    Count(SegmentCount),
    /// Show the first members of a segment.
    Members(MembersOf),
    /// Write all members of a segment to a file or to standard output.
    Export(SegmentExport),
    /// Write who entered and who left to a file or to standard output.
    Changes(ChangesOf),
}

/// A server that is asked by its API instead of its database.
#[derive(Debug, Args)]
pub(crate) struct SegmentServer {
    /// Address of a server's API, such as https://cameo.example. Needs an API key with the scope `read` in
    /// CAMEO_API_KEY.
    #[arg(long, env = "CAMEO_SERVER", value_name = "URL")]
    server: Option<String>,
    /// The API key; the environment hides it from the list of processes.
    #[arg(long, env = "CAMEO_API_KEY", hide_env_values = true, hide = true)]
    api_key: Option<String>,
}

impl SegmentServer {
    /// The server, where one is named.
    pub(crate) fn server(&self) -> anyhow::Result<Option<Server>> {
        let named = self.server.as_deref().filter(|url| !url.is_empty());
        named.map(|url| Server::new(url, self.api_key.as_deref(), Scope::Read)).transpose()
    }
}

#[derive(Debug, Args)]
pub(crate) struct ListSegments {
    /// Whose.
    pub(crate) tenant: TenantName,
    #[command(flatten)]
    pub(crate) server: SegmentServer,
}

#[derive(Debug, Args)]
pub(crate) struct SegmentNamed {
    /// Whose.
    pub(crate) tenant: TenantName,
    /// Which segment.
    pub(crate) segment: SegmentName,
    #[command(flatten)]
    pub(crate) server: SegmentServer,
}

#[derive(Debug, Args)]
pub(crate) struct SegmentCount {
    /// Whose customers.
    pub(crate) tenant: TenantName,
    /// SQL over predictions, such as "clv.tier = 'High' AND gender.female_percentile >= 0.8".
    pub(crate) condition: String,
    /// Count only customers in this share, such as 10:spring_2026.
    #[arg(long, value_name = "PERCENT:SALT", value_parser = share)]
    pub(crate) sample: Option<Share>,
    /// Leave customers in this share out, such as 10:spring_2026.
    #[arg(long, value_name = "PERCENT:SALT", value_parser = share)]
    pub(crate) hold_out: Option<Share>,
    #[command(flatten)]
    pub(crate) server: SegmentServer,
}

#[derive(Debug, Args)]
pub(crate) struct MembersOf {
    #[command(flatten)]
    pub(crate) of: SegmentNamed,
    /// How many.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) limit: u32,
}

#[derive(Debug, Args)]
pub(crate) struct SegmentExport {
    #[command(flatten)]
    pub(crate) of: SegmentNamed,
    /// Who was a member at an earlier materialisation; by default the latest.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) materialisation: Option<u32>,
    #[command(flatten)]
    pub(crate) file: File,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("from").required(true).args(["since", "consumer"]))]
pub(crate) struct ChangesOf {
    #[command(flatten)]
    pub(crate) of: SegmentNamed,
    /// The materialisation that the reader has; 0 for none, then everybody entered.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) since: Option<u32>,
    /// What this consumer acknowledged last, instead of --since.
    #[arg(long, value_name = "NAME")]
    pub(crate) consumer: Option<ConsumerName>,
    /// Acknowledge for the consumer what was written, once it is.
    #[arg(long, requires = "consumer", conflicts_with = "since")]
    pub(crate) acknowledge: bool,
    /// List members whose attributes differ as well.
    #[arg(long)]
    pub(crate) attributes: bool,
    #[command(flatten)]
    pub(crate) file: File,
}

/// Where rows are written, and how.
#[derive(Debug, Args)]
pub(crate) struct File {
    /// The file, which appears when it is whole. By default standard output.
    #[arg(long, value_name = "FILE")]
    pub(crate) to: Option<PathBuf>,
    /// ndjson, csv, parquet, arrow, braze or braze_csv. By default what the name of the file says, else ndjson.
    #[arg(long, value_parser = Format::from_str)]
    pub(crate) format: Option<Format>,
    /// none, gzip or zstd. By default what the name of the file says, else none.
    #[arg(long, value_parser = Compression::from_str)]
    pub(crate) compression: Option<Compression>,
}

impl File {
    /// The format and the compression: as asked for, else as the name of the file ends.
    pub(crate) fn shape(&self) -> (Format, Compression) {
        let name = self.to.as_deref().and_then(|path| path.file_name()?.to_str());
        let mut name = name.unwrap_or_default();
        let mut compressed = Compression::None;
        for kind in [Compression::Gzip, Compression::Zstd] {
            if let Some(inner) = name.strip_suffix(kind.suffix()) {
                (name, compressed) = (inner, kind);
                break;
            }
        }
        let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
        let named = Format::ALL.into_iter().find(|format| format.extension() == ending);
        let format = self.format.or(named).unwrap_or(Format::Ndjson);
        // Parquet compresses itself: what its name ends with says nothing.
        let found = if format == Format::Parquet { Compression::None } else { compressed };
        (format, self.compression.unwrap_or(found))
    }
}

/// `10:spring_2026`
fn share(text: &str) -> Result<Share, String> {
    let (percent, salt) =
        text.split_once(':').ok_or("expected a percentage and a salt, such as 10:spring_2026")?;
    let percent = percent
        .parse()
        .map_err(|_| format!("expected a percentage before the colon, found `{percent}`"))?;
    Share::new(percent, salt).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_file_says_its_format_unless_something_else_is_asked_for() {
        let shape =
            |name: &str| File { to: Some(name.into()), format: None, compression: None }.shape();
        assert_eq!(shape("loyal.csv"), (Format::Csv, Compression::None));
        assert_eq!(shape("out/loyal.ndjson.zst"), (Format::Ndjson, Compression::Zstd));
        assert_eq!(shape("loyal.arrows.gz"), (Format::Arrow, Compression::Gzip));
        assert_eq!(shape("loyal.parquet"), (Format::Parquet, Compression::None));
        assert_eq!(shape("loyal"), (Format::Ndjson, Compression::None));
        let asked = File {
            to: Some("loyal.csv.gz".into()),
            format: Some(Format::BrazeCsv),
            compression: Some(Compression::None),
        };
        assert_eq!(asked.shape(), (Format::BrazeCsv, Compression::None));
        let nowhere = File { to: None, format: None, compression: None };
        assert_eq!(nowhere.shape(), (Format::Ndjson, Compression::None));
    }

    #[test]
    fn a_share_is_a_percentage_and_a_salt() {
        assert_eq!(share("10:spring"), Ok(Share::new(10.0, "spring").expect("a share")));
        for wrong in ["10", "ten:spring", "10:", "0:spring", "10:a b"] {
            assert!(share(wrong).is_err(), "{wrong}");
        }
    }
}
