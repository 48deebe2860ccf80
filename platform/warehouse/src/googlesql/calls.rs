//! Function calls: their arguments, their clauses, their windows.

use sqlparser::{
    ast::{
        DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
        FunctionArguments, HavingBound, HavingBoundKind, NullTreatment, OrderByExpr, Spanned,
        WindowFrameBound, WindowFrameUnits, WindowSpec, WindowType,
    },
    tokenizer::Span,
};

use super::{
    SqlError,
    catalog::{self, FUNCTIONS, Form},
    dates::{self, Part},
    printer::{Printed, Printer, name, refusal, unlisted},
    query::whole_number,
};
use crate::engine::quote_text;

/// Most quantiles of APPROX_QUANTILES.
const QUANTILES_MAX: u64 = 1_000;

/// What a caller meant by a function that is not on the list.
const HINTS: [(&str, &str); 9] = [
    ("CURRENT_DATE", "use @run_date, so that a repeated run gives the same"),
    ("CURRENT_TIMESTAMP", "use @run_time, so that a repeated run gives the same"),
    ("CURRENT_DATETIME", "use @run_time, so that a repeated run gives the same"),
    ("RAND", "a run must give the same when it is repeated"),
    ("GENERATE_UUID", "a run must give the same when it is repeated"),
    ("FARM_FINGERPRINT", "use TO_HEX(SHA256(x)) to split by a hash"),
    ("SHA256", "write TO_HEX(SHA256(x))"),
    ("MD5", "write TO_HEX(MD5(x))"),
    ("SHA1", "write TO_HEX(SHA1(x))"),
];

/// A call, taken apart.
pub(super) struct Call<'f> {
    pub(super) name: String,
    pub(super) at: Span,
    args: Vec<Expr>,
    star: bool,
    distinct: bool,
    ignore_nulls: bool,
    order_by: &'f [OrderByExpr],
    limit: Option<u64>,
    having: Option<&'f HavingBound>,
    over: Option<&'f WindowType>,
}

pub(super) fn is_named(function: &Function, wanted: &str) -> bool {
    function.name.to_string().eq_ignore_ascii_case(wanted)
}

