//! How PostgreSQL's text becomes statements that mean the same to the query engine.
//!
//! Two readings. A statement about the catalogue (`pg_*`, `information_schema`) goes through the catalogue crate's parser,
//! which knows the sentences that clients send and may simplify them. Any other statement is somebody's question about
//! data: nothing in it is simplified, only said in the engine's words, and what has no such words stays an error.

mod system;

use std::{ops::ControlFlow, sync::Arc};

use datafusion::sql::sqlparser::{
    ast::{
        self, BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
        FunctionArguments, Ident, ObjectName, Query, Statement, UnaryOperator, Value, VisitMut as _,
        VisitorMut, visit_relations,
    },
    dialect::PostgreSqlDialect,
    parser::{Parser, ParserError},
};
use datafusion_pg_catalog::sql::{
    PostgresCompatibilityParser,
    rules::{
        AliasDuplicatedProjectionRewrite, CurrentUserVariableToSessionUserFunctionCall, FixVersionColumnName,
        RewritePgCatalogOperator, RewriteRegCastToSubquery, SqlStatementRewriteRule, StripCallableQualifier,
        StripCollate,
    },
};

use self::system::{RelationNames, System};
use super::{array_literal, to_char::moment::strftime};

/// Parses statements.
pub(super) struct Dialect {
    catalogue: PostgresCompatibilityParser,
    system: Option<System>,
    rules: Vec<Arc<dyn SqlStatementRewriteRule>>,
}

impl Dialect {
    pub(super) fn new() -> Self {
        let query = |sql: &str| match Parser::parse_sql(&PostgreSqlDialect {}, sql).ok()?.pop() {
            Some(Statement::Query(query)) => Some(query),
            _ => None,
        };
        let lookups = query(system::RELATION).zip(query(system::DESCRIPTION));
        Self {
            system: lookups.map(|(relation, description)| System {
                relation,
                description,
            }),
            catalogue: PostgresCompatibilityParser::new(),
            rules: vec![
                Arc::new(AliasDuplicatedProjectionRewrite),
                Arc::new(StripCallableQualifier),
                Arc::new(CurrentUserVariableToSessionUserFunctionCall),
                Arc::new(StripCollate),
                Arc::new(RewritePgCatalogOperator),
                Arc::new(RewriteRegCastToSubquery::new()),
                Arc::new(FixVersionColumnName),
            ],
        }
    }

    /// The statements of a text.
    ///
    /// # Errors
    /// What the parser did not understand.
    pub(super) fn parse(&self, sql: &str) -> Result<Vec<Statement>, ParserError> {
        let plain = Parser::parse_sql(&PostgreSqlDialect {}, sql);
        let mut statements = match plain {
            Ok(statements) if !statements.iter().any(asks_catalogue) => {
                let rewrite = |mut statement: Statement| {
                    let _ = statement.visit(&mut Meaning);
                    if let Some(system) = &self.system {
                        let _ = statement.visit(&mut RelationNames(system));
                    }
                    let rules = self.rules.iter();
                    rules.fold(statement, |statement, rule| rule.rewrite(statement))
                };
                statements.into_iter().map(rewrite).collect()
            }
            Ok(statements) => self.about_the_catalogue(sql, statements)?,
            Err(_) => self.catalogue.parse(sql)?,
        };
        for statement in &mut statements {
            let _ = statement.visit(&mut Meaning);
        }
        Ok(statements)
    }

    /// The catalogue's parser replaces some sentences whole, by their words; what it does not know so is said anew here.
    fn about_the_catalogue(
        &self,
        sql: &str,
        statements: Vec<Statement>,
    ) -> Result<Vec<Statement>, ParserError> {
        let known = self.catalogue.parse(sql)?;
        let rewritten: Vec<Statement> = statements
            .iter()
            .map(|statement| self.catalogue.rewrite(statement.clone()))
            .collect();
        let same = known.len() == rewritten.len()
            && known
                .iter()
                .zip(&rewritten)
                .all(|(known, rewritten)| known.to_string() == rewritten.to_string());
        let (true, Some(system)) = (same, &self.system) else {
            return Ok(known);
        };
        let mut system = system.clone();
        let said = |mut statement: Statement| {
            let _ = statement.visit(&mut system);
            self.catalogue.rewrite(statement)
        };
        Ok(statements.into_iter().map(said).collect())
    }
}

