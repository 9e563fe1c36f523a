//! Which filters may see rows of other tenants.
//!
//! A filter handed to the inner table may be evaluated on rows of every tenant. That is fine for a plain comparison;
//! it is a leak for anything that can fail or be observed on a value: `CAST(payload AS INT) = 1` puts the foreign value
//! into the error text, `1 / (CASE WHEN payload LIKE '%x%' THEN 0 ELSE 1 END)` asks yes or no by dividing by zero.

use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

/// Whether evaluating the filter on any row can neither fail nor have an effect: comparisons of columns with
/// literals, null tests, `IN` lists, `BETWEEN`, `LIKE` with a literal, and `AND`, `OR`, `NOT` of those.
pub(super) fn is_leak_proof(filter: &Expr) -> bool {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
            Operator::And | Operator::Or => is_leak_proof(left) && is_leak_proof(right),
            Operator::Eq
            | Operator::NotEq
            | Operator::Lt
            | Operator::LtEq
            | Operator::Gt
            | Operator::GtEq
            | Operator::IsDistinctFrom
            | Operator::IsNotDistinctFrom => is_plain(left) && is_plain(right),
            _ => false,
        },
        Expr::Not(inner) => is_leak_proof(inner),
        Expr::IsNull(inner) | Expr::IsNotNull(inner) => is_plain(inner),
        Expr::Between(between) => {
            is_plain(&between.expr) && is_literal(&between.low) && is_literal(&between.high)
        }
        Expr::InList(list) => is_plain(&list.expr) && list.list.iter().all(is_literal),
        Expr::Like(like) => is_plain(&like.expr) && is_literal(&like.pattern),
        Expr::Column(_) | Expr::Literal(..) => true,
        _ => false,
    }
}

fn is_plain(expr: &Expr) -> bool {
    matches!(expr, Expr::Column(_)) || is_literal(expr)
}

fn is_literal(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(..))
}

#[cfg(test)]
mod tests {
    use datafusion::{
        arrow::datatypes::DataType,
        logical_expr::{cast, col, lit},
    };

    use super::*;

    #[test]
    fn only_what_cannot_fail_passes() {
        let plain = [
            col("a").eq(lit(1)),
            col("a")
                .gt(lit(1))
                .and(col("b").is_null().or(col("c").like(lit("%x")))),
            col("a").in_list(vec![lit(1), lit(2)], false),
            col("a").between(lit(1), lit(2)),
        ];
        let leaky = [
            cast(col("a"), DataType::Int32).eq(lit(1)),
            (lit(1) / col("a")).eq(lit(1)),
            col("a")
                .eq(lit(1))
                .and(cast(col("a"), DataType::Int32).eq(lit(1))),
            col("a").in_list(vec![cast(col("b"), DataType::Int32)], false),
            col("c").like(col("d") + lit("x")),
        ];
        for filter in plain {
            assert!(is_leak_proof(&filter), "{filter}");
        }
        for filter in leaky {
            assert!(!is_leak_proof(&filter), "{filter}");
        }
    }
}