impl<'f> Call<'f> {
    fn parse(function: &'f Function) -> Result<Self, SqlError> {
        let at = function.name.span();
        let mut call = Self {
            name: function.name.to_string().to_uppercase(),
            at,
            args: Vec::new(),
            star: false,
            distinct: false,
            ignore_nulls: false,
            order_by: &[],
            limit: None,
            having: None,
            over: function.over.as_ref(),
        };
        if function.uses_odbc_syntax
            || !matches!(function.parameters, FunctionArguments::None)
            || !function.within_group.is_empty()
            || function.filter.is_some()
        {
            return Err(call.refuse("FILTER, WITHIN GROUP or parameters of a function"));
        }
        call.nulls(function.null_treatment);
        let FunctionArguments::List(list) = &function.args else {
            return match function.args {
                FunctionArguments::None => Ok(call),
                _ => Err(call.refuse("a subquery as the argument of a function")),
            };
        };
        call.distinct = list.duplicate_treatment == Some(DuplicateTreatment::Distinct);
        for arg in &list.args {
            match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => {
                    let expr = call.hoisted(expr);
                    call.args.push(expr);
                }
                FunctionArg::Unnamed(FunctionArgExpr::Wildcard) => call.star = true,
                _ => return Err(call.refuse("a named argument")),
            }
        }
        for clause in &list.clauses {
            match clause {
                FunctionArgumentClause::IgnoreOrRespectNulls(nulls) => call.nulls(Some(*nulls)),
                FunctionArgumentClause::OrderBy(keys) => call.order_by = keys,
                FunctionArgumentClause::Limit(limit) => {
                    let count = whole_number(limit);
                    call.limit = Some(
                        count.ok_or_else(|| call.refuse("a LIMIT other than a whole number"))?,
                    );
                }
                FunctionArgumentClause::Having(bound) => call.having = Some(bound),
                _ => return Err(call.refuse("this clause in a function")),
            }
        }
        Ok(call)
    }

    /// The parser gives the `IGNORE NULLS` of `LAST_VALUE(F(x) IGNORE NULLS)` to F: take it back.
    fn hoisted(&mut self, expr: &Expr) -> Expr {
        let mut expr = expr.clone();
        if let Expr::Function(inner) = &mut expr
            && inner.over.is_none()
            && let Some(nulls) = inner.null_treatment.take()
        {
            self.nulls(Some(nulls));
        }
        expr
    }

    fn nulls(&mut self, nulls: Option<NullTreatment>) {
        self.ignore_nulls |= nulls == Some(NullTreatment::IgnoreNulls);
    }

    fn refuse(&self, what: &str) -> SqlError {
        refusal(self.at, format!("{what} is not supported in {}", self.name), &self.name, None)
    }

    /// Refuses what only some aggregates take.
    fn plain(&self) -> Result<(), SqlError> {
        let extra = [
            (self.star, "*"),
            (self.distinct, "DISTINCT"),
            (self.ignore_nulls, "IGNORE NULLS"),
            (!self.order_by.is_empty(), "ORDER BY"),
            (self.limit.is_some(), "LIMIT"),
            (self.having.is_some(), "HAVING"),
            (self.over.is_some(), "OVER"),
        ];
        match extra.into_iter().find(|(present, _)| *present) {
            Some((_, what)) => Err(self.refuse(what)),
            None => Ok(()),
        }
    }

    fn count(&self, min: usize, max: usize) -> Result<(), SqlError> {
        if (min..=max).contains(&self.args.len()) {
            return Ok(());
        }
        let expected = if min == max { min.to_string() } else { format!("{min} to {max}") };
        let message =
            format!("{} takes {expected} argument(s), found {}", self.name, self.args.len());
        Err(refusal(self.at, message, &self.name, None))
    }

    fn scalar(&self, min: usize, max: usize) -> Result<(), SqlError> {
        self.plain()?;
        self.count(min, max)
    }

    /// An aggregate's bare arguments, whatever window it stands over.
    fn aggregate(&self, count: usize, distinct: bool) -> Result<(), SqlError> {
        let bare = Call {
            over: None,
            distinct: self.distinct && !distinct,
            args: Vec::new(),
            name: self.name.clone(),
            ..*self
        };
        bare.plain()?;
        self.count(count, count)
    }
}

