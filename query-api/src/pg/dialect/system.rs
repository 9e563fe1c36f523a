//! Sentences about PostgreSQL's own tables, in words the engine has, given what those tables hold here.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::{
    ast::{
        AccessExpr, BinaryOperator, DataType, Expr, Function, FunctionArg, FunctionArgExpr,
        FunctionArguments, Query, Select, SelectItem, SetExpr, Statement, Subscript, TableFactor,
        TableWithJoins, Value, VisitMut as _, VisitorMut,
    },
    dialect::PostgreSqlDialect,
    parser::Parser,
};

use super::{call, is_named, quoted, text_of};

/// Tables that never hold a row here: a value looked up in them is NULL.
const EMPTY: [&str; 8] = [
    "pg_attrdef",
    "pg_enum",
    "pg_inherits",
    "pg_policy",
    "pg_sequence",
    "pg_statistic_ext",
    "pg_trigger",
    "pg_foreign_table",
];

/// `int2vector` and `oidvector` columns: counted from 0, and written with blanks between.
const VECTORS: [&str; 4] = ["indkey", "indclass", "indcollation", "indoption"];

/// Functions by name, `-` for none; compared with 0 by some clients.
const FUNCTION_NAMES: [&str; 6] = [
    "typinput",
    "typoutput",
    "typreceive",
    "typsend",
    "typmodin",
    "typmodout",
];

/// Truth values that some clients compare with `'t'` and `'f'`.
const FLAGS: [&str; 4] = ["indisprimary", "indisunique", "indisvalid", "attisdropped"];

/// Says a statement about the catalogue so that it can be planned.
#[derive(Clone)]
pub(super) struct System {
    /// Looks up a relation by name.
    pub(super) relation: Box<Query>,
    /// Looks up what is written about a relation or a column of it.
    pub(super) description: Box<Query>,
}

/// The number of a relation by its name, written as PostgreSQL allows: quoted or not, with its schema or without.
pub(super) const RELATION: &str = "SELECT max(c.oid) FROM pg_catalog.pg_class AS c \
    JOIN pg_catalog.pg_namespace AS n ON c.relnamespace = n.oid \
    WHERE n.nspname || '.' || c.relname = replace(CAST($1 AS TEXT), '\"', '') \
    OR (n.nspname IN ('public', 'pg_catalog') AND c.relname = replace(CAST($1 AS TEXT), '\"', ''))";

/// What is written about the relation `$1`, or its column `$2`; 0 is the relation itself. The name of the table is one that no
/// statement around it uses.
pub(super) const DESCRIPTION: &str = "SELECT max(written.description) FROM pg_catalog.pg_description AS written \
    WHERE written.classoid = 1259 AND written.objoid = $1 AND written.objsubid = $2";

/// Last part of a column's name, in small letters.
fn column(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Identifier(name) => Some(name.value.to_lowercase()),
        Expr::CompoundIdentifier(parts) => Some(parts.last()?.value.to_lowercase()),
        Expr::Nested(inner) => column(inner),
        _ => None,
    }
}

fn is_one_of(expression: &Expr, names: &[&str]) -> bool {
    column(expression).is_some_and(|column| names.iter().any(|name| column.ends_with(name)))
}

fn null() -> Expr {
    Expr::Value(Value::Null.with_empty_span())
}

fn constant(expression: &Expr) -> Option<&Value> {
    match expression {
        Expr::Value(value) => Some(&value.value),
        _ => None,
    }
}

fn select_of(query: &Query) -> Option<&Select> {
    match &*query.body {
        SetExpr::Select(select) => Some(select),
        _ => None,
    }
}

/// Whether a query reads a table without rows, or calls what gives none.
fn gives_nothing(query: &Query) -> bool {
    let Some(select) = select_of(query) else {
        return false;
    };
    let factors = select
        .from
        .iter()
        .flat_map(|from| std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation)));
    let mut names = factors.filter_map(|factor| match factor {
        TableFactor::Table { name, args, .. } => {
            let last = name.0.last()?.as_ident()?.value.to_lowercase();
            Some((last, args.is_some()))
        }
        _ => None,
    });
    names.any(|(name, is_function)| {
        EMPTY.contains(&name.as_str())
            || name == "pg_partition_ancestors"
            // Options of a relation, which none has.
            || (is_function && name == "unnest")
    })
}

impl System {
    fn relation_named(&self, name: &Expr) -> Expr {
        filled(&self.relation, &[name])
    }