/// Whether a statement reads PostgreSQL's own tables.
fn asks_catalogue(statement: &Statement) -> bool {
    visit_relations(statement, |name| {
        let parts: Vec<String> = name
            .0
            .iter()
            .filter_map(|part| Some(part.as_ident()?.value.to_lowercase()))
            .collect();
        let system = parts.last().is_some_and(|name| name.starts_with("pg_"))
            || parts.iter().any(|part| part == "information_schema");
        if system {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })
    .is_break()
}

/// Expressions of PostgreSQL in the engine's words.
struct Meaning;

impl VisitorMut for Meaning {
    type Break = ();

    /// The engine wants columns of different names; PostgreSQL calls every unnamed constant `?column?`.
    fn pre_visit_select(&mut self, select: &mut ast::Select) -> ControlFlow<()> {
        let mut seen = Vec::new();
        for (place, item) in select.projection.iter_mut().enumerate() {
            let ast::SelectItem::UnnamedExpr(Expr::Value(value)) = item else {
                continue;
            };
            let text = value.to_string();
            if seen.contains(&text) {
                *item = ast::SelectItem::ExprWithAlias {
                    expr: Expr::Value(value.clone()),
                    alias: Ident::with_quote('"', format!("?column?{place}")),
                };
            }
            seen.push(text);
        }
        ControlFlow::Continue(())
    }

    /// `unnest(array) AS x` names its column too.
    fn pre_visit_table_factor(&mut self, factor: &mut ast::TableFactor) -> ControlFlow<()> {
        let alias = match factor {
            ast::TableFactor::UNNEST { alias, .. } => alias,
            ast::TableFactor::Table {
                name,
                alias,
                args: Some(_),
                ..
            } if name.to_string().eq_ignore_ascii_case("generate_series") => alias,
            _ => return ControlFlow::Continue(()),
        };
        if let Some(alias) = alias
            && alias.columns.is_empty()
        {
            let name = alias.name.clone();
            alias
                .columns
                .push(ast::TableAliasColumnDef::from_name(name.value));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        match expression {
            Expr::Like {
                pattern, escape_char, ..
            }
            | Expr::ILike {
                pattern, escape_char, ..
            } => unescape(pattern, escape_char),
            Expr::AnyOp {
                left,
                compare_op: BinaryOperator::Eq,
                right,
                ..
            } if !matches!(**right, Expr::Subquery(_)) => *expression = contains(left, right),
            Expr::AllOp {
                left,
                compare_op: BinaryOperator::NotEq,
                right,
            } if !matches!(**right, Expr::Subquery(_)) => {
                *expression = Expr::UnaryOp {
                    op: UnaryOperator::Not,
                    expr: Box::new(contains(left, right)),
                };
            }
            Expr::Cast { expr, data_type, .. } => array_constant(expr, data_type),
            Expr::Function(function)
                if is_named(function, "to_timestamp") || is_named(function, "to_date") =>
            {
                reading_pattern(function);
            }
            Expr::Function(function) if is_named(function, "array") => {
                if let FunctionArguments::Subquery(query) = &function.args
                    && let Some(gathered) = gathered(query)
                {
                    *expression = Expr::Subquery(Box::new(gathered));
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

fn is_named(function: &Function, name: &str) -> bool {
    function
        .name
        .0
        .last()
        .and_then(ast::ObjectNamePart::as_ident)
        .is_some_and(|ident| ident.value.eq_ignore_ascii_case(name))
}

/// `to_timestamp(text, pattern)` and `to_date`: the engine's functions of these names read patterns of strftime. A pattern that
/// cannot be said in them stays, and is refused by the engine when nothing fits it.
fn reading_pattern(function: &mut Function) {
    let day = is_named(function, "to_date");
    let FunctionArguments::List(list) = &mut function.args else {
        return;
    };
    let [
        FunctionArg::Unnamed(FunctionArgExpr::Expr(value)),
        FunctionArg::Unnamed(FunctionArgExpr::Expr(pattern)),
    ] = list.args.as_mut_slice()
    else {
        return;
    };
    let Some(mut words) = text_of(pattern)
        .filter(|text| !text.contains('%'))
        .and_then(strftime)
    else {
        return;
    };
    let text = |text: String| Expr::Value(Value::SingleQuotedString(text).with_empty_span());
    // The engine reads no instant without a time of day: midnight is said on both sides.
    if !day && !words.contains("%H") && !words.contains("%I") {
        words.push_str(" %H:%M");
        *value = Expr::Nested(Box::new(Expr::BinaryOp {
            left: Box::new(value.clone()),
            op: BinaryOperator::StringConcat,
            right: Box::new(text(" 00:00".to_owned())),
        }));
    }
    *pattern = text(words);
}

fn text_of(expression: &Expr) -> Option<&str> {
    match expression {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => Some(text),
            _ => None,
        },
        Expr::Nested(inner) => text_of(inner),
        _ => None,
    }
}

fn quoted(text: String) -> Expr {
    Expr::Value(Value::SingleQuotedString(text).with_empty_span())
}

/// The engine escapes with the backslash only; a constant pattern with another mark is written anew.
fn unescape(pattern: &mut Expr, escape: &mut Option<ast::ValueWithSpan>) {
    let Some(Value::SingleQuotedString(mark)) = escape.as_ref().map(|escape| &escape.value) else {
        return;
    };
    let mut marks = mark.chars();
    let (mark, None) = (marks.next(), marks.next()) else {
        return;
    };
    if mark == Some('\\') {
        *escape = None;
        return;
    }
    let Some(text) = text_of(pattern) else {
        let mark = mark.map_or_else(String::new, String::from);
        *pattern = call("like_pattern", vec![pattern.clone(), quoted(mark)]);
        *escape = None;
        return;
    };
    let Some(written) = array_literal::like_pattern(text, mark) else {
        return;
    };
    *pattern = quoted(written);
    *escape = None;
}

/// `left = ANY(array)`.
fn contains(left: &Expr, array: &Expr) -> Expr {
    let array = text_of(array)
        .and_then(array_literal::elements)
        .map_or_else(|| array.clone(), |elements| array_of(elements, true));
    call("array_has", vec![array, left.clone()])
}

fn call(name: &str, arguments: Vec<Expr>) -> Expr {
    let arguments = arguments
        .into_iter()
        .map(|argument| FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)));
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: arguments.collect(),
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

fn array_of(elements: Vec<Option<String>>, text: bool) -> Expr {
    let elements = elements.into_iter().map(|element| match element {
        None => Expr::Value(Value::Null.with_empty_span()),
        Some(element) if text => quoted(element),
        Some(element) => Expr::Value(Value::Number(element, false).with_empty_span()),
    });
    Expr::Array(ast::Array {
        elem: elements.collect(),
        named: true,
    })
}

/// `'{a,"b c",NULL}'::text[]`.
fn array_constant(inner: &mut Box<Expr>, kind: &ast::DataType) {
    let ast::DataType::Array(element) = kind else {
        return;
    };
    let Some(elements) = text_of(inner).and_then(array_literal::elements) else {
        return;
    };
    use ast::{ArrayElemTypeDef as Element, DataType as Kind};
    let (Element::AngleBracket(element) | Element::SquareBracket(element, _) | Element::Parenthesis(element)) =
        element
    else {
        return;
    };
    let number = matches!(
        **element,
        Kind::SmallInt(_)
            | Kind::Int(_)
            | Kind::Integer(_)
            | Kind::BigInt(_)
            | Kind::Int2(_)
            | Kind::Int4(_)
            | Kind::Int8(_)
            | Kind::Float(_)
            | Kind::Float4
            | Kind::Float8
            | Kind::Real
            | Kind::DoublePrecision
            | Kind::Numeric(_)
    );
    **inner = array_of(elements, !number);
}

/// `ARRAY(SELECT x FROM ...)` as `(SELECT array_agg(x) FROM ...)`; `None` where that would mean something else.
fn gathered(query: &Query) -> Option<Query> {
    let mut query = query.clone();
    if query.limit_clause.is_some() || query.fetch.is_some() || query.with.is_some() {
        return None;
    }
    let order = query.order_by.take();
    let ast::SetExpr::Select(select) = &mut *query.body else {
        return None;
    };
    if select.distinct.is_some() || select.having.is_some() {
        return None;
    }
    let [ast::SelectItem::UnnamedExpr(column) | ast::SelectItem::ExprWithAlias { expr: column, .. }] =
        &select.projection[..]
    else {
        return None;
    };
    let mut gather = call("array_agg", vec![column.clone()]);
    if let Some(order) = order
        && let ast::OrderByKind::Expressions(terms) = order.kind
        && let Expr::Function(function) = &mut gather
        && let FunctionArguments::List(list) = &mut function.args
    {
        list.clauses
            .push(ast::FunctionArgumentClause::OrderBy(in_terms_of(terms, column)));
    }
    select.projection = vec![ast::SelectItem::UnnamedExpr(gather)];
    Some(query)
}

/// `ORDER BY 1` names the column by its place, which a function's own order cannot.
fn in_terms_of(mut terms: Vec<ast::OrderByExpr>, column: &Expr) -> Vec<ast::OrderByExpr> {
    for term in &mut terms {
        if matches!(&term.expr, Expr::Value(value) if matches!(value.value, Value::Number(..))) {
            term.expr = column.clone();
        }
    }
    terms
}

#[cfg(test)]
mod tests {
    use super::Dialect;

    /// What a statement is read as.
    fn read(sql: &str) -> String {
        let statements = Dialect::new().parse(sql).expect("parses");
        statements
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("; ")
    }

    #[test]
    fn expressions_in_the_words_of_the_engine() {
        for (sql, expected) in [
            (
                r"SELECT a LIKE 'x/_y%' ESCAPE '/' FROM t",
                r"SELECT a LIKE 'x\_y%' FROM t",
            ),
            (
                r"SELECT a LIKE 'x\y//' ESCAPE '/' FROM t",
                r"SELECT a LIKE 'x\\y/' FROM t",
            ),
            (
                r"SELECT a LIKE 'x\_' ESCAPE '\' FROM t",
                r"SELECT a LIKE 'x\_' FROM t",
            ),
            (
                "SELECT a = ANY('{x,\"y, z\",NULL}') FROM t",
                "SELECT array_has(ARRAY['x', 'y, z', NULL], a) FROM t",
            ),
            (
                "SELECT a <> ALL(ARRAY[1, 2]) FROM t",
                "SELECT NOT array_has(ARRAY[1, 2], a) FROM t",
            ),
            ("SELECT a = ANY($1) FROM t", "SELECT array_has($1, a) FROM t"),
            (
                "SELECT x FROM generate_series(1, 3) AS x",
                "SELECT x FROM generate_series(1, 3) AS x (x)",
            ),
            ("SELECT '{1,2}'::int[]", "SELECT ARRAY[1, 2]::INT[]"),
            (
                "SELECT ARRAY(SELECT x FROM u WHERE u.t = t.a ORDER BY 1) FROM t",
                "SELECT (SELECT array_agg(x ORDER BY x) FROM u WHERE u.t = t.a) FROM t",
            ),
        ] {
            assert_eq!(read(sql), expected);
        }
    }

    /// A question about data keeps every part: the catalogue's parser would put NULL for this subquery.
    #[test]
    fn a_correlated_subquery_stays() {
        let sql = "SELECT a.id, (SELECT count(*) FROM deals AS d WHERE d.account_id = a.id) AS n FROM accounts AS a";
        assert_eq!(read(sql), sql);
    }
}
