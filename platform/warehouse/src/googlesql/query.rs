//! Queries, their clauses and what they give.

use std::collections::HashSet;

use sqlparser::ast::{
    Distinct, ExceptSelectItem, Expr, GroupByExpr, LimitClause, NamedWindowDefinition,
    NamedWindowExpr, OrderBy, OrderByExpr, OrderByKind, OrderBySort, Query, Select, SelectFlavor,
    SelectItem, SelectItemQualifiedWildcardKind, SetExpr, SetOperator, SetQuantifier, Spanned,
    TableFactor, Value, WildcardAdditionalOptions, With,
};

use super::{
    OutputColumn, SqlError,
    printer::{Printed, Printer, name, refusal, unsupported},
};
use crate::engine::quote_name;

impl Printer<'_> {
    /// A query with everything around its SELECT.
    pub(super) fn query(&mut self, query: &Query) -> Printed {
        self.nested(query.span(), |printer| {
            printer.with_names.push(HashSet::new());
            let printed = printer.query_in_scope(query);
            printer.with_names.pop();
            printed
        })
    }

    fn query_in_scope(&mut self, query: &Query) -> Printed {
        let Query {
            with,
            body,
            order_by,
            limit_clause,
            fetch,
            locks,
            for_clause,
            settings,
            format_clause,
            pipe_operators,
        } = query;
        if fetch.is_some() || !locks.is_empty() || for_clause.is_some() {
            return Err(unsupported(query, "FETCH or FOR"));
        }
        if settings.is_some() || format_clause.is_some() {
            return Err(unsupported(query, "SETTINGS or FORMAT"));
        }
        if !pipe_operators.is_empty() {
            return Err(unsupported(query, "pipe syntax (|>)"));
        }
        let mut printed = String::new();
        if let Some(with) = with {
            printed.push_str(&self.with(with)?);
        }
        printed.push_str(&self.body(body)?);
        if let Some(OrderBy { kind, interpolate }) = order_by {
            let OrderByKind::Expressions(keys) = kind else {
                return Err(unsupported(query, "ORDER BY ALL"));
            };
            if interpolate.is_some() {
                return Err(unsupported(query, "INTERPOLATE"));
            }
            printed.push_str(" ORDER BY ");
            printed.push_str(&self.sort_keys(keys)?);
        }
        if let Some(limit) = limit_clause {
            printed.push_str(&limits(query, limit)?);
        }
        Ok(printed)
    }

    fn with(&mut self, with: &With) -> Printed {
        if with.recursive {
            return Err(unsupported(with, "WITH RECURSIVE"));
        }
        let mut parts = Vec::new();
        for cte in &with.cte_tables {
            if cte.from.is_some() || cte.materialized.is_some() || !cte.alias.columns.is_empty() {
                return Err(unsupported(cte, "a column list or MATERIALIZED in WITH"));
            }
            let query = self.query(&cte.query)?;
            parts.push(format!("{} AS ({query})", name(&cte.alias.name)?));
            if let Some(scope) = self.with_names.last_mut() {
                scope.insert(cte.alias.name.value.to_lowercase());
            }
        }
        Ok(format!("WITH {} ", parts.join(", ")))
    }

    fn body(&mut self, body: &SetExpr) -> Printed {
        match body {
            SetExpr::Select(select) => {
                self.elements.push(HashSet::new());
                let printed = self.select(select);
                self.elements.pop();
                printed
            }
            SetExpr::Query(query) => Ok(format!("({})", self.query(query)?)),
            SetExpr::SetOperation { left, op, set_quantifier, right } => {
                let operator = match (op, set_quantifier) {
                    (SetOperator::Union, SetQuantifier::All) => "UNION ALL",
                    (SetOperator::Union, SetQuantifier::Distinct) => "UNION",
                    (SetOperator::Intersect, SetQuantifier::Distinct) => "INTERSECT",
                    (SetOperator::Except, SetQuantifier::Distinct) => "EXCEPT",
                    _ => {
                        return Err(refusal(
                            body.span(),
                            format!("{op} {set_quantifier} is not supported"),
                            &op.to_string(),
                            Some(
                                "expected UNION ALL, UNION DISTINCT, INTERSECT DISTINCT or \
                                 EXCEPT DISTINCT"
                                    .to_owned(),
                            ),
                        ));
                    }
                };
                let (left, right) = self.nested(body.span(), |printer| {
                    Ok((printer.body(left)?, printer.body(right)?))
                })?;
                Ok(format!("{left} {operator} {right}"))
            }
            _ => Err(unsupported(body, "a statement other than SELECT")),
        }
    }

    fn select(&mut self, select: &Select) -> Printed {
        refuse_foreign_clauses(select)?;
        // FROM first: it says which names are elements of an UNNEST.
        let from = self.from(&select.from)?;
        let unnests = select.from.iter().any(|item| {
            std::iter::once(&item.relation)
                .chain(item.joins.iter().map(|join| &join.relation))
                .any(|factor| matches!(factor, TableFactor::UNNEST { .. }))
        });
        let mut printed = "SELECT ".to_owned();
        match &select.distinct {
            None | Some(Distinct::All) => {}
            Some(Distinct::Distinct) => printed.push_str("DISTINCT "),
            Some(Distinct::On(_)) => return Err(unsupported(select, "DISTINCT ON")),
        }
        let mut items = Vec::new();
        let mut unnamed = 0;
        for item in &select.projection {
            items.push(self.item(item, unnests, &mut unnamed)?);
        }
        printed.push_str(&items.join(", "));
        if !from.is_empty() {
            printed.push_str(" FROM ");
            printed.push_str(&from);
        }
        if let Some(condition) = &select.selection {
            printed.push_str(&format!(" WHERE {}", self.expr(condition)?));
        }
        printed.push_str(&self.group_by(select)?);
        if let Some(condition) = &select.having {
            printed.push_str(&format!(" HAVING {}", self.expr(condition)?));
        }
        // DuckDB wants WINDOW before QUALIFY.
        printed.push_str(&self.named_windows(&select.named_window)?);
        if let Some(condition) = &select.qualify {
            printed.push_str(&format!(" QUALIFY {}", self.expr(condition)?));
        }
        Ok(printed)
    }

    fn group_by(&mut self, select: &Select) -> Printed {
        match &select.group_by {
            GroupByExpr::All(modifiers) if modifiers.is_empty() => Ok(" GROUP BY ALL".to_owned()),
            GroupByExpr::Expressions(keys, modifiers) if modifiers.is_empty() => {
                if keys.is_empty() {
                    return Ok(String::new());
                }
                let keys = keys.iter().map(|key| self.expr(key)).collect::<Result<Vec<_>, _>>()?;
                Ok(format!(" GROUP BY {}", keys.join(", ")))
            }
            _ => Err(unsupported(&select.group_by, "ROLLUP, CUBE or TOTALS")),
        }
    }

    fn named_windows(&mut self, windows: &[NamedWindowDefinition]) -> Printed {
        if windows.is_empty() {
            return Ok(String::new());
        }
        let windows = windows.iter().map(|NamedWindowDefinition(alias, window)| {
            let window = match window {
                NamedWindowExpr::NamedWindow(other) => name(other)?,
                NamedWindowExpr::WindowSpec(spec) => self.window(spec)?,
            };
            Ok(format!("{} AS {window}", name(alias)?))
        });
        Ok(format!(" WINDOW {}", windows.collect::<Result<Vec<_>, SqlError>>()?.join(", ")))
    }

    fn item(&mut self, item: &SelectItem, unnests: bool, unnamed: &mut usize) -> Printed {
        match item {
            SelectItem::ExprWithAlias { expr, alias } => {
                Ok(format!("{} AS {}", self.expr(expr)?, name(alias)?))
            }
            SelectItem::UnnamedExpr(expr) => {
                let alias = output_name(expr).unwrap_or_else(|| {
                    *unnamed += 1;
                    format!("f{}_", *unnamed - 1)
                });
                Ok(format!("{} AS {}", self.expr(expr)?, quote_name(&alias)))
            }
            SelectItem::Wildcard(options) => {
                if unnests {
                    return Err(refusal(
                        options.wildcard_token.0.span,
                        "* over UNNEST is not supported: BigQuery spreads a struct, DuckDB does not"
                            .to_owned(),
                        "*",
                        Some("name the columns".to_owned()),
                    ));
                }
                self.wildcard("*", options)
            }
            SelectItem::QualifiedWildcard(
                SelectItemQualifiedWildcardKind::ObjectName(table),
                options,
            ) => {
                let parts = table.0.iter().filter_map(|part| part.as_ident()).collect::<Vec<_>>();
                let [alias] = parts[..] else {
                    return Err(unsupported(item, "* of more than a table alias"));
                };
                let element = alias.value.to_lowercase();
                if self.elements.last().is_some_and(|elements| elements.contains(&element)) {
                    return Err(unsupported(item, "* of an UNNEST element"));
                }
                self.wildcard(&format!("{}.*", name(alias)?), options)
            }
            _ => Err(unsupported(item, "this form of SELECT item")),
        }
    }

    fn wildcard(&mut self, star: &str, options: &WildcardAdditionalOptions) -> Printed {
        let WildcardAdditionalOptions {
            wildcard_token: _,
            opt_ilike,
            opt_exclude,
            opt_except,
            opt_replace,
            opt_rename,
            opt_alias,
        } = options;
        if opt_ilike.is_some()
            || opt_exclude.is_some()
            || opt_rename.is_some()
            || opt_alias.is_some()
        {
            return Err(unsupported(options, "* with anything but EXCEPT and REPLACE"));
        }
        let mut printed = star.to_owned();
        if let Some(ExceptSelectItem { first_element, additional_elements }) = opt_except {
            let names = std::iter::once(first_element).chain(additional_elements).map(name);
            let names = names.collect::<Result<Vec<_>, _>>()?;
            printed.push_str(&format!(" EXCLUDE ({})", names.join(", ")));
        }
        if let Some(replace) = opt_replace {
            let items = replace.items.iter().map(|item| {
                Ok(format!("{} AS {}", self.expr(&item.expr)?, name(&item.column_name)?))
            });
            let items = items.collect::<Result<Vec<_>, SqlError>>()?;
            printed.push_str(&format!(" REPLACE ({})", items.join(", ")));
        }
        Ok(printed)
    }

    /// Sort keys with the place of NULLs written out: GoogleSQL puts them first when it sorts
    /// ascending and last when it sorts descending, DuckDB always last.
    pub(super) fn sort_keys(&mut self, keys: &[OrderByExpr]) -> Printed {
        let keys = keys.iter().map(|key| {
            if key.with_fill.is_some() {
                return Err(unsupported(key, "WITH FILL"));
            }
            let descending = match &key.options.sort {
                None | Some(OrderBySort::Asc) => false,
                Some(OrderBySort::Desc) => true,
                Some(OrderBySort::Using(_)) => return Err(unsupported(key, "ORDER BY … USING")),
            };
            let nulls_first = key.options.nulls_first.unwrap_or(!descending);
            Ok(format!(
                "{} {} NULLS {}",
                self.expr(&key.expr)?,
                if descending { "DESC" } else { "ASC" },
                if nulls_first { "FIRST" } else { "LAST" }
            ))
        });
        Ok(keys.collect::<Result<Vec<_>, SqlError>>()?.join(", "))
    }
}

