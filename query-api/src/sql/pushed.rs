//! Which texts of a column a filter keeps, for tables that compute no other rows.

use std::collections::BTreeSet;

use datafusion::{
    common::ScalarValue,
    logical_expr::{BinaryExpr, Expr, Operator},
};

/// The column and the values a filter keeps, when it is a column `=` or `IN` texts.
pub(super) fn kept_texts(filter: &Expr) -> Option<(&str, BTreeSet<String>)> {
    let (column, values): (&Expr, Vec<&Expr>) = match filter {
        Expr::BinaryExpr(BinaryExpr {
            left,
            op: Operator::Eq,
            right,
        }) => match (&**left, &**right) {
            (column @ Expr::Column(_), value) | (value, column @ Expr::Column(_)) => (column, vec![value]),
            _ => return None,
        },
        Expr::BinaryExpr(BinaryExpr {
            left,
            op: Operator::Or,
            right,
        }) => {
            // Short IN lists arrive as a chain of OR.
            let (name, mut values) = kept_texts(left)?;
            let (other, more) = kept_texts(right)?;
            values.extend(more);
            return (name == other).then_some((name, values));
        }
        Expr::InList(list) if !list.negated => (&list.expr, list.list.iter().collect()),
        _ => return None,
    };
    let Expr::Column(column) = column else {
        return None;
    };
    let texts = values.into_iter().map(|value| match value {
        Expr::Literal(
            ScalarValue::Utf8(Some(text))
            | ScalarValue::Utf8View(Some(text))
            | ScalarValue::LargeUtf8(Some(text)),
            _,
        ) => Some(text.clone()),
        _ => None,
    });
    Some((&column.name, texts.collect::<Option<_>>()?))
}

/// The texts of a column that all filters together keep; `None` when none of them is about it.
pub(super) fn texts_of(filters: &[Expr], column: &str) -> Option<BTreeSet<String>> {
    filters
        .iter()
        .filter_map(kept_texts)
        .filter(|(name, _)| *name == column)
        .map(|(_, texts)| texts)
        .reduce(|a, b| &a & &b)
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::{col, lit};

    use super::*;

    #[test]
    fn equality_lists_and_chains_of_or_keep_their_texts() {
        let filters = [
            col("a").eq(lit("x")).or(col("a").eq(lit("y"))),
            col("a").in_list(vec![lit("y"), lit("z")], false),
            col("b").eq(lit("x")),
            col("a").gt(lit("b")),
        ];
        assert_eq!(texts_of(&filters, "a"), Some(BTreeSet::from(["y".to_owned()])));
        assert_eq!(texts_of(&filters, "b"), Some(BTreeSet::from(["x".to_owned()])));
        assert_eq!(texts_of(&filters, "c"), None);
        let mixed = [col("a").eq(lit("x")).or(col("b").eq(lit("x")))];
        assert_eq!(texts_of(&mixed, "a"), None);
        let negated = [col("a").in_list(vec![lit("y")], true)];
        assert_eq!(texts_of(&negated, "a"), None);
    }
}