impl Printer<'_> {
    pub(super) fn function(&mut self, function: &Function) -> Printed {
        let call = Call::parse(function)?;
        let Some(entry) = catalog::find(&call.name) else {
            let mut refused =
                unlisted(call.at, "function", &call.name, FUNCTIONS.iter().map(|entry| entry.name));
            if let Some((_, hint)) = HINTS.iter().find(|(name, _)| *name == call.name) {
                refused.help = Some((*hint).to_owned());
            } else if !refused.help.as_ref().is_some_and(|help| help.starts_with("did you mean")) {
                refused.help = Some("docs/googlesql.md lists what is supported".to_owned());
            }
            return Err(refused);
        };
        match entry.form {
            Form::Text(template, min, max) => {
                call.scalar(min, max)?;
                let mut printed = template.to_owned();
                // From the last: an argument's own text may contain braces.
                let args = self.exprs(&call.args)?;
                let mut result = String::new();
                while let Some(open) = printed.find('{') {
                    let index = printed[open + 1..=open + 1].parse::<usize>().unwrap_or_default();
                    result.push_str(&printed[..open]);
                    result.push_str(args.get(index).map_or("", String::as_str));
                    printed = printed.split_off(open + 3);
                }
                Ok(result + &printed)
            }
            Form::Aggregate(duckdb, count, distinct) => {
                call.aggregate(count, distinct)?;
                let args = self.exprs(&call.args)?.join(", ");
                let distinct = if call.distinct { "DISTINCT " } else { "" };
                self.over(&call, format!("{duckdb}({distinct}{args})"))
            }
            Form::Window(duckdb, min, max, nulls) => {
                call.count(min, max)?;
                let bare = Call {
                    over: None,
                    ignore_nulls: call.ignore_nulls && !nulls,
                    args: Vec::new(),
                    name: call.name.clone(),
                    ..call
                };
                bare.plain()?;
                if call.over.is_none() {
                    return Err(call.refuse("a call without OVER"));
                }
                let args = self.exprs(&call.args)?.join(", ");
                let nulls = if call.ignore_nulls { " IGNORE NULLS" } else { "" };
                self.over(&call, format!("{duckdb}({args}{nulls})"))
            }
            Form::Own(print) => print(self, &call),
        }
    }

    fn over(&mut self, call: &Call<'_>, printed: String) -> Printed {
        Ok(match call.over {
            None => printed,
            Some(WindowType::NamedWindow(window)) => format!("{printed} OVER {}", name(window)?),
            Some(WindowType::WindowSpec(window)) => {
                format!("{printed} OVER {}", self.window(window)?)
            }
        })
    }

    pub(super) fn window(&mut self, window: &WindowSpec) -> Printed {
        let mut parts = Vec::new();
        if let Some(base) = &window.window_name {
            parts.push(name(base)?);
        }
        if !window.partition_by.is_empty() {
            parts.push(format!("PARTITION BY {}", self.exprs(&window.partition_by)?.join(", ")));
        }
        if !window.order_by.is_empty() {
            parts.push(format!("ORDER BY {}", self.sort_keys(&window.order_by)?));
        }
        if let Some(frame) = &window.window_frame {
            let units = match frame.units {
                WindowFrameUnits::Rows => "ROWS",
                WindowFrameUnits::Range => "RANGE",
                WindowFrameUnits::Groups => {
                    let at = window.order_by.first().map_or_else(Span::empty, Spanned::span);
                    return Err(refusal(
                        at,
                        "a GROUPS frame is not supported".to_owned(),
                        "GROUPS",
                        None,
                    ));
                }
            };
            let start = self.bound(&frame.start_bound)?;
            parts.push(match &frame.end_bound {
                None => format!("{units} {start}"),
                Some(end) => format!("{units} BETWEEN {start} AND {}", self.bound(end)?),
            });
        }
        Ok(format!("({})", parts.join(" ")))
    }

    fn bound(&mut self, bound: &WindowFrameBound) -> Printed {
        Ok(match bound {
            WindowFrameBound::CurrentRow => "CURRENT ROW".to_owned(),
            WindowFrameBound::Preceding(None) => "UNBOUNDED PRECEDING".to_owned(),
            WindowFrameBound::Following(None) => "UNBOUNDED FOLLOWING".to_owned(),
            WindowFrameBound::Preceding(Some(count)) => format!("{} PRECEDING", self.expr(count)?),
            WindowFrameBound::Following(Some(count)) => format!("{} FOLLOWING", self.expr(count)?),
        })
    }

    /// `APPROX_QUANTILES(x, n)[OFFSET(k)]`: the one quantile that is asked for.
    pub(super) fn approx_quantile(&mut self, function: &Function, index: &Expr) -> Printed {
        let call = Call::parse(function)?;
        let (x, count) = self.quantile_arguments(&call)?;
        let (how, position) = position(index)?;
        let wanted = whole_number(&position).filter(|_| how.ends_with("OFFSET"));
        match wanted {
            Some(wanted) if wanted <= count => {
                Ok(format!("quantile_disc({x}, {})", wanted as f64 / count as f64))
            }
            _ => Err(call.refuse(&format!("an index other than OFFSET(0) to OFFSET({count})"))),
        }
    }

    fn quantile_arguments(&mut self, call: &Call<'_>) -> Result<(String, u64), SqlError> {
        let bare = Call { ignore_nulls: false, args: Vec::new(), name: call.name.clone(), ..*call };
        bare.plain()?;
        call.count(2, 2)?;
        let count = whole_number(&call.args[1]).filter(|count| (1..=QUANTILES_MAX).contains(count));
        let count = count.ok_or_else(|| call.refuse("a number of quantiles beyond 1 to 1000"))?;
        Ok((self.expr(&call.args[0])?, count))
    }
}