/// Clauses of other dialects that the parser would accept.
fn refuse_foreign_clauses(select: &Select) -> Result<(), SqlError> {
    let foreign = [
        (!select.optimizer_hints.is_empty(), "an optimizer hint"),
        (select.select_modifiers.is_some(), "a SELECT modifier"),
        (select.top.is_some(), "TOP"),
        (select.exclude.is_some(), "EXCLUDE"),
        (select.into.is_some(), "INTO"),
        (!select.lateral_views.is_empty(), "LATERAL VIEW"),
        (select.prewhere.is_some(), "PREWHERE"),
        (!select.connect_by.is_empty(), "CONNECT BY"),
        (!select.cluster_by.is_empty(), "CLUSTER BY"),
        (!select.distribute_by.is_empty(), "DISTRIBUTE BY"),
        (!select.sort_by.is_empty(), "SORT BY"),
        (select.value_table_mode.is_some(), "SELECT AS STRUCT or AS VALUE"),
        (select.flavor != SelectFlavor::Standard, "a query that begins with FROM"),
    ];
    match foreign.into_iter().find(|(present, _)| *present) {
        Some((_, what)) => Err(unsupported(select, what)),
        None => Ok(()),
    }
}

fn limits(query: &Query, limit: &LimitClause) -> Printed {
    let LimitClause::LimitOffset { limit, offset, limit_by } = limit else {
        return Err(unsupported(query, "LIMIT offset, count"));
    };
    if !limit_by.is_empty() {
        return Err(unsupported(query, "LIMIT BY"));
    }
    let mut printed = String::new();
    for (keyword, value) in
        [("LIMIT", limit.as_ref()), ("OFFSET", offset.as_ref().map(|offset| &offset.value))]
    {
        if let Some(value) = value {
            let Some(count) = whole_number(value) else {
                return Err(unsupported(value, "LIMIT or OFFSET other than a whole number"));
            };
            printed.push_str(&format!(" {keyword} {count}"));
        }
    }
    Ok(printed)
}