    /// `col_description(relation, column)` and `obj_description(relation, 'pg_class')`, of a relation in a column or by number.
    fn described(&self, function: &Function) -> Option<Expr> {
        let FunctionArguments::List(list) = &function.args else {
            return None;
        };
        let mut arguments = list.args.iter().map(|argument| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)) => Some(argument),
            _ => None,
        });
        let relation = arguments.next()??;
        let more = arguments.next().flatten();
        let plain = |expression: &Expr| column(expression).is_some() || constant(expression).is_some();
        let zero = Expr::Value(Value::Number("0".to_owned(), false).with_empty_span());
        if is_named(function, "col_description") {
            let place = more.filter(|place| plain(place) && plain(relation))?;
            return Some(self.written(relation, place));
        }
        let of_relations = more.is_none_or(|catalogue| text_of(catalogue) == Some("pg_class"));
        (is_named(function, "obj_description") && of_relations && plain(relation))
            .then(|| self.written(relation, &zero))
    }

    fn written(&self, relation: &Expr, place: &Expr) -> Expr {
        // The catalogue's parser makes NULL of a bare subquery that depends on the row.
        call("coalesce", vec![filled(&self.description, &[relation, place])])
    }

    fn cast(&self, operand: &Expr, kind: &DataType) -> Option<Expr> {
        let kind = kind.to_string().to_lowercase();
        let kind = kind.strip_prefix("pg_catalog.").unwrap_or(&kind);
        let digits = text_of(operand).is_some_and(|text| text.bytes().all(|letter| letter.is_ascii_digit()));
        match kind {
            "regclass" if digits => None,
            "regclass" => {
                let named = matches!(
                    constant(operand),
                    Some(Value::SingleQuotedString(_) | Value::Placeholder(_))
                );
                // A name that a function gave belongs to a sequence, and there are none.
                let call = matches!(operand, Expr::Function(function) if is_named(function, "pg_get_serial_sequence"));
                (named.then(|| self.relation_named(operand))).or(call.then(null))
            }
            // Functions are kept by name in the columns they are compared with.
            "regproc" => {
                let name = text_of(operand)?;
                Some(quoted(name.rsplit('.').next().unwrap_or(name).to_owned()))
            }
            "text" | "varchar" | "character varying" if is_one_of(operand, &VECTORS) => Some(call(
                "array_to_string",
                vec![operand.clone(), quoted(" ".to_owned())],
            )),
            _ => None,
        }
    }

    fn call(&self, function: &Function) -> Option<Expr> {
        if let Some(described) = self.described(function) {
            return Some(described);
        }
        let first = match &function.args {
            FunctionArguments::Subquery(query) if is_named(function, "array") => {
                return gives_nothing(query).then(empty_texts);
            }
            FunctionArguments::List(list) => match list.args.first()? {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(first)) => first,
                _ => return None,
            },
            _ => return None,
        };
        if is_named(function, "array_to_string") && column(first).is_some_and(|name| name.ends_with("acl")) {
            // Nobody has granted anything: the lists are texts that are NULL.
            return Some(first.clone());
        }
        if is_named(function, "generate_subscripts") {
            return Some(call("unnest", vec![call("subscripts", vec![first.clone()])]));
        }
        if is_named(function, "_pg_expandarray") {
            return Some(call("unnest", vec![call("expanded_array", vec![first.clone()])]));
        }
        None
    }

    fn access(root: &Expr, chain: &mut [AccessExpr]) -> Option<Expr> {
        match chain {
            [AccessExpr::Dot(field)] => {
                let field = column(field)?;
                let inner = match root {
                    Expr::Nested(inner) => inner,
                    other => other,
                };
                if let Expr::Function(function) = inner
                    && is_named(function, "_pg_expandarray")
                    && let FunctionArguments::List(list) = &function.args
                    && let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(array))) = list.args.first()
                {
                    let array = array.clone();
                    let places = if field == "n" {
                        call("subscripts", vec![array])
                    } else {
                        array
                    };
                    return Some(call("unnest", vec![places]));
                }
                Some(call("get_field", vec![root.clone(), quoted(field)]))
            }
            [AccessExpr::Subscript(Subscript::Index { index })] if is_one_of(root, &VECTORS) => {
                count_from_one(index);
                None
            }
            // `i.indkey[0]`: the parser takes the column for a field of `i`.
            [
                AccessExpr::Dot(field),
                AccessExpr::Subscript(Subscript::Index { index }),
            ] if is_one_of(field, &VECTORS) => {
                count_from_one(index);
                None
            }
            _ => None,
        }
    }
}

/// A subquery with expressions in the places of `$1`, `$2`, ...
fn filled(query: &Query, places: &[&Expr]) -> Expr {
    struct Put<'a>(&'a [&'a Expr]);
    impl VisitorMut for Put<'_> {
        type Break = ();

        fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
            if let Some(Value::Placeholder(place)) = constant(expression) {
                let number = place.trim_start_matches('$').parse::<usize>().unwrap_or(0);
                let given = number.checked_sub(1).and_then(|number| self.0.get(number));
                if let Some(given) = given {
                    *expression = (*given).clone();
                }
            }
            ControlFlow::Continue(())
        }
    }
    let mut query = Box::new(query.clone());
    let _ = query.visit(&mut Put(places));
    Expr::Subquery(query)
}