/// `OFFSET(i)` and its relatives, taken apart.
pub(super) fn position(index: &Expr) -> Result<(&'static str, Expr), SqlError> {
    if let Expr::Function(function) = index {
        let call = Call::parse(function)?;
        for how in ["OFFSET", "ORDINAL", "SAFE_OFFSET", "SAFE_ORDINAL"] {
            if call.name == how {
                call.scalar(1, 1)?;
                return Ok((how, call.args[0].clone()));
            }
        }
    }
    Err(refusal(
        index.span(),
        "an array index without OFFSET or ORDINAL is not supported".to_owned(),
        "[]",
        Some("write [OFFSET(i)], which counts from 0, or [SAFE_OFFSET(i)]".to_owned()),
    ))
}

pub(super) fn count(printer: &mut Printer<'_>, call: &Call<'_>) -> Printed {
    if call.star && call.args.is_empty() && !call.distinct {
        let bare =
            Call { star: false, over: None, args: Vec::new(), name: call.name.clone(), ..*call };
        bare.plain()?;
        return printer.over(call, "count(*)".to_owned());
    }
    call.aggregate(1, true)?;
    let distinct = if call.distinct { "DISTINCT " } else { "" };
    let x = printer.expr(&call.args[0])?;
    printer.over(call, format!("count({distinct}{x})"))
}

pub(super) fn countif(printer: &mut Printer<'_>, call: &Call<'_>) -> Printed {
    call.aggregate(1, false)?;
    let condition = printer.expr(&call.args[0])?;
    printer.over(call, format!("count(*) FILTER (WHERE {condition})"))
}

pub(super) fn any_value(printer: &mut Printer<'_>, call: &Call<'_>) -> Printed {
    let bare = Call { having: None, args: call.args.clone(), name: call.name.clone(), ..*call };
    bare.aggregate(1, false)?;
    let x = printer.expr(&call.args[0])?;
    let printed = match call.having {
        None => format!("any_value({x})"),
        Some(HavingBound(kind, by)) => {
            let function = match kind {
                HavingBoundKind::Max => "arg_max_null",
                HavingBoundKind::Min => "arg_min_null",
            };
            format!("{function}({x}, {})", printer.expr(by)?)
        }
    };
    printer.over(call, printed)
}

pub(super) fn array_agg(printer: &mut Printer<'_>, call: &Call<'_>) -> Printed {
    call.count(1, 1)?;
    if call.star || call.having.is_some() {
        return Err(call.refuse("* or HAVING"));
    }
    let x = printer.expr(&call.args[0])?;
    let distinct = if call.distinct { "DISTINCT " } else { "" };
    let mut printed = format!("list({distinct}{x}");
    if !call.order_by.is_empty() {
        printed.push_str(&format!(" ORDER BY {}", printer.sort_keys(call.order_by)?));
    }
    printed.push(')');
    if call.ignore_nulls {
        printed.push_str(&format!(" FILTER (WHERE {x} IS NOT NULL)"));
    }
    let printed = printer.over(call, printed)?;
    Ok(match call.limit {
        None => printed,
        Some(limit) => format!("list_slice({printed}, 1, {limit})"),
    })
}