/// The value of a literal that is a whole number.
pub(super) fn whole_number(expr: &Expr) -> Option<u64> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, false) => digits.parse().ok(),
            _ => None,
        },
        _ => None,
    }
}

/// The name that an expression without alias gives its column.
fn output_name(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Identifier(ident) => Some(ident.value.clone()),
        Expr::CompoundIdentifier(parts) => parts.last().map(|ident| ident.value.clone()),
        Expr::CompoundFieldAccess { access_chain, .. } => match access_chain.last() {
            Some(sqlparser::ast::AccessExpr::Dot(Expr::Identifier(field))) => {
                Some(field.value.clone())
            }
            _ => None,
        },
        _ => None,
    }
}

/// Names and places of a query's output columns, unless a `*` hides them.
pub(super) fn output_columns(query: &Query) -> Result<Option<Vec<OutputColumn>>, SqlError> {
    let mut body = &*query.body;
    let select = loop {
        match body {
            SetExpr::Select(select) => break select,
            SetExpr::Query(query) => body = &query.body,
            SetExpr::SetOperation { left, .. } => body = left,
            _ => return Ok(None),
        }
    };
    let mut columns: Vec<OutputColumn> = Vec::new();
    let mut unnamed = 0;
    for item in &select.projection {
        let (found, span) = match item {
            SelectItem::ExprWithAlias { alias, .. } => (Some(alias.value.clone()), alias.span),
            SelectItem::UnnamedExpr(expr) => (output_name(expr), expr.span()),
            _ => return Ok(None),
        };
        let column = found.unwrap_or_else(|| {
            unnamed += 1;
            format!("f{}_", unnamed - 1)
        });
        if columns.iter().any(|known| known.name.eq_ignore_ascii_case(&column)) {
            return Err(refusal(
                span,
                format!("output column `{column}` occurs twice"),
                &column,
                Some("give one of them another alias".to_owned()),
            ));
        }
        columns.push(OutputColumn {
            name: column,
            line: usize::try_from(span.start.line).unwrap_or(0),
            column: usize::try_from(span.start.column).unwrap_or(0),
        });
    }
    Ok(Some(columns))
}
