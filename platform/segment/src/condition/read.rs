//! From the syntax tree to a typed condition: the allow-list.

use cameo_domain::DataType;
use sqlparser::ast::{
    BinaryOperator, CastKind, DataType as SqlType, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArguments, Ident, Spanned, TimezoneInfo, TypedString, UnaryOperator, Value,
};
use sqlparser::tokenizer::Location;

use super::{
    Catalog, Condition, ConditionError, DEPTH_MAX, Fault, Unnamed,
    catalog::nearest,
    literal, mistyped,
    node::{ColumnRef, Comparison, Literal, Node, Operation, Test},
    refusal,
};

const FUNCTIONS: [&str; 4] = ["COALESCE", "IFNULL", "LOWER", "UPPER"];

/// An operand with its type; `None` where a service has it of which nothing is known here.
pub(super) struct Typed {
    pub(super) node: Node,
    pub(super) kind: Option<DataType>,
    at: Location,
}

type Read<T = Typed> = Result<T, ConditionError>;

/// Reads a whole condition.
pub(super) fn condition(expression: &Expr, catalog: &Catalog) -> Read<Condition> {
    let mut reader = Reader { catalog, columns: Vec::new(), types: Vec::new(), depth: 0 };
    let root = reader.truth(expression)?;
    if reader.columns.is_empty() {
        let message = "expected a condition over predictions, found no column".to_owned();
        return Err(refusal(root.at, message, None));
    }
    Ok(Condition { root: root.node, columns: reader.columns, types: reader.types })
}

struct Reader<'a> {
    catalog: &'a Catalog,
    columns: Vec<ColumnRef>,
    types: Vec<Option<DataType>>,
    depth: usize,
}

