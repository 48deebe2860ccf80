//! `cameo segment`: whom the segments of a tenant choose, and getting them out.

pub(crate) mod source;
mod text;
pub(crate) mod view;
mod write;

use std::process::ExitCode;

use cameo_segment::{
    Draft,
    export::{Compression, Format},
};

use crate::{
    cli::{ChangesOf, Global, MembersOf, Segment as Command, SegmentCount, SegmentExport},
    commands::segments::{
        source::{Listing, Since, Source},
        write::{Collected, to_file},
    },
    output::Output,
};

pub(crate) async fn run(
    global: &Global,
    command: Command,
    output: Output,
) -> anyhow::Result<ExitCode> {
    match command {
        Command::List(wanted) => {
            let source = Source::find(global, &wanted.server).await?;
            let listed = source.list(&wanted.tenant).await?;
            output.show(&listed, |listed| text::list(&wanted.tenant, listed))?;
        }
        Command::Show(wanted) => {
            let source = Source::find(global, &wanted.server).await?;
            let detail = source.detail(&wanted.tenant, &wanted.segment).await?;
            output.show(&detail, |detail| text::detail(detail, output))?;
        }
        Command::Count(wanted) => count(global, wanted, output).await?,
        Command::Members(wanted) => members(global, wanted, output).await?,
        Command::Export(wanted) => export(global, wanted, output).await?,
        Command::Changes(wanted) => changes(global, wanted, output).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn count(global: &Global, wanted: SegmentCount, output: Output) -> anyhow::Result<()> {
    let source = Source::find(global, &wanted.server).await?;
    let SegmentCount { tenant, condition, sample, hold_out, .. } = wanted;
    let draft = Draft { condition, sample, hold_out, ..Draft::default() };
    let counted = source.count(&tenant, &draft).await?;
    output.show(&counted, text::count)
}

/// The first members, as rows for people and as a list for programs.
async fn members(global: &Global, wanted: MembersOf, output: Output) -> anyhow::Result<()> {
    let MembersOf { of, limit } = wanted;
    let source = Source::find(global, &of.server).await?;
    let detail = source.detail(&of.tenant, &of.segment).await?;
    let listing = Listing::Members { materialisation: None, limit: Some(limit) };
    let rows = Collected::default();
    let shape = (Format::Ndjson, Compression::None);
    let written = source.write(&of.tenant, &of.segment, &listing, shape, rows.clone()).await?;
    let rows = rows.lines()?;
    output.show(&rows, |rows| text::members(&detail.segment, &written, rows, output))
}

async fn export(global: &Global, wanted: SegmentExport, output: Output) -> anyhow::Result<()> {
    let SegmentExport { of, materialisation, file } = wanted;
    let source = Source::find(global, &of.server).await?;
    let listing = Listing::Members { materialisation, limit: None };
    let written = to_file(&source, &of, &listing, &file).await?;
    text::say_written(&written, &of, &file, output)
}

async fn changes(global: &Global, wanted: ChangesOf, output: Output) -> anyhow::Result<()> {
    let ChangesOf { of, since, consumer, acknowledge, attributes, file } = wanted;
    let source = Source::find(global, &of.server).await?;
    let since = match &consumer {
        Some(consumer) => Since::Consumer(consumer.clone()),
        None => Since::Number(since.unwrap_or_default()),
    };
    let listing = Listing::Changes { since, attributes };
    let written = to_file(&source, &of, &listing, &file).await?;
    // Only what is safe is acknowledged.
    if let Some(consumer) = consumer.filter(|_| acknowledge) {
        let number = written.materialisation;
        source.acknowledge(&of.tenant, &of.segment, &consumer, number).await?;
    }
    text::say_written(&written, &of, &file, output)
}
