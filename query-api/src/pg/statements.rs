//! Statements that a connection changes before they run: prepared ones get their values, and functions that read or set
//! the connection's settings get what holds in it.

use std::ops::ControlFlow;

use datafusion::{
    common::{ParamValues, ScalarValue},
    sql::sqlparser::ast::{
        CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Statement,
        Value, VisitMut as _, VisitorMut,
    },
};
use pgwire::error::{PgWireError, PgWireResult};

use super::{commands, connection::Connection, sqlstate};

/// A statement of `PREPARE name (types) AS ...`.
#[derive(Debug, Clone)]
pub(super) struct NamedStatement {
    pub(super) statement: Statement,
    pub(super) kinds: Vec<DataType>,
}

impl NamedStatement {
    /// The statement with values in the places of `$1`, `$2`, ...
    ///
    /// # Errors
    /// When there are too few values.
    pub(super) fn with(&self, values: &[Expr]) -> PgWireResult<Statement> {
        let mut filled = self.statement.clone();
        let mut places = Places {
            named: self,
            values,
            missing: None,
        };
        let _ = filled.visit(&mut places);
        match places.missing {
            None => Ok(filled),
            Some(place) => Err(sqlstate::error(
                sqlstate::SYNTAX,
                format!("no value for parameter {place}: {} are given", values.len()),
            )),
        }
    }
}

struct Places<'a> {
    named: &'a NamedStatement,
    values: &'a [Expr],
    missing: Option<String>,
}

impl VisitorMut for Places<'_> {
    type Break = ();

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        let Expr::Value(value) = expression else {
            return ControlFlow::Continue(());
        };
        let Value::Placeholder(place) = &value.value else {
            return ControlFlow::Continue(());
        };
        let number = place.trim_start_matches('$').parse::<usize>().unwrap_or(0);
        let given = number.checked_sub(1).and_then(|index| self.values.get(index));
        let Some(given) = given else {
            self.missing = Some(place.clone());
            return ControlFlow::Break(());
        };
        *expression = match self.named.kinds.get(number - 1) {
            None => Expr::Nested(Box::new(given.clone())),
            Some(kind) => Expr::Cast {
                kind: CastKind::Cast,
                expr: Box::new(given.clone()),
                data_type: kind.clone(),
                array: false,
                format: None,
            },
        };
        ControlFlow::Continue(())
    }
}

/// Puts the connection's values in the place of `current_setting('name')` and `set_config('name', 'value', local)`. With
/// `apply` the latter take effect.
///
/// # Errors
/// On settings that are unknown, or values they cannot have.
pub(super) fn settle(
    connection: &Connection,
    statement: &mut Statement,
    params: Option<&ParamValues>,
    apply: bool,
) -> PgWireResult<()> {
    let mut calls = SettingCalls {
        connection,
        params,
        apply,
        fault: None,
    };
    let _ = statement.visit(&mut calls);
    calls.fault.map_or(Ok(()), Err)
}

struct SettingCalls<'a> {
    connection: &'a Connection,
    params: Option<&'a ParamValues>,
    apply: bool,
    fault: Option<PgWireError>,
}

impl SettingCalls<'_> {
    /// Arguments as texts; `None` when one is neither a constant nor a parameter with a value.
    fn texts_of(&self, arguments: &FunctionArguments) -> Option<Vec<String>> {
        let FunctionArguments::List(list) = arguments else {
            return None;
        };
        let texts = list.args.iter().map(|argument| {
            let FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)) = argument else {
                return None;
            };
            let argument = match argument {
                Expr::Cast { expr, .. } => &**expr,
                other => other,
            };
            let Expr::Value(value) = argument else {
                return None;
            };
            match &value.value {
                Value::SingleQuotedString(text) => Some(text.clone()),
                Value::Boolean(flag) => Some(flag.to_string()),
                Value::Placeholder(place) => {
                    let given = self.params?.get_placeholders_with_values(place).ok()?;
                    match given.value() {
                        ScalarValue::Utf8(text) => text.clone(),
                        ScalarValue::Boolean(flag) => flag.map(|flag| flag.to_string()),
                        _ => None,
                    }
                }
                _ => None,
            }
        });
        texts.collect()
    }

    /// What a call gives; `None` when it is none of these.
    fn value(&self, function: &Function) -> Option<PgWireResult<Value>> {
        let name = function.name.0.last()?.as_ident()?.value.to_lowercase();
        if name != "current_setting" && name != "set_config" {
            return None;
        }
        let texts = self.texts_of(&function.args)?;
        match (name.as_str(), &texts[..]) {
            ("current_setting", [setting, more @ ..]) => {
                let lenient = more.first().is_some_and(|flag| flag == "true");
                Some(
                    match commands::value_of(self.connection, &setting.to_lowercase()) {
                        Some(value) => Ok(Value::SingleQuotedString(value)),
                        None if lenient => Ok(Value::Null),
                        None => Err(commands::unknown_setting(setting)),
                    },
                )
            }
            ("set_config", [setting, value, _]) => {
                let done = if self.apply {
                    commands::assign(self.connection, &setting.to_lowercase(), value)
                } else {
                    Ok(())
                };
                Some(done.map(|()| Value::SingleQuotedString(value.clone())))
            }
            _ => None,
        }
    }
}

impl VisitorMut for SettingCalls<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        let Expr::Function(function) = &*expression else {
            return ControlFlow::Continue(());
        };
        match self.value(function) {
            None => ControlFlow::Continue(()),
            Some(Ok(value)) => {
                *expression = Expr::Value(value.with_empty_span());
                ControlFlow::Continue(())
            }
            Some(Err(fault)) => {
                self.fault = Some(fault);
                ControlFlow::Break(())
            }
        }
    }
}
