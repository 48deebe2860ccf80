//! The allow-list as a page, from the same tables that the printer reads.

use super::{catalog::FUNCTIONS, dates, expression::CAST_TYPES};

/// `docs/googlesql.md`.
#[must_use]
pub fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    let mut group = "";
    for entry in FUNCTIONS {
        if entry.group != group {
            group = entry.group;
            page.push_str(&format!("\n### {group}\n\n| function | note |\n|---|---|\n"));
        }
        page.push_str(&format!("| `{}` | {} |\n", entry.name, entry.note));
    }
    let codes = |codes: Vec<String>| {
        codes.iter().map(|code| format!("`{code}`")).collect::<Vec<_>>().join(" ")
    };
    let extract = dates::EXTRACT_PARTS.iter().map(|(part, _)| (*part).to_owned()).collect();
    let format = dates::FORMAT_ELEMENTS.iter().map(|(element, _)| format!("%{element}")).collect();
    let parse = dates::PARSE_ELEMENTS.iter().map(|element| format!("%{element}")).collect();
    let casts = CAST_TYPES.iter().map(|name| (*name).to_owned()).collect();
    page.push_str(&format!(
        "\n## Types, parts and elements\n\n- `CAST` and `SAFE_CAST` to {}\n- `EXTRACT` of {}\n- \
         `FORMAT_DATE` and `FORMAT_TIMESTAMP` write {}\n- `PARSE_DATE` and `PARSE_TIMESTAMP` read {}\n",
        codes(casts),
        codes(extract),
        codes(format),
        codes(parse),
    ));
    page.push_str(LIMITS);
    page
}

const INTRODUCTION: &str = "# GoogleSQL on the Lake\n
<!-- Made from platform/warehouse/src/googlesql by its test `the_page_lists_what_the_code_allows`; \
CAMEO_UPDATE_DOCS=1 writes it anew. -->\n
`features.sql` and `predictions.sql` are GoogleSQL, the SQL of BigQuery. On the Lake they run on DuckDB: \
the query is parsed, and printed again from a list of what is known to mean the same in both. Everything \
else is refused with its line and the nearest supported name; nothing runs because it looks right.\n
One query per file: `SELECT` or `WITH`, with `DISTINCT`, `* EXCEPT`, `* REPLACE`, `WHERE`, `GROUP BY` (also \
`ALL`), `HAVING`, `QUALIFY`, `WINDOW`, `ORDER BY`, `LIMIT`, `UNION ALL`, `UNION DISTINCT`, `INTERSECT DISTINCT`, \
`EXCEPT DISTINCT`, every `JOIN` but `NATURAL`, `UNNEST … WITH OFFSET`, `PIVOT` over string literals, and \
subqueries. Tables are `dataset.table` or `project.dataset.table`; the project is dropped. Parameters are \
`@run_time` (TIMESTAMP) and `@run_date` (DATE). `predictions.sql` reads the one table `model_outputs`.\n
## Functions\n";

const LIMITS: &str = "\n## Known differences\n
- `NaN`: BigQuery takes it for unequal to itself and smaller than any number, DuckDB for equal and larger. \
Keep it out with `IS_NAN`.\n- `UPPER` and `LOWER` map single characters: `ß` becomes `ẞ` here and `SS` there.\n\
- An alias may be used in `WHERE` and beside itself here; BigQuery refuses that.\n\
- `DATETIME`, `NUMERIC`, `BYTES` and `GEOGRAPHY` have no functions here.\n";
