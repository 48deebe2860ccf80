//! Which format a caller wants, and compressed how.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use cameo_segment::export::{Compression, Format};

use crate::problem::{Code, Problem};

/// What a caller wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) format: Format,
    pub(crate) compression: Compression,
    /// Whether the compression is the file's own, or only for the way.
    is_file: bool,
}

/// Reads it from the parameters, else from the headers.
pub(crate) fn wanted(
    headers: &HeaderMap,
    format: Option<&str>,
    compression: Option<&str>,
) -> Result<Wanted, Problem> {
    let invalid = |error: cameo_segment::export::FormatError| {
        Problem::new(Code::InvalidRequest, error.to_string())
    };
    let format = match format {
        Some(format) => format.parse().map_err(invalid)?,
        None => accepted(headers)?,
    };
    let asked = compression.map(str::parse).transpose().map_err(invalid)?;
    let compression = match (format, asked) {
        // Its columns are compressed already.
        (Format::Parquet, _) => Compression::None,
        (_, Some(asked)) => asked,
        (_, None) => encoding(headers),
    };
    Ok(Wanted { format, compression, is_file: asked.is_some() })
}

impl Wanted {
    /// What the head says about the body. `name` is that of a file without what follows a dot.
    pub(crate) fn headers(self, name: &str) -> Vec<(HeaderName, HeaderValue)> {
        let Self { format, compression, is_file } = self;
        let packed = is_file && compression != Compression::None;
        let media_type = match compression {
            Compression::Gzip if packed => "application/gzip",
            Compression::Zstd if packed => "application/zstd",
            _ => format.media_type(),
        };
        let mut headers = vec![
            (header::CONTENT_TYPE, HeaderValue::from_static(media_type)),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
            (header::VARY, HeaderValue::from_static("accept, accept-encoding")),
        ];
        if !packed && compression != Compression::None {
            let encoding = HeaderValue::from_static(compression.as_str());
            headers.push((header::CONTENT_ENCODING, encoding));
        }
        let suffix = if packed { compression.suffix() } else { "" };
        let file = format!("attachment; filename=\"{name}.{}{suffix}\"", format.extension());
        headers.extend(
            HeaderValue::try_from(file).ok().map(|file| (header::CONTENT_DISPOSITION, file)),
        );
        headers
    }
}

/// The format that the caller likes best of those that there are; NDJSON where it does not say.
fn accepted(headers: &HeaderMap) -> Result<Format, Problem> {
    let ranges = weighted(headers, &header::ACCEPT);
    if ranges.is_empty() {
        return Ok(Format::Ndjson);
    }
    let of = |range: &str| match range {
        "*/*"
        | "application/*"
        | "application/x-ndjson"
        | "application/jsonl"
        | "application/json-seq" => Some(Format::Ndjson),
        "text/csv" | "text/*" => Some(Format::Csv),
        "application/vnd.apache.parquet" => Some(Format::Parquet),
        "application/vnd.apache.arrow.stream" => Some(Format::Arrow),
        _ => None,
    };
    ranges.iter().find_map(|range| of(range)).ok_or_else(|| {
        Problem::new(
            Code::NotAcceptable,
            "expected an `Accept` of application/x-ndjson, text/csv, application/vnd.apache.parquet \
             or application/vnd.apache.arrow.stream; or name the format with `?format=`",
        )
    })
}

fn encoding(headers: &HeaderMap) -> Compression {
    let encodings = weighted(headers, &header::ACCEPT_ENCODING);
    let of = |coding: &String| match coding.as_str() {
        "zstd" => Some(Compression::Zstd),
        "gzip" | "x-gzip" => Some(Compression::Gzip),
        "identity" => Some(Compression::None),
        _ => None,
    };
    encodings.iter().find_map(of).unwrap_or(Compression::None)
}

/// The members of a list by their weight, the greatest first, in lower case; without those of weight 0.
fn weighted(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let lists = headers.get_all(name).into_iter().filter_map(|list| list.to_str().ok());
    let mut members: Vec<(f32, String)> = lists
        .flat_map(|list| list.split(','))
        .filter_map(|member| {
            let mut parts = member.split(';').map(str::trim);
            let name = parts.next().filter(|name| !name.is_empty())?.to_ascii_lowercase();
            let weight = parts.find_map(|part| part.strip_prefix("q="));
            let weight = weight.map_or(1.0, |weight| weight.parse().unwrap_or(0.0));
            (weight > 0.0).then_some((weight, name))
        })
        .collect();
    // Stable, so that of equals the one named first comes first.
    members.sort_by(|one, two| two.0.total_cmp(&one.0));
    members.into_iter().map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(accept: &'static str, encoding: &'static str) -> HeaderMap {
        HeaderMap::from_iter([
            (header::ACCEPT, HeaderValue::from_static(accept)),
            (header::ACCEPT_ENCODING, HeaderValue::from_static(encoding)),
        ])
    }

    fn of(
        headers: &HeaderMap,
        format: Option<&str>,
        compression: Option<&str>,
    ) -> (Format, Compression) {
        let wanted = wanted(headers, format, compression).expect("a format");
        (wanted.format, wanted.compression)
    }

    #[test]
    fn a_caller_gets_what_it_likes_best_and_a_parameter_goes_before_headers() {
        let nothing = HeaderMap::new();
        assert_eq!(of(&nothing, None, None), (Format::Ndjson, Compression::None));
        let csv = asked("text/csv;q=0.5, application/pdf, */*;q=0.1", "gzip;q=0.5, zstd");
        assert_eq!(of(&csv, None, None), (Format::Csv, Compression::Zstd));
        assert_eq!(of(&csv, Some("arrow"), Some("gzip")), (Format::Arrow, Compression::Gzip));
        assert_eq!(of(&csv, Some("parquet"), Some("gzip")), (Format::Parquet, Compression::None));
        let plain = asked("*/*", "br, zstd;q=0, identity");
        assert_eq!(of(&plain, None, None), (Format::Ndjson, Compression::None));
        let refused = wanted(&asked("application/pdf", "gzip"), None, None).expect_err("no format");
        assert_eq!(refused.code, Code::NotAcceptable);
        assert!(wanted(&nothing, Some("pdf"), None).is_err());
    }

    #[test]
    fn compression_that_was_asked_for_by_name_stays_in_the_file() {
        let head = |headers: &HeaderMap, compression| {
            let wanted = wanted(headers, Some("csv"), compression).expect("a format");
            HeaderMap::from_iter(wanted.headers("crm-loyal-4"))
        };
        let file = head(&HeaderMap::new(), Some("gzip"));
        assert_eq!(file[header::CONTENT_TYPE], "application/gzip");
        assert_eq!(
            file[header::CONTENT_DISPOSITION],
            "attachment; filename=\"crm-loyal-4.csv.gz\""
        );
        assert!(!file.contains_key(header::CONTENT_ENCODING));
        let way = head(&asked("*/*", "gzip"), None);
        assert_eq!(way[header::CONTENT_ENCODING], "gzip");
        assert_eq!(way[header::CONTENT_DISPOSITION], "attachment; filename=\"crm-loyal-4.csv\"");
    }
}
