//! From what a template gave back to what was written.

use std::ops::Range;

use minijinja::{OutputSpan, OutputSpanKind};

/// Where a stretch of the rendered text comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// It was written so.
    Written(Range<usize>),
    /// A tag gave it.
    Given {
        /// The expression inside the tag.
        by: Range<usize>,
        /// What it gave, in the rendered text.
        text: Range<usize>,
    },
}

impl Place {
    /// The bytes of the template.
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        match self {
            Self::Written(range) | Self::Given { by: range, .. } => range.clone(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Stretch {
    rendered: Range<usize>,
    written: Range<usize>,
    is_verbatim: bool,
}

/// Leads from the bytes of a rendered text to those of its template.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Places {
    /// In order and without overlap; empty where the text is the template itself.
    stretches: Vec<Stretch>,
}

impl Places {
    pub(crate) fn new(spans: &[OutputSpan]) -> Self {
        let stretches = spans.iter().map(|span| Stretch {
            rendered: span.output_range(),
            written: span.source_range(),
            is_verbatim: span.kind() == OutputSpanKind::Raw,
        });
        Self { stretches: stretches.collect() }
    }

    /// Where a range of the rendered text comes from. What reaches beyond the stretch it begins in is
    /// cut at its end.
    #[must_use]
    pub fn find(&self, rendered: Range<usize>) -> Place {
        let before =
            self.stretches.partition_point(|stretch| stretch.rendered.start <= rendered.start);
        let Some(stretch) = before.checked_sub(1).and_then(|index| self.stretches.get(index))
        else {
            return Place::Written(rendered);
        };
        if !stretch.is_verbatim {
            return Place::Given { by: stretch.written.clone(), text: stretch.rendered.clone() };
        }
        let move_back = |at: usize| {
            (stretch.written.start + at.saturating_sub(stretch.rendered.start))
                .min(stretch.written.end)
        };
        Place::Written(move_back(rendered.start)..move_back(rendered.end))
    }
}