impl Reader<'_> {
    /// An operand that is true or false.
    fn truth(&mut self, expression: &Expr) -> Read {
        let found = self.expression(expression)?;
        match found.kind {
            None | Some(DataType::Bool) => Ok(found),
            Some(other) => {
                let message = format!("expected a condition, found a value of type {other}");
                Err(mistyped(found.at, message, Some("compare it with something".to_owned())))
            }
        }
    }

    fn expression(&mut self, mut expression: &Expr) -> Read {
        // Brackets mean nothing by themselves, and the canonical text may have some that were not written.
        while let Expr::Nested(inner) = expression {
            expression = inner;
        }
        if self.depth == DEPTH_MAX {
            let message = format!("expected at most {DEPTH_MAX} levels of nesting");
            return Err(refusal(place(expression), message, None));
        }
        self.depth += 1;
        let read = self.nested(expression);
        self.depth -= 1;
        read
    }

    // One arm for each expression on the allow-list.
    #[allow(clippy::too_many_lines)]
    fn nested(&mut self, expression: &Expr) -> Read {
        let at = place(expression);
        let truth = |node| Ok(Typed { node, kind: Some(DataType::Bool), at });
        match expression {
            Expr::Identifier(name) => self.column(std::slice::from_ref(name), at),
            Expr::CompoundIdentifier(names) => self.column(names, at),
            Expr::Value(value) => constant(literal::read(&value.value, false), at),
            Expr::TypedString(text) => typed_string(text, at),
            Expr::UnaryOp { op: UnaryOperator::Not, expr } => {
                truth(Node::Not(Box::new(self.truth(expr)?.node)))
            }
            Expr::UnaryOp { op: UnaryOperator::Plus, expr } => self.number(expr),
            Expr::UnaryOp { op: UnaryOperator::Minus, expr } => self.negative(expr, at),
            Expr::BinaryOp { left, op: op @ (BinaryOperator::And | BinaryOperator::Or), right } => {
                truth(self.chain(left, op, right)?)
            }
            Expr::BinaryOp { left, op, right } => self.operator(left, op, right, at),
            Expr::IsNull(inner) => truth(self.is(inner, Test::Null, false)?),
            Expr::IsNotNull(inner) => truth(self.is(inner, Test::Null, true)?),
            Expr::IsTrue(inner) => truth(self.is(inner, Test::True, false)?),
            Expr::IsNotTrue(inner) => truth(self.is(inner, Test::True, true)?),
            Expr::IsFalse(inner) => truth(self.is(inner, Test::False, false)?),
            Expr::IsNotFalse(inner) => truth(self.is(inner, Test::False, true)?),
            Expr::Between { expr, negated, low, high } => {
                let three = [self.expression(expr)?, self.expression(low)?, self.expression(high)?];
                let ([value, low, high], kind) = alike(three)?;
                ordered(kind, at, "BETWEEN")?;
                let (value, low, high) =
                    (Box::new(value.node), Box::new(low.node), Box::new(high.node));
                truth(Node::Between { value, low, high, negated: *negated })
            }
            Expr::InList { expr, list, negated } => truth(self.list(expr, list, *negated)?),
            Expr::Like { negated, any: false, expr, pattern, escape_char: None } => {
                truth(self.like(expr, pattern, *negated)?)
            }
            Expr::Cast { kind: CastKind::Cast, expr, data_type, format: None } => {
                self.cast(expr, data_type, at)
            }
            Expr::Function(function) => self.function(function, at),
            Expr::ILike { .. } => {
                let help = Some("write LOWER(…) LIKE '…'".to_owned());
                Err(refusal(at, "ILIKE is not supported".to_owned(), help))
            }
            Expr::Subquery(_) | Expr::InSubquery { .. } | Expr::Exists { .. } => {
                let help = Some("name the columns of services as `service.column`".to_owned());
                Err(refusal(at, "a query inside of a condition is not supported".to_owned(), help))
            }
            other => Err(refusal(at, format!("`{other}` is not supported in conditions"), None)),
        }
    }

    fn column(&mut self, names: &[Ident], at: Location) -> Read {
        if let Some(quoted) =
            names.iter().find(|name| !matches!(name.quote_style, None | Some('`')))
        {
            let message = format!("expected a column, found the text '{}'", quoted.value);
            return Err(refusal(at, message, Some("quote names with backticks".to_owned())));
        }
        let parts: Vec<&str> = names.iter().map(|name| name.value.as_str()).collect();
        let found = self.catalog.find(&parts).map_err(|Unnamed { message, help }| {
            ConditionError { fault: Fault::Name, ..refusal(at, message, help) }
        })?;
        if let Some(position) = self.columns.iter().position(|known| *known == found.column) {
            return Ok(Typed { node: Node::Column(position), kind: self.types[position], at });
        }
        self.check_key(&found.column, at)?;
        self.columns.push(found.column);
        self.types.push(found.data_type);
        Ok(Typed { node: Node::Column(self.columns.len() - 1), kind: found.data_type, at })
    }

    /// Services are joined by customer, so all must name customers in the same way.
    fn check_key(&self, new: &ColumnRef, at: Location) -> Read<()> {
        let key = |column: &ColumnRef| Some(self.catalog.schema(&column.service)?.key().data_type);
        let Some(found) = key(new) else { return Ok(()) };
        let other = self.columns.iter().find(|other| key(other).is_some_and(|key| key != found));
        match other {
            None => Ok(()),
            Some(other) => Err(mistyped(
                at,
                format!(
                    "the customers of `{}` have keys of type {found}, those of `{}` of another: \
                     they cannot be joined",
                    new.service, other.service
                ),
                None,
            )),
        }
    }

    fn negative(&mut self, inner: &Expr, at: Location) -> Read {
        if let Expr::Value(value) = inner
            && matches!(value.value, Value::Number(..))
        {
            return constant(literal::read(&value.value, true), at);
        }
        let number = self.number(inner)?;
        let node = match number.node {
            Node::Literal(Literal::Float(value)) => Node::Literal(Literal::Float(-value)),
            other => Node::Negative(Box::new(other)),
        };
        Ok(Typed { node, kind: number.kind, at })
    }

    fn number(&mut self, expression: &Expr) -> Read {
        let found = self.expression(expression)?;
        match found.kind {
            None | Some(DataType::Int | DataType::Float64) => Ok(found),
            Some(other) => Err(mistyped(
                found.at,
                format!("expected a number, found a value of type {other}"),
                None,
            )),
        }
    }

    fn string(&mut self, expression: &Expr) -> Read {
        let found = self.expression(expression)?;
        match found.kind {
            None | Some(DataType::String) => Ok(found),
            Some(other) => Err(mistyped(
                found.at,
                format!("expected a text, found a value of type {other}"),
                None,
            )),
        }
    }

    /// `a AND b AND …`. The chain on the left is walked, not recursed into: it may be long.
    fn chain(&mut self, left: &Expr, op: &BinaryOperator, right: &Expr) -> Read<Node> {
        let (mut links, mut first) = (vec![right], left);
        while let Expr::BinaryOp { left, op: before, right } = first
            && before == op
        {
            links.push(right);
            first = left;
        }
        links.push(first);
        let mut nodes = Vec::with_capacity(links.len());
        for link in links.into_iter().rev() {
            match (self.truth(link)?.node, op) {
                (Node::And(inner), BinaryOperator::And) | (Node::Or(inner), BinaryOperator::Or) => {
                    nodes.extend(inner);
                }
                (node, _) => nodes.push(node),
            }
        }
        Ok(if *op == BinaryOperator::And { Node::And(nodes) } else { Node::Or(nodes) })
    }

    fn operator(&mut self, left: &Expr, op: &BinaryOperator, right: &Expr, at: Location) -> Read {
        let comparison = match op {
            BinaryOperator::Eq => Comparison::Equal,
            BinaryOperator::NotEq => Comparison::NotEqual,
            BinaryOperator::Lt => Comparison::Less,
            BinaryOperator::LtEq => Comparison::LessOrEqual,
            BinaryOperator::Gt => Comparison::Greater,
            BinaryOperator::GtEq => Comparison::GreaterOrEqual,
            BinaryOperator::Plus => return self.arithmetic(left, Operation::Add, right, at),
            BinaryOperator::Minus => return self.arithmetic(left, Operation::Subtract, right, at),
            BinaryOperator::Multiply => {
                return self.arithmetic(left, Operation::Multiply, right, at);
            }
            BinaryOperator::Divide => return self.arithmetic(left, Operation::Divide, right, at),
            other => {
                return Err(refusal(at, format!("the operator {other} is not supported"), None));
            }
        };
        let both = [self.expression(left)?, self.expression(right)?];
        let ([left, right], kind) = alike(both)?;
        if !matches!(comparison, Comparison::Equal | Comparison::NotEqual) {
            ordered(kind, at, comparison.sign())?;
        }
        let node = Node::Compare(comparison, Box::new(left.node), Box::new(right.node));
        Ok(Typed { node, kind: Some(DataType::Bool), at })
    }

    fn arithmetic(&mut self, left: &Expr, op: Operation, right: &Expr, at: Location) -> Read {
        let mut both = [self.number(left)?, self.number(right)?];
        if op == Operation::Divide {
            both = both.map(widened);
        }
        let ([left, right], kind) = alike(both)?;
        Ok(Typed {
            node: Node::Arithmetic(op, Box::new(left.node), Box::new(right.node)),
            kind,
            at,
        })
    }

    fn is(&mut self, inner: &Expr, test: Test, negated: bool) -> Read<Node> {
        let value = match test {
            Test::Null => self.expression(inner)?,
            Test::True | Test::False => self.truth(inner)?,
        };
        Ok(Node::Is { value: Box::new(value.node), test, negated })
    }

    fn list(&mut self, value: &Expr, list: &[Expr], negated: bool) -> Read<Node> {
        let mut all = vec![self.expression(value)?];
        for element in list {
            let element = self.expression(element)?;
            if !matches!(element.node, Node::Literal(_)) {
                let message = "expected a constant in the list of IN".to_owned();
                return Err(refusal(element.at, message, Some("write x = y OR …".to_owned())));
            }
            all.push(element);
        }
        let (at, (mut all, kind)) = (all[0].at, alike_all(all)?);
        if kind == Some(DataType::Bool) {
            let help = Some("write IS TRUE or IS FALSE".to_owned());
            return Err(mistyped(
                at,
                "expected a value other than BOOL before IN".to_owned(),
                help,
            ));
        }
        let value = Box::new(all.remove(0).node);
        let literals = all.into_iter().filter_map(|element| match element.node {
            Node::Literal(value) => Some(value),
            _ => None,
        });
        Ok(Node::In { value, list: literals.collect(), negated })
    }

    fn like(&mut self, value: &Expr, pattern: &Expr, negated: bool) -> Read<Node> {
        let value = self.string(value)?;
        let pattern = self.string(pattern)?;
        let Node::Literal(Literal::Text(text)) = &pattern.node else {
            return Err(refusal(
                pattern.at,
                "expected a text in quotes after LIKE".to_owned(),
                None,
            ));
        };
        let pattern =
            literal::pattern(text).map_err(|message| refusal(pattern.at, message, None))?;
        Ok(Node::Like { value: Box::new(value.node), pattern, negated })
    }

    fn cast(&mut self, inner: &Expr, to: &SqlType, at: Location) -> Read {
        let inner = self.expression(inner)?;
        let to = match to {
            SqlType::Int64
            | SqlType::Int(None)
            | SqlType::Integer(None)
            | SqlType::BigInt(None) => DataType::Int,
            SqlType::Float64 => DataType::Float64,
            SqlType::String(None) => DataType::String,
            SqlType::Bool | SqlType::Boolean => DataType::Bool,
            SqlType::Date => DataType::Date,
            SqlType::Timestamp(None, TimezoneInfo::None) => DataType::Timestamp,
            other => return Err(refusal(at, format!("no column has the type {other}"), None)),
        };
        match (inner.kind, to) {
            (Some(same), _) if same == to => Ok(inner),
            (None | Some(DataType::Int), DataType::Float64 | DataType::String)
            | (None | Some(DataType::Bool), DataType::Int)
            | (None | Some(DataType::Date), DataType::Timestamp) => {
                Ok(Typed { node: Node::Cast(Box::new(inner.node), to), kind: Some(to), at })
            }
            (found, _) => {
                let found = found.map_or_else(|| "this".to_owned(), |found| found.to_string());
                Err(mistyped(
                    at,
                    format!("a cast of {found} to {to} is not supported"),
                    Some(
                        "supported are INT to FLOAT64 and STRING, BOOL to INT, DATE to TIMESTAMP"
                            .to_owned(),
                    ),
                ))
            }
        }
    }

    fn function(&mut self, function: &Function, at: Location) -> Read {
        let name = function.name.to_string().to_uppercase();
        let arguments = plain_arguments(function, at)?;
        match (name.as_str(), arguments.as_slice()) {
            ("COALESCE", [_, ..]) | ("IFNULL", [_, _]) => {
                let mut nodes = Vec::with_capacity(arguments.len());
                for argument in arguments {
                    nodes.push(self.expression(argument)?);
                }
                let (nodes, kind) = alike_all(nodes)?;
                let nodes = nodes.into_iter().map(|typed| typed.node).collect();
                Ok(Typed { node: Node::Coalesce(nodes), kind, at })
            }
            ("LOWER", [text]) => {
                let node = Node::Lower(Box::new(self.string(text)?.node));
                Ok(Typed { node, kind: Some(DataType::String), at })
            }
            ("UPPER", [text]) => {
                let node = Node::Upper(Box::new(self.string(text)?.node));
                Ok(Typed { node, kind: Some(DataType::String), at })
            }
            (known, found) if FUNCTIONS.contains(&known) => {
                let message = format!("{known} does not take {} argument(s)", found.len());
                Err(refusal(at, message, None))
            }
            (unknown, _) => {
                let help = match nearest(unknown, FUNCTIONS.into_iter()) {
                    Some(near) => format!("did you mean {near}?"),
                    None => format!("there are {}", FUNCTIONS.join(", ")),
                };
                let message = format!("the function {unknown} is not supported in conditions");
                Err(refusal(at, message, Some(help)))
            }
        }
    }
}