pub(super) fn string_agg(printer: &mut Printer<'_>, call: &Call<'_>) -> Printed {
    call.count(1, 2)?;
    if call.star || call.having.is_some() || call.limit.is_some() || call.ignore_nulls {
        return Err(call.refuse("*, HAVING, LIMIT or IGNORE NULLS"));
    }
    let x = printer.expr(&call.args[0])?;
    let delimiter = call.args.get(1).map_or(Ok("','".to_owned()), |arg| printer.expr(arg))?;
    let distinct = if call.distinct { "DISTINCT " } else { "" };
    let mut printed = format!("string_agg({distinct}{x}, {delimiter}");
    if !call.order_by.is_empty() {
        printed.push_str(&format!(" ORDER BY {}", printer.sort_keys(call.order_by)?));
    }
    printed.push(')');
    printer.over(call, printed)
}

pub(super) fn approx_count_distinct(printer: &mut Printer<'_>, call: &Call<'_>) -> Printed {
    call.aggregate(1, false)?;
    let x = printer.expr(&call.args[0])?;
    printer.over(call, format!("count(DISTINCT {x})"))
}

pub(super) fn approx_quantiles(printer: &mut Printer<'_>, call: &Call<'_>) -> Printed {
    let (x, count) = printer.quantile_arguments(call)?;
    let shares = (0..=count).map(|index| (index as f64 / count as f64).to_string());
    Ok(format!("quantile_disc({x}, [{}])", shares.collect::<Vec<_>>().join(", ")))
}

fn percentile(printer: &mut Printer<'_>, call: &Call<'_>, function: &str, cast: bool) -> Printed {
    call.aggregate(2, false)?;
    if call.over.is_none() {
        return Err(call.refuse("a call without OVER"));
    }
    let x = printer.expr(&call.args[0])?;
    let x = if cast { format!("CAST({x} AS DOUBLE)") } else { x };
    let share = printer.expr(&call.args[1])?;
    printer.over(call, format!("{function}({x}, {share})"))
}

pub(super) fn percentile_cont(printer: &mut Printer<'_>, call: &Call<'_>) -> Printed {
    percentile(printer, call, "quantile_cont", true)
}

pub(super) fn percentile_disc(printer: &mut Printer<'_>, call: &Call<'_>) -> Printed {
    percentile(printer, call, "quantile_disc", false)
}

pub(super) fn coalesce(printer: &mut Printer<'_>, call: &Call<'_>) -> Printed {
    call.scalar(1, usize::MAX)?;
    Ok(format!("coalesce({})", printer.exprs(&call.args)?.join(", ")))
}

/// DuckDB leaves NULL arguments out; in GoogleSQL one makes the result NULL.
fn extreme(printer: &mut Printer<'_>, call: &Call<'_>, function: &str) -> Printed {
    call.scalar(1, usize::MAX)?;
    let args = printer.exprs(&call.args)?;
    let nulls = call.args.iter().zip(&args).filter(|(arg, _)| whole_number(arg).is_none());
    let nulls = nulls.map(|(_, arg)| format!("{arg} IS NULL")).collect::<Vec<_>>();
    let extreme = format!("{function}({})", args.join(", "));
    if nulls.is_empty() {
        return Ok(extreme);
    }
    Ok(format!("CASE WHEN {} THEN NULL ELSE {extreme} END", nulls.join(" OR ")))
}

pub(super) fn greatest(printer: &mut Printer<'_>, call: &Call<'_>) -> Printed {
    extreme(printer, call, "greatest")
}

pub(super) fn least(printer: &mut Printer<'_>, call: &Call<'_>) -> Printed {
    extreme(printer, call, "least")
}

pub(super) fn round(printer: &mut Printer<'_>, call: &Call<'_>) -> Printed {
    call.scalar(1, 2)?;
    let x = printer.expr(&call.args[0])?;
    match call.args.get(1) {
        None => Ok(format!("round(CAST({x} AS DOUBLE))")),
        Some(digits) => {
            Ok(format!("round(CAST({x} AS DOUBLE), CAST({} AS INTEGER))", printer.expr(digits)?))
        }
    }
}