/// The place in an array for a place in a vector, which is counted from 0.
fn count_from_one(index: &mut Expr) {
    *index = Expr::BinaryOp {
        left: Box::new(Expr::Nested(Box::new(index.clone()))),
        op: BinaryOperator::Plus,
        right: Box::new(Expr::Value(
            Value::Number("1".to_owned(), false).with_empty_span(),
        )),
    };
}

/// In a statement that is not about the catalogue, only `'name'::regclass` is said anew.
pub(super) struct RelationNames<'a>(pub(super) &'a System);

impl VisitorMut for RelationNames<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        if let Expr::Cast { expr, data_type, .. } = &*expression
            && data_type.to_string().to_lowercase().ends_with("regclass")
            && let Some(said) = self.0.cast(expr, data_type)
        {
            *expression = said;
        }
        ControlFlow::Continue(())
    }
}

/// `ARRAY[]` of texts; NULL stands for it, which every caller shows the same.
fn empty_texts() -> Expr {
    Expr::Cast {
        kind: datafusion::sql::sqlparser::ast::CastKind::Cast,
        expr: Box::new(null()),
        data_type: DataType::Array(datafusion::sql::sqlparser::ast::ArrayElemTypeDef::SquareBracket(
            Box::new(DataType::Text),
            None,
        )),
        array: false,
        format: None,
    }
}

/// `(SELECT x FROM t WHERE ...)` that a key makes at most one row: `min(x)` says so to the engine.
fn single(query: &mut Query) {
    let limited = query.limit_clause.is_some() || query.fetch.is_some();
    let SetExpr::Select(select) = &mut *query.body else {
        return;
    };
    let grouped = !matches!(&select.group_by, datafusion::sql::sqlparser::ast::GroupByExpr::Expressions(terms, _) if terms.is_empty());
    if limited || grouped || select.selection.is_none() {
        return;
    }
    let [SelectItem::UnnamedExpr(value) | SelectItem::ExprWithAlias { expr: value, .. }] =
        &mut select.projection[..]
    else {
        return;
    };
    let gathered = matches!(value, Expr::Function(function)
        if ["array_agg", "string_agg", "min", "max", "count", "sum", "bool_or", "bool_and"].iter().any(|name| is_named(function, name)));
    if !gathered {
        *value = call("min", vec![value.clone()]);
    }
}

/// `t AS x CROSS JOIN unnest(list) AS element` as `(SELECT *, unnest(list) AS element FROM t) AS x`: the engine unnests a
/// column only where it is selected.
fn unnested(from: &mut TableWithJoins) -> Option<()> {
    let TableFactor::Table {
        name,
        alias: Some(outer),
        args: None,
        ..
    } = &from.relation
    else {
        return None;
    };
    let place = from
        .joins
        .iter()
        .position(|join| matches!(join.relation, TableFactor::UNNEST { .. }))?;
    let TableFactor::UNNEST {
        alias: Some(element),
        array_exprs,
        ..
    } = &from.joins[place].relation
    else {
        return None;
    };
    let list = column(array_exprs.first()?)?;
    let text = format!(
        "SELECT * FROM (SELECT *, unnest({list}) AS {} FROM {name}) AS {}",
        element.name, outer.name
    );
    let parsed = Parser::parse_sql(&PostgreSqlDialect {}, &text).ok()?.pop()?;
    let Statement::Query(query) = parsed else {
        return None;
    };
    from.relation = select_of(&query)?.from.first()?.relation.clone();
    from.joins.remove(place);
    Some(())
}

impl VisitorMut for System {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        for from in &mut select.from {
            let _ = unnested(from);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        let said = match expression {
            Expr::Cast { expr, data_type, .. } => self.cast(expr, data_type),
            Expr::Function(function) => self.call(function),
            Expr::CompoundFieldAccess { root, access_chain } => Self::access(root, access_chain),
            Expr::Subquery(query) if gives_nothing(query) => Some(null()),
            Expr::Exists { subquery, negated } if gives_nothing(subquery) => {
                Some(Expr::Value(Value::Boolean(*negated).with_empty_span()))
            }
            Expr::Subquery(query) => {
                single(query);
                None
            }
            Expr::BinaryOp {
                left,
                op: BinaryOperator::Eq | BinaryOperator::NotEq,
                right,
            } => {
                if matches!(constant(right), Some(Value::Number(zero, _)) if zero == "0")
                    && is_one_of(left, &FUNCTION_NAMES)
                {
                    **right = quoted("-".to_owned());
                }
                if let Some("t" | "f") = text_of(right)
                    && is_one_of(left, &FLAGS)
                {
                    let truth = text_of(right) == Some("t");
                    **right = Expr::Value(Value::Boolean(truth).with_empty_span());
                }
                None
            }
            _ => None,
        };
        if let Some(said) = said {
            *expression = said;
        }
        ControlFlow::Continue(())
    }
}