fn plain_arguments(function: &Function, at: Location) -> Read<Vec<&Expr>> {
    let plain = match &function.args {
        FunctionArguments::List(list)
            if list.duplicate_treatment.is_none() && list.clauses.is_empty() =>
        {
            let arguments = list.args.iter().map(|argument| match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)) => Some(argument),
                _ => None,
            });
            arguments.collect::<Option<Vec<_>>>()
        }
        _ => None,
    };
    let decorated = function.over.is_some()
        || function.filter.is_some()
        || function.null_treatment.is_some()
        || !function.within_group.is_empty();
    plain.filter(|_| !decorated).ok_or_else(|| {
        refusal(at, format!("this form of {} is not supported", function.name), None)
    })
}

fn constant(read: Result<Literal, String>, at: Location) -> Read {
    let value = read.map_err(|message| refusal(at, message, None))?;
    let kind = Some(value.data_type());
    Ok(Typed { node: Node::Literal(value), kind, at })
}

fn typed_string(text: &TypedString, at: Location) -> Read {
    let Ok(Literal::Text(value)) = literal::read(&text.value.value, false) else {
        return Err(refusal(at, "expected a text in quotes".to_owned(), None));
    };
    match text.data_type {
        SqlType::Date => constant(literal::date(&value).map(Literal::Date), at),
        SqlType::Timestamp(None, TimezoneInfo::None) => {
            constant(literal::timestamp(&value).map(Literal::Timestamp), at)
        }
        _ => {
            let message = format!("{} '…' is not supported", text.data_type);
            Err(refusal(at, message, Some("there are DATE '…' and TIMESTAMP '…'".to_owned())))
        }
    }
}