pub(super) fn log(printer: &mut Printer<'_>, call: &Call<'_>) -> Printed {
    call.scalar(1, 2)?;
    let args = printer.exprs(&call.args)?;
    let logs = args.iter().map(|arg| format!("ln(CAST({arg} AS DOUBLE))")).collect::<Vec<_>>();
    Ok(format!("({})", logs.join(" / ")))
}

/// DuckDB's concat() leaves NULLs out.
pub(super) fn concat(printer: &mut Printer<'_>, call: &Call<'_>) -> Printed {
    call.scalar(1, usize::MAX)?;
    Ok(format!("({})", printer.exprs(&call.args)?.join(" || ")))
}

pub(super) fn trim(printer: &mut Printer<'_>, call: &Call<'_>) -> Printed {
    call.scalar(1, 2)?;
    let text = printer.expr(&call.args[0])?;
    printer.trim(&call.name.to_lowercase(), &text, call.args.get(1))
}

pub(super) fn substr(printer: &mut Printer<'_>, call: &Call<'_>) -> Printed {
    call.scalar(2, 3)?;
    let args = printer.exprs(&call.args)?;
    Ok(format!("bq_substr{}({})", args.len(), args.join(", ")))
}

pub(super) fn split(printer: &mut Printer<'_>, call: &Call<'_>) -> Printed {
    call.scalar(1, 2)?;
    let delimiter = call.args.get(1).map_or(Some(","), dates::string);
    let delimiter = delimiter.filter(|text| !text.is_empty());
    let delimiter =
        delimiter.ok_or_else(|| call.refuse("a delimiter that is no literal or empty"))?;
    Ok(format!("string_split({}, {})", printer.expr(&call.args[0])?, quote_text(delimiter)))
}

pub(super) fn regexp_extract(printer: &mut Printer<'_>, call: &Call<'_>) -> Printed {
    call.scalar(2, 2)?;
    let pattern = dates::string(&call.args[1]);
    let pattern = pattern.ok_or_else(|| call.refuse("a pattern that is no literal"))?;
    let group = match groups(pattern) {
        0 => 0,
        1 => 1,
        _ => {
            return Err(
                call.refuse("a pattern with more than one group; write (?:…) for the others")
            );
        }
    };
    let text = printer.expr(&call.args[0])?;
    Ok(format!("bq_regexp_extract({text}, {}, {group})", quote_text(pattern)))
}

/// Capturing groups of a pattern.
fn groups(pattern: &str) -> usize {
    let (mut count, mut in_class) = (0, false);
    let mut characters = pattern.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' => drop(characters.next()),
            '[' => in_class = true,
            ']' => in_class = false,
            '(' if !in_class => {
                let named = characters.peek() == Some(&'?') && {
                    let rest: String = characters.clone().take(3).collect();
                    rest.starts_with("?P<")
                        || (rest.starts_with("?<") && rest != "?<=" && rest != "?<!")
                };
                count += usize::from(characters.peek() != Some(&'?') || named);
            }
            _ => {}
        }
    }
    count
}

/// DuckDB's hash functions give hexadecimal text at once.
pub(super) fn to_hex(printer: &mut Printer<'_>, call: &Call<'_>) -> Printed {
    call.scalar(1, 1)?;
    if let Expr::Function(function) = &call.args[0] {
        for (hash, duckdb) in [("MD5", "md5"), ("SHA1", "sha1"), ("SHA256", "sha256")] {
            if is_named(function, hash) {
                let inner = Call::parse(function)?;
                inner.scalar(1, 1)?;
                return Ok(format!("{duckdb}({})", printer.expr(&inner.args[0])?));
            }
        }
    }
    Err(call.refuse("anything but MD5, SHA1 or SHA256"))
}

pub(super) fn date(printer: &mut Printer<'_>, call: &Call<'_>) -> Printed {
    call.scalar(1, 3)?;
    let x = printer.expr(&call.args[0])?;
    Ok(match &call.args[1..] {
        [] => format!("CAST({x} AS DATE)"),
        [zone] => format!("CAST({} AS DATE)", dates::local(&x, &dates::zone(zone)?)),
        [month, day, ..] => {
            format!("make_date({x}, {}, {})", printer.expr(month)?, printer.expr(day)?)
        }
    })
}

