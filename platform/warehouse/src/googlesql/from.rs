//! FROM: tables, joins, UNNEST and PIVOT.

use sqlparser::ast::{
    Expr, ExprWithAlias, Ident, JoinConstraint, JoinOperator, ObjectName, PivotValueSource,
    Spanned, TableAlias, TableFactor, TableWithJoins, Value,
};

use super::{
    Source, SqlError,
    printer::{Printed, Printer, name, refusal, unlisted, unsupported},
};
use crate::engine::{quote_name, quote_text};

/// The one table of post-processing.
const MODEL_OUTPUTS: &str = "model_outputs";

impl Printer<'_> {
    pub(super) fn from(&mut self, from: &[TableWithJoins]) -> Printed {
        let mut aliases = Vec::new();
        let mut items = Vec::new();
        for item in from {
            items.push(self.item_with_joins(item, &mut aliases)?);
        }
        Ok(items.join(", "))
    }

    fn item_with_joins(&mut self, item: &TableWithJoins, aliases: &mut Vec<String>) -> Printed {
        let mut printed = self.factor(&item.relation, aliases)?;
        for join in &item.joins {
            if join.global {
                return Err(unsupported(join, "GLOBAL JOIN"));
            }
            let relation = self.factor(&join.relation, aliases)?;
            let unnest = matches!(join.relation, TableFactor::UNNEST { .. });
            let (keyword, constraint) = match &join.join_operator {
                JoinOperator::Join(on) | JoinOperator::Inner(on) => ("JOIN", on),
                JoinOperator::Left(on) | JoinOperator::LeftOuter(on) => ("LEFT JOIN", on),
                JoinOperator::Right(on) | JoinOperator::RightOuter(on) => ("RIGHT JOIN", on),
                JoinOperator::FullOuter(on) => ("FULL JOIN", on),
                JoinOperator::CrossJoin(on) => ("CROSS JOIN", on),
                _ => return Err(unsupported(join, "this kind of JOIN")),
            };
            let constraint = match constraint {
                JoinConstraint::On(condition) => format!(" ON {}", self.expr(condition)?),
                JoinConstraint::Using(columns) => format!(" USING ({})", using(columns)?),
                // LEFT JOIN UNNEST(…) stands alone in GoogleSQL.
                JoinConstraint::None if unnest && keyword != "CROSS JOIN" => " ON TRUE".to_owned(),
                JoinConstraint::None if keyword == "CROSS JOIN" => String::new(),
                JoinConstraint::None => {
                    return Err(unsupported(join, &format!("{keyword} without ON or USING")));
                }
                JoinConstraint::Natural => return Err(unsupported(join, "NATURAL JOIN")),
            };
            printed.push_str(&format!(" {keyword} {relation}{constraint}"));
        }
        Ok(printed)
    }

    fn factor(&mut self, factor: &TableFactor, aliases: &mut Vec<String>) -> Printed {
        match factor {
            TableFactor::Table {
                name: table,
                alias,
                args,
                with_hints,
                version,
                with_ordinality,
                partitions,
                json_path,
                sample,
                index_hints,
            } => {
                if args.is_some() {
                    return Err(unsupported(factor, "a table function"));
                }
                if version.is_some() || sample.is_some() {
                    return Err(unsupported(factor, "FOR SYSTEM_TIME or TABLESAMPLE"));
                }
                if !with_hints.is_empty()
                    || *with_ordinality
                    || !partitions.is_empty()
                    || json_path.is_some()
                    || !index_hints.is_empty()
                {
                    return Err(unsupported(factor, "a hint or option of a table"));
                }
                let (printed, default) = self.table_name(table, aliases)?;
                let alias_printed = table_alias(factor, alias.as_ref())?;
                aliases
                    .push(alias.as_ref().map_or(default, |alias| alias.name.value.to_lowercase()));
                Ok(format!("{printed}{alias_printed}"))
            }
            TableFactor::Derived { lateral: false, subquery, alias, sample: None } => {
                let printed = format!("({})", self.query(subquery)?);
                let alias_printed = table_alias(factor, alias.as_ref())?;
                aliases.extend(alias.as_ref().map(|alias| alias.name.value.to_lowercase()));
                Ok(format!("{printed}{alias_printed}"))
            }
            TableFactor::UNNEST {
                alias,
                array_exprs,
                with_offset,
                with_offset_alias,
                with_ordinality: false,
            } => self.unnest(
                factor,
                alias.as_ref(),
                array_exprs,
                *with_offset,
                with_offset_alias.as_ref(),
            ),
            TableFactor::NestedJoin { table_with_joins, alias: None } => {
                let at = factor.span();
                let inner =
                    self.nested(at, |printer| printer.item_with_joins(table_with_joins, aliases))?;
                Ok(format!("({inner})"))
            }
            TableFactor::Pivot {
                table,
                aggregate_functions,
                value_column,
                value_source,
                default_on_null: None,
                alias,
            } => {
                let PivotValueSource::List(values) = value_source else {
                    return Err(unsupported(factor, "PIVOT over anything but a list of values"));
                };
                let source =
                    self.nested(factor.span(), |printer| printer.factor(table, aliases))?;
                self.pivot(
                    factor,
                    &source,
                    aggregate_functions,
                    value_column,
                    values,
                    alias.as_ref(),
                )
            }
            TableFactor::Function { .. } | TableFactor::TableFunction { .. } => {
                Err(unsupported(factor, "a table function"))
            }
            _ => Err(unsupported(factor, "this form of table")),
        }
    }

    /// A table's printed name and the alias that it has by itself.
    fn table_name(
        &mut self,
        table: &ObjectName,
        aliases: &[String],
    ) -> Result<(String, String), SqlError> {
        let at = table.span();
        let full = table.to_string().replace('`', "");
        let mut parts: Vec<String> = Vec::new();
        for part in &table.0 {
            let Some(ident) = part.as_ident() else {
                return Err(unsupported(table, "a function in a table's name"));
            };
            name(ident)?;
            parts.extend(ident.value.split('.').map(str::to_owned));
        }
        let refuse =
            |message: String, help: &str| Err(refusal(at, message, &full, Some(help.to_owned())));
        if parts.iter().any(|part| part.eq_ignore_ascii_case("information_schema")) {
            return refuse(
                "INFORMATION_SCHEMA is not supported".to_owned(),
                "name the table itself",
            );
        }
        if let [single] = &parts[..] {
            let lower = single.to_lowercase();
            if self.with_names.iter().any(|scope| scope.contains(&lower)) {
                return Ok((quote_name(single), lower));
            }
            if self.context.source == Source::ModelOutputs {
                if lower == MODEL_OUTPUTS {
                    self.table("", MODEL_OUTPUTS, at.start);
                    return Ok((quote_name(MODEL_OUTPUTS), lower));
                }
                return Err(unlisted(at, "table", single, std::iter::once(MODEL_OUTPUTS)));
            }
            return refuse(
                format!("expected dataset.table, found `{single}`"),
                "write the dataset, or define the name in WITH",
            );
        }
        if self.context.source == Source::ModelOutputs {
            return refuse(
                format!("post-processing reads `{MODEL_OUTPUTS}` only, found `{full}`"),
                "join other tables in features.sql",
            );
        }
        if let [first, _] = &parts[..]
            && aliases.contains(&first.to_lowercase())
        {
            return refuse(
                format!("expected a table, found the array `{full}`"),
                &format!("write UNNEST({full})"),
            );
        }
        // The project is dropped: a tenant's lake is one project.
        let ([dataset, table] | [_, dataset, table]) = &parts[..] else {
            return refuse(format!("expected dataset.table, found `{full}`"), "drop the rest");
        };
        if table.contains('*') {
            return refuse("a wildcard table is not supported".to_owned(), "use UNION ALL");
        }
        self.table(dataset, table, at.start);
        Ok((format!("{}.{}", quote_name(dataset), quote_name(table)), table.to_lowercase()))
    }

    /// `UNNEST(array) AS element WITH OFFSET AS position` as a lateral subquery.
    fn unnest(
        &mut self,
        factor: &TableFactor,
        alias: Option<&TableAlias>,
        arrays: &[Expr],
        with_offset: bool,
        offset_alias: Option<&Ident>,
    ) -> Printed {
        let [array] = arrays else {
            return Err(unsupported(factor, "UNNEST of several arrays"));
        };
        self.unnest_count += 1;
        let number = self.unnest_count;
        let element = match alias {
            None => quote_name(&format!("_element_{number}")),
            Some(alias) if alias.columns.is_empty() => {
                if let Some(elements) = self.elements.last_mut() {
                    elements.insert(alias.name.value.to_lowercase());
                }
                name(&alias.name)?
            }
            Some(_) => return Err(unsupported(factor, "a column list in an alias")),
        };
        let array = self.expr(array)?;
        let offset = match (with_offset, offset_alias) {
            (false, _) => String::new(),
            (true, alias) => {
                let alias = alias.map_or_else(|| Ok(quote_name("offset")), name)?;
                format!(", unnest(range(len({array}))) AS {alias}")
            }
        };
        Ok(format!("LATERAL (SELECT unnest({array}) AS {element}{offset}) AS \"_unnest_{number}\""))
    }

    /// DuckDB names pivoted columns `value_aggregate`, GoogleSQL `aggregate_value`.
    fn pivot(
        &mut self,
        factor: &TableFactor,
        source: &str,
        aggregates: &[ExprWithAlias],
        columns: &[Expr],
        values: &[ExprWithAlias],
        alias: Option<&TableAlias>,
    ) -> Printed {
        let [column] = columns else {
            return Err(unsupported(factor, "PIVOT over several columns"));
        };
        if aggregates.iter().any(|aggregate| aggregate.alias.is_none()) {
            return Err(refusal(
                factor.span(),
                "an aggregate in PIVOT needs an alias".to_owned(),
                "PIVOT",
                Some("write SUM(x) AS name".to_owned()),
            ));
        }
        let (mut inside, mut names) = (Vec::new(), Vec::new());
        for value in values {
            let Expr::Value(literal) = &value.expr else {
                return Err(unsupported(factor, "PIVOT over anything but string literals"));
            };
            let (Value::SingleQuotedString(text) | Value::DoubleQuotedString(text)) =
                &literal.value
            else {
                return Err(unsupported(factor, "PIVOT over anything but string literals"));
            };
            inside.push(quote_text(text));
            names.push((text, value.alias.as_ref().map_or(text, |alias| &alias.value)));
        }
        let mut functions = Vec::new();
        let mut renames = Vec::new();
        for aggregate in aggregates {
            let alias =
                aggregate.alias.as_ref().map(|alias| alias.value.clone()).unwrap_or_default();
            functions.push(format!("{} AS {}", self.expr(&aggregate.expr)?, quote_name(&alias)));
            renames.extend(names.iter().map(|(value, shown)| {
                let (found, wanted) = (format!("{value}_{alias}"), format!("{alias}_{shown}"));
                format!("{} AS {}", quote_name(&found), quote_name(&wanted))
            }));
        }
        let alias = table_alias(factor, alias)?;
        Ok(format!(
            "(SELECT * RENAME ({}) FROM {source} PIVOT ({} FOR {} IN ({}))){alias}",
            renames.join(", "),
            functions.join(", "),
            self.expr(column)?,
            inside.join(", ")
        ))
    }
}

fn table_alias(factor: &TableFactor, alias: Option<&TableAlias>) -> Printed {
    match alias {
        None => Ok(String::new()),
        Some(TableAlias { name: alias, columns, at: None, .. }) if columns.is_empty() => {
            Ok(format!(" AS {}", name(alias)?))
        }
        Some(_) => Err(unsupported(factor, "a column list in an alias")),
    }
}

fn using(columns: &[ObjectName]) -> Printed {
    let columns = columns.iter().map(|column| match &column.0[..] {
        [part] => part.as_ident().map_or_else(|| Err(unsupported(column, "USING of this")), name),
        _ => Err(unsupported(column, "USING of a qualified column")),
    });
    Ok(columns.collect::<Result<Vec<_>, _>>()?.join(", "))
}