fn alike<const N: usize>(operands: [Typed; N]) -> Read<([Typed; N], Option<DataType>)> {
    let (operands, kind) = alike_all(Vec::from(operands))?;
    let operands = operands.try_into().unwrap_or_else(|_| unreachable!("as many as before"));
    Ok((operands, kind))
}

/// Brings operands to one type, as SQL does: an `INT` beside a `FLOAT64` becomes one, and a text in
/// quotes beside a date or a time is read as one.
fn alike_all(operands: Vec<Typed>) -> Read<(Vec<Typed>, Option<DataType>)> {
    use DataType as D;
    let is_text = |typed: &Typed| matches!(typed.node, Node::Literal(Literal::Text(_)));
    let kinds = || operands.iter().filter_map(|typed| typed.kind);
    let wanted = if kinds().all(|kind| matches!(kind, D::Int | D::Float64)) {
        kinds().max_by_key(|kind| *kind == D::Float64)
    } else {
        operands
            .iter()
            .filter(|typed| !is_text(typed))
            .find_map(|typed| typed.kind)
            .or(Some(D::String))
    };
    let Some(wanted) = wanted else { return Ok((operands, None)) };
    // Beside what is not known yet, a text may still turn out to be a date.
    let certain = operands.iter().all(|typed| typed.kind.is_some());
    let operands = operands.into_iter().map(|typed| {
        let Typed { node, kind, at } = typed;
        let node = match (node, kind) {
            (node, None) => node,
            (node, Some(kind)) if kind == wanted => node,
            (Node::Literal(value), Some(_)) => literal::coerce(&value, wanted)
                .map(Node::Literal)
                .map_err(|message| mistyped(at, message, None))?,
            (node, Some(D::Int)) if wanted == D::Float64 => Node::Widen(Box::new(node)),
            (_, Some(found)) => {
                let message = format!("expected {wanted}, found {found}: they are not compared");
                return Err(mistyped(at, message, None));
            }
        };
        Ok(Typed { node, kind: kind.map(|_| wanted), at })
    });
    Ok((operands.collect::<Result<_, _>>()?, certain.then_some(wanted)))
}

fn widened(typed: Typed) -> Typed {
    let node = match (typed.node, typed.kind) {
        (Node::Literal(Literal::Int(value)), _) => Node::Literal(Literal::Float(value as f64)),
        (node, Some(DataType::Int)) => Node::Widen(Box::new(node)),
        (node, _) => node,
    };
    Typed { node, kind: Some(DataType::Float64), at: typed.at }
}

fn ordered(kind: Option<DataType>, at: Location, operator: &str) -> Read<()> {
    if kind != Some(DataType::Bool) {
        return Ok(());
    }
    let message = format!("expected values with an order beside {operator}, found BOOL");
    Err(mistyped(at, message, None))
}

fn place(expression: &Expr) -> Location {
    expression.span().start
}
