//! Which queries can choose their first rows before the dear columns of scores are made?
//!
//! `ORDER BY value DESC LIMIT 50` over `scores` shows 50 explanations, and would have all of them made to sort them. This
//! rule finds a sort that keeps its first rows over a read of `scores`, and has the entities that may stand among those
//! rows chosen by a query of its own, over cheap columns alone; the scan then makes the other columns of these entities and of
//! no others (`chosen_scan.rs`). The query itself stays as it is, so its answer is the same, ties included (ADR 099).

use std::{collections::HashSet, sync::Arc};

use super::{
    chosen_scan::{Choice, ChosenScores},
    score_table::{CHOSEN_BY, ScoreTable},
};
use crate::access::TenantTable;
use datafusion::{
    arrow::compute::SortOptions,
    catalog::default_table_source::{provider_as_source, source_as_provider},
    common::{
        Column, Result,
        tree_node::{Transformed, TreeNode as _},
    },
    logical_expr::{
        Expr, Filter, Join, JoinType, LogicalPlan, Projection, Sort, SortExpr, SubqueryAlias, TableScan,
        TableScanBuilder,
    },
    optimizer::{ApplyOrder, Optimizer, OptimizerConfig, OptimizerRule},
};

/// The column of a choosing query that names the entity.
const ID: &str = "__chosen_id";

/// The engine's rules and this one: behind the one that tells sorts how many rows are kept, before filters and columns are
/// handed down to tables.
pub(super) fn rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let mut rules = Optimizer::new().rules;
    let place = rules.iter().position(|rule| rule.name() == "push_down_limit");
    rules.insert(
        place.map_or(rules.len(), |place| place + 1),
        Arc::new(ChooseFirst),
    );
    rules
}

/// See the head of the file.
#[derive(Debug)]
struct ChooseFirst;

impl OptimizerRule for ChooseFirst {
    fn name(&self) -> &'static str {
        "choose_first"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Sort(sort) = plan else {
            return Ok(Transformed::no(plan));
        };
        let Some(input) = sort.fetch.and_then(|rows| chosen(&sort, rows)) else {
            return Ok(Transformed::no(LogicalPlan::Sort(sort)));
        };
        Ok(Transformed::yes(LogicalPlan::Sort(Sort {
            input: Arc::new(input),
            ..sort
        })))
    }
}

/// What is sorted, with its read of scores confined to chosen entities. `None` where that cannot be.
fn chosen(sort: &Sort, rows: usize) -> Option<LogicalPlan> {
    let cheap = Cheap::of(&sort.input)?;
    let keys: Vec<&SortExpr> = sort
        .expr
        .iter()
        .take_while(|key| cheap.computes(&key.expr))
        .collect();
    if cheap.dear.is_empty() || keys.is_empty() {
        return None;
    }
    let options = keys.iter().map(|key| SortOptions {
        descending: !key.asc,
        nulls_first: key.nulls_first,
    });
    let options = options.collect();
    let named = keys
        .iter()
        .enumerate()
        .map(|(at, key)| key.expr.clone().alias(format!("__key_{at}")));
    let columns = std::iter::once(Expr::Column(cheap.id).alias(ID)).chain(named);
    let choosing = Projection::try_new(columns.collect(), Arc::new(cheap.plan)).ok()?;
    let choice = Choice {
        query: LogicalPlan::Projection(choosing),
        options,
        rows,
    };
    confined(&sort.input, &cheap.path, choice)
}

/// A plan without the dear columns of a read of scores below it.
struct Cheap {
    plan: LogicalPlan,
    /// The column of `plan` that names the entity.
    id: Column,
    /// Columns of the whole plan that are made of dear ones.
    dear: HashSet<Column>,
    /// The way down to the read of scores, as places among inputs.
    path: Vec<usize>,
}

impl Cheap {
    /// `None` where a row of scores does not stand for itself on the way up (grouped, counted, joined from outside), or where
    /// dear columns decide about rows.
    fn of(plan: &LogicalPlan) -> Option<Self> {
        match plan {
            LogicalPlan::TableScan(scan) => Self::of_scan(scan),
            LogicalPlan::SubqueryAlias(alias) => Self::of(&alias.input)?.renamed(alias),
            LogicalPlan::Filter(filter) => Self::of(&filter.input)?.filtered(filter),
            LogicalPlan::Projection(projection) => Self::of(&projection.input)?.projected(projection),
            LogicalPlan::Join(join) => Self::of_join(join),
            _ => None,
        }
    }

    fn of_scan(scan: &TableScan) -> Option<Self> {
        let provider = source_as_provider(&scan.source).ok()?;
        let scores: &ScoreTable = provider.downcast_ref::<TenantTable>()?.unmasked()?;
        if scan.fetch.is_some() || !scores.is_of_now() {
            return None;
        }
        let builder = TableScanBuilder::from(scan.clone()).with_projection(None);
        let whole = builder.build().ok()?;
        let dear = whole
            .projected_schema
            .columns()
            .into_iter()
            .filter(|column| !CHOSEN_BY.contains(&column.name.as_str()));
        Some(Self {
            id: Column::new(Some(scan.table_name.clone()), "entity_id"),
            dear: dear.collect(),
            plan: LogicalPlan::TableScan(whole),
            path: Vec::new(),
        })
    }

