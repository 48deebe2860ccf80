//! Reads what was exported with other code than what wrote it.

use std::sync::Arc;

use arrow::{compute::concat_batches, ipc::reader::StreamReader, record_batch::RecordBatch};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

pub(crate) fn lines(bytes: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(bytes).expect("UTF-8");
    assert!(text.is_empty() || text.ends_with('\n'), "the last line is whole");
    // Not `lines()`: a text may hold characters that end lines elsewhere.
    text.split_terminator('\n').map(|line| serde_json::from_str(line).expect("an object")).collect()
}

/// Reads RFC 4180; a field that is neither quoted nor has a character is null.
pub(crate) fn csv(bytes: &[u8]) -> Vec<Vec<Option<String>>> {
    let mut text = std::str::from_utf8(bytes).expect("UTF-8").chars().peekable();
    let (mut records, mut record) = (Vec::new(), Vec::new());
    while text.peek().is_some() {
        let mut field = String::new();
        let quoted = text.next_if_eq(&'"').is_some();
        while let Some(next) = text.peek().copied() {
            if quoted && next == '"' {
                text.next();
                if text.next_if_eq(&'"').is_none() {
                    break;
                }
            } else if !quoted && matches!(next, ',' | '\r') {
                break;
            } else {
                text.next();
            }
            field.push(next);
        }
        record.push((quoted || !field.is_empty()).then_some(field));
        match text.next() {
            Some(',') => {}
            Some('\r') => {
                assert_eq!(text.next(), Some('\n'));
                records.push(std::mem::take(&mut record));
            }
            other => panic!("expected a comma or the end of the line, found {other:?}"),
        }
    }
    records
}

pub(crate) fn arrow(bytes: &[u8]) -> RecordBatch {
    let reader = StreamReader::try_new(bytes, None).expect("an Arrow stream");
    let schema = reader.schema();
    let batches: Vec<_> = reader.map(|batch| batch.expect("a batch")).collect();
    concat_batches(&schema, &batches).expect("one batch")
}

pub(crate) fn parquet(bytes: Vec<u8>) -> RecordBatch {
    let bytes = bytes::Bytes::from(bytes);
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).expect("a Parquet file");
    let schema = Arc::clone(builder.schema());
    let reader = builder.build().expect("a reader");
    let batches: Vec<_> = reader.map(|batch| batch.expect("a batch")).collect();
    concat_batches(&schema, &batches).expect("one batch")
}