fn interval_of<'c>(call: &'c Call<'_>) -> Result<(&'c sqlparser::ast::Interval, Part), SqlError> {
    call.scalar(2, 2)?;
    let Expr::Interval(interval) = &call.args[1] else {
        return Err(call.refuse("anything but an INTERVAL as the second argument"));
    };
    let field = interval.leading_field.as_ref().map(ToString::to_string).unwrap_or_default();
    Ok((interval, Part::parse(call.args[1].span(), &field)?))
}

fn sign(call: &Call<'_>) -> &'static str {
    if call.name.ends_with("_SUB") { "-" } else { "+" }
}

pub(super) fn date_add(printer: &mut Printer<'_>, call: &Call<'_>) -> Printed {
    let (interval, part) = interval_of(call)?;
    if part.is_time() {
        return Err(call.refuse(&format!("the part {}", part.name())));
    }
    let (x, interval) = (printer.expr(&call.args[0])?, printer.interval(interval)?);
    Ok(format!("CAST(bq_date({x}) {} {interval} AS DATE)", sign(call)))
}

pub(super) fn timestamp_add(printer: &mut Printer<'_>, call: &Call<'_>) -> Printed {
    let (interval, part) = interval_of(call)?;
    part.microseconds(call.at)?;
    let (x, interval) = (printer.expr(&call.args[0])?, printer.interval(interval)?);
    Ok(format!("(bq_ts({x}) {} {interval})", sign(call)))
}

pub(super) fn date_diff(printer: &mut Printer<'_>, call: &Call<'_>) -> Printed {
    call.scalar(3, 3)?;
    let (a, b) = (printer.expr(&call.args[0])?, printer.expr(&call.args[1])?);
    let part = Part::argument(&call.args[2])?;
    Ok(match part {
        Part::Week(day) => format!("(bq_week(bq_date({a}), {day}) - bq_week(bq_date({b}), {day}))"),
        part if part.is_time() => return Err(call.refuse(&format!("the part {}", part.name()))),
        part => format!("date_diff('{}', bq_date({b}), bq_date({a}))", part.name().to_lowercase()),
    })
}

pub(super) fn timestamp_diff(printer: &mut Printer<'_>, call: &Call<'_>) -> Printed {
    call.scalar(3, 3)?;
    let unit = Part::argument(&call.args[2])?.microseconds(call.args[2].span())?;
    let (a, b) = (printer.expr(&call.args[0])?, printer.expr(&call.args[1])?);
    Ok(format!("bq_elapsed({a}, {b}, {unit})"))
}

pub(super) fn date_trunc(printer: &mut Printer<'_>, call: &Call<'_>) -> Printed {
    call.scalar(2, 2)?;
    let x = printer.expr(&call.args[0])?;
    Ok(match Part::argument(&call.args[1])? {
        Part::Week(day) => format!("bq_week_start(bq_date({x}), {day})"),
        part if part.is_time() => return Err(call.refuse(&format!("the part {}", part.name()))),
        part => format!("CAST(date_trunc('{}', bq_date({x})) AS DATE)", part.name().to_lowercase()),
    })
}

pub(super) fn timestamp_trunc(printer: &mut Printer<'_>, call: &Call<'_>) -> Printed {
    call.scalar(2, 2)?;
    let x = printer.expr(&call.args[0])?;
    Ok(match Part::argument(&call.args[1])? {
        Part::Week(day) => {
            format!("CAST(bq_week_start(CAST(bq_ts({x}) AS DATE), {day}) AS TIMESTAMP)")
        }
        part => {
            format!("CAST(date_trunc('{}', bq_ts({x})) AS TIMESTAMP)", part.name().to_lowercase())
        }
    })
}

pub(super) fn last_day(printer: &mut Printer<'_>, call: &Call<'_>) -> Printed {
    call.scalar(1, 2)?;
    if let Some(part) = call.args.get(1)
        && Part::argument(part)? != Part::Month
    {
        return Err(call.refuse("a part other than MONTH"));
    }
    Ok(format!("last_day(bq_date({}))", printer.expr(&call.args[0])?))
}

pub(super) fn format_date(printer: &mut Printer<'_>, call: &Call<'_>) -> Printed {
    call.scalar(2, 2)?;
    let format = dates::format(&call.args[0], false)?;
    Ok(format!("strftime(bq_date({}), {format})", printer.expr(&call.args[1])?))
}

pub(super) fn format_timestamp(printer: &mut Printer<'_>, call: &Call<'_>) -> Printed {
    call.scalar(2, 3)?;
    let format = dates::format(&call.args[0], false)?;
    let x = printer.expr(&call.args[1])?;
    let x = match call.args.get(2) {
        None => format!("bq_ts({x})"),
        Some(zone) => dates::local(&x, &dates::zone(zone)?),
    };
    Ok(format!("strftime({x}, {format})"))
}

pub(super) fn parse_date(printer: &mut Printer<'_>, call: &Call<'_>) -> Printed {
    call.scalar(2, 2)?;
    let format = dates::format(&call.args[0], true)?;
    Ok(format!("CAST(strptime({}, {format}) AS DATE)", printer.expr(&call.args[1])?))
}

pub(super) fn parse_timestamp(printer: &mut Printer<'_>, call: &Call<'_>) -> Printed {
    call.scalar(2, 2)?;
    let format = dates::format(&call.args[0], true)?;
    Ok(format!("strptime({}, {format})", printer.expr(&call.args[1])?))
}

pub(super) fn generate_date_array(printer: &mut Printer<'_>, call: &Call<'_>) -> Printed {
    call.scalar(2, 3)?;
    let (a, b) = (printer.expr(&call.args[0])?, printer.expr(&call.args[1])?);
    let (count, part) = match call.args.get(2) {
        None => (1, Part::Day),
        Some(Expr::Interval(interval)) => {
            let field =
                interval.leading_field.as_ref().map(ToString::to_string).unwrap_or_default();
            let count = whole_number(&interval.value).filter(|count| *count > 0);
            let count = count.ok_or_else(|| call.refuse("a step other than a positive number"))?;
            (count, Part::parse(call.at, &field)?)
        }
        Some(_) => return Err(call.refuse("a step that is no INTERVAL")),
    };
    let (unit, step) = match part {
        Part::Day => ("days", 1),
        Part::Week(0) => ("days", 7),
        Part::Month => ("months", 1),
        Part::Quarter => ("months", 3),
        Part::Year => ("months", 12),
        part => return Err(call.refuse(&format!("the part {}", part.name()))),
    };
    Ok(format!("bq_date_array_{unit}(bq_date({a}), bq_date({b}), {})", count * step))
}

pub(super) fn json_value(printer: &mut Printer<'_>, call: &Call<'_>) -> Printed {
    call.scalar(2, 2)?;
    let path = dates::string(&call.args[1]).filter(|path| is_plain_path(path));
    let path = path.ok_or_else(|| call.refuse("a path other than a literal like '$.a.b[0]'"))?;
    Ok(format!("bq_json_value({}, {})", printer.expr(&call.args[0])?, quote_text(path)))
}

fn is_plain_path(path: &str) -> bool {
    let Some(rest) = path.strip_prefix('$') else { return false };
    let keys = rest.replace('[', ".[");
    keys.split('.').skip(1).all(|key| match key.strip_prefix('[') {
        Some(index) => index
            .strip_suffix(']')
            .is_some_and(|digits| !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit())),
        None => !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'),
    }) && (rest.is_empty() || rest.starts_with(['.', '[']))
}