    fn renamed(self, alias: &SubqueryAlias) -> Option<Self> {
        let fields = alias.input.schema().fields();
        let names: HashSet<&String> = fields.iter().map(|field| field.name()).collect();
        if names.len() < fields.len() {
            // The alias numbers equal names, and would number them otherwise where some are left out.
            return None;
        }
        let named = |column: &Column| Column::new(Some(alias.alias.clone()), &column.name);
        Some(Self {
            id: named(&self.id),
            dear: self.dear.iter().map(named).collect(),
            plan: LogicalPlan::SubqueryAlias(
                SubqueryAlias::try_new(Arc::new(self.plan), alias.alias.clone()).ok()?,
            ),
            path: below(0, self.path),
        })
    }

    fn filtered(self, filter: &Filter) -> Option<Self> {
        if !self.computes(&filter.predicate) {
            return None;
        }
        let filter = Filter::try_new(filter.predicate.clone(), Arc::new(self.plan)).ok()?;
        Some(Self {
            plan: LogicalPlan::Filter(filter),
            path: below(0, self.path),
            ..self
        })
    }

    fn projected(self, projection: &Projection) -> Option<Self> {
        let mut dear = HashSet::new();
        let mut columns = Vec::with_capacity(projection.expr.len() + 1);
        for (expr, column) in projection.expr.iter().zip(projection.schema.columns()) {
            if self.computes(expr) {
                columns.push(expr.clone());
            } else if is_repeatable(expr) {
                dear.insert(column);
            } else {
                return None;
            }
        }
        columns.push(Expr::Column(self.id).alias(ID));
        let projection = Projection::try_new(columns, Arc::new(self.plan)).ok()?;
        Some(Self {
            plan: LogicalPlan::Projection(projection),
            id: Column::new_unqualified(ID),
            dear,
            path: below(0, self.path),
        })
    }

    /// A join in which each row of scores stands or falls by itself: where it is on the side that is kept.
    fn of_join(join: &Join) -> Option<Self> {
        use JoinType::{Inner, Left, LeftAnti, LeftSemi, Right, RightAnti, RightSemi};
        let left = matches!(join.join_type, Inner | Left | LeftSemi | LeftAnti)
            .then(|| Self::of(&join.left))
            .flatten();
        let right = || {
            matches!(join.join_type, Inner | Right | RightSemi | RightAnti)
                .then(|| Self::of(&join.right))
                .flatten()
        };
        let (side, found) = match left {
            Some(found) => (0, found),
            None => (1, right()?),
        };
        let (on, filter) = (
            join.on.iter().flat_map(|(left, right)| [left, right]),
            join.filter.iter(),
        );
        if !on.chain(filter).all(|expr| found.computes(expr)) {
            return None;
        }
        let (left, right) = match side {
            0 => (Arc::new(found.plan), Arc::clone(&join.right)),
            _ => (Arc::clone(&join.left), Arc::new(found.plan)),
        };
        let join = Join::try_new(
            left,
            right,
            join.on.clone(),
            join.filter.clone(),
            join.join_type,
            join.join_constraint,
            join.null_equality,
            join.null_aware,
        );
        Some(Self {
            plan: LogicalPlan::Join(join.ok()?),
            path: below(side, found.path),
            id: found.id,
            dear: found.dear,
        })
    }

    /// Whether an expression needs no dear column and gives the same whenever it is computed.
    fn computes(&self, expr: &Expr) -> bool {
        is_repeatable(expr)
            && !expr
                .column_refs()
                .into_iter()
                .any(|column| self.dear.contains(column))
    }
}

/// Neither volatile nor with a query of its own.
fn is_repeatable(expr: &Expr) -> bool {
    let asks = expr.exists(|part| {
        Ok(matches!(
            part,
            Expr::Exists(_)
                | Expr::InSubquery(_)
                | Expr::ScalarSubquery(_)
                | Expr::SetComparison(_)
                | Expr::OuterReferenceColumn(..)
        ))
    });
    !expr.is_volatile() && !asks.unwrap_or(true)
}

fn below(place: usize, mut path: Vec<usize>) -> Vec<usize> {
    path.insert(0, place);
    path
}

/// A plan whose read of scores at `path` is of the chosen entities.
fn confined(plan: &LogicalPlan, path: &[usize], choice: Choice) -> Option<LogicalPlan> {
    match (path.split_first(), plan) {
        (None, LogicalPlan::TableScan(scan)) => {
            let all = source_as_provider(&scan.source).ok()?;
            let chosen = ChosenScores { all, choice };
            Some(LogicalPlan::TableScan(TableScan {
                source: provider_as_source(Arc::new(chosen)),
                ..scan.clone()
            }))
        }
        (None, _) => None,
        (Some((place, rest)), _) => {
            let mut inputs: Vec<LogicalPlan> = plan.inputs().into_iter().cloned().collect();
            let input = inputs.get_mut(*place)?;
            *input = confined(input, rest, choice)?;
            plan.with_new_exprs(plan.expressions(), inputs).ok()
        }
    }
}

#[cfg(test)]
mod tests;
