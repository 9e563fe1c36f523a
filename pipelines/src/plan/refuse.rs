//! What cannot be kept incrementally, by name and with the reason.

use datafusion::{
    common::tree_node::{TreeNode, TreeNodeRecursion},
    logical_expr::{Expr, LogicalPlan, Volatility},
};

use crate::error::PipelineError;

/// Aggregates whose result does not depend on the order of rows and whose states merge (P-1).
const COMMUTATIVE: [&str; 17] = [
    "count",
    "sum",
    "min",
    "max",
    "avg",
    "bool_and",
    "bool_or",
    "bit_and",
    "bit_or",
    "bit_xor",
    "stddev",
    "stddev_pop",
    "var",
    "var_pop",
    "corr",
    "covar_samp",
    "covar_pop",
];

struct Refusal {
    what: String,
    reason: &'static str,
}

/// Refuses a logical plan that is not filter and projection, at most one aggregation, projection.
pub(super) fn check(pipeline: &str, plan: &LogicalPlan) -> Result<(), PipelineError> {
    node(plan, false).map_err(|refusal| PipelineError::Refused {
        pipeline: pipeline.to_owned(),
        what: refusal.what,
        reason: refusal.reason,
    })
}

fn refuse(what: impl Into<String>, reason: &'static str) -> Result<(), Refusal> {
    Err(Refusal {
        what: what.into(),
        reason,
    })
}

fn node(plan: &LogicalPlan, below: bool) -> Result<(), Refusal> {
    for expr in plan.expressions() {
        expression(&expr)?;
    }
    match plan {
        LogicalPlan::TableScan(_) => Ok(()),
        LogicalPlan::Projection(projection) => node(&projection.input, below),
        LogicalPlan::SubqueryAlias(alias) => node(&alias.input, below),
        LogicalPlan::Filter(filter) => {
            if !below && holds_aggregate(&filter.input) {
                return refuse("HAVING", "would have to take back rows that stop matching");
            }
            node(&filter.input, below)
        }
        LogicalPlan::Aggregate(aggregate) => {
            if below {
                return refuse(
                    "an aggregate over an aggregate",
                    "would have to take back what the inner one said before",
                );
            }
            if aggregate.group_expr.is_empty() {
                return refuse("an aggregate without GROUP BY", "has no tenant and no entity key");
            }
            if aggregate
                .group_expr
                .iter()
                .any(|expr| matches!(expr, Expr::GroupingSet(_)))
            {
                return refuse(
                    "GROUPING SETS",
                    "give one event several groups; write one pipeline each",
                );
            }
            node(&aggregate.input, true)
        }
        LogicalPlan::Join(_) => refuse("JOIN", "needs both sides' past; joins belong to layer 2"),
        LogicalPlan::Window(_) => refuse(
            "a window function (OVER)",
            "depends on the order of rows, so late events would change answers already given",
        ),
        LogicalPlan::Sort(_) => refuse("ORDER BY", "has no meaning for a table that is kept up to date"),
        LogicalPlan::Limit(_) => refuse("LIMIT", "would depend on the order in which events arrive"),
        LogicalPlan::Distinct(_) => {
            refuse("SELECT DISTINCT", "is not needed: group by the columns and count")
        }
        LogicalPlan::Union(_) => refuse("UNION", "reads two inputs; write one pipeline each"),
        LogicalPlan::Subquery(_) => refuse("a subquery", "is a join; joins belong to layer 2"),
        LogicalPlan::Unnest(_) => refuse(
            "UNNEST",
            "makes several rows of one event; explode before the pipeline",
        ),
        LogicalPlan::RecursiveQuery(_) => refuse("WITH RECURSIVE", "cannot be kept incrementally"),
        LogicalPlan::Values(_) | LogicalPlan::EmptyRelation(_) => refuse(
            "a query without a table",
            "has nothing to be kept up to date with",
        ),
        _ => refuse(
            plan.display().to_string(),
            "is an operator the incremental engine does not cut",
        ),
    }
}

fn holds_aggregate(plan: &LogicalPlan) -> bool {
    matches!(plan, LogicalPlan::Aggregate(_)) || plan.inputs().into_iter().any(holds_aggregate)
}

fn expression(expr: &Expr) -> Result<(), Refusal> {
    let mut refused = Ok(());
    let walked = expr.apply(|expr| {
        refused = one(expr);
        Ok(if refused.is_ok() {
            TreeNodeRecursion::Continue
        } else {
            TreeNodeRecursion::Stop
        })
    });
    debug_assert!(walked.is_ok(), "the walk itself cannot fail");
    refused
}

fn one(expr: &Expr) -> Result<(), Refusal> {
    match expr {
        Expr::AggregateFunction(call) => {
            let name = call.func.name();
            if call.params.distinct {
                return refuse(
                    format!("{name}(DISTINCT ...)"),
                    "has no small state to merge; group by the column and count in layer 2",
                );
            }
            if !call.params.order_by.is_empty() {
                return refuse(
                    format!("{name}(... ORDER BY ...)"),
                    "depends on the order of rows",
                );
            }
            if !COMMUTATIVE.contains(&name) {
                return refuse(
                    format!("{name}(...)"),
                    "is not known to give the same answer whatever the order of events",
                );
            }
            Ok(())
        }
        Expr::ScalarFunction(call) if call.func.signature().volatility != Volatility::Immutable => refuse(
            format!("{}()", call.func.name()),
            "gives another value each time, so a replay would differ",
        ),
        Expr::InSubquery(_) | Expr::Exists(_) | Expr::ScalarSubquery(_) => {
            refuse("a subquery", "is a join; joins belong to layer 2")
        }
        Expr::WindowFunction(_) => refuse(
            "a window function (OVER)",
            "depends on the order of rows, so late events would change answers already given",
        ),
        _ => Ok(()),
    }
}
