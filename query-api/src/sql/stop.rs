//! Making queries stoppable.
//!
//! A task is cancelled where it yields, and the engine yields where rows are read. A join can make billions of pairs of
//! the rows it has already read, so its output yields too, and its filter looks at the stop sign: pairs that all fail
//! the filter give no output to yield at.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use datafusion::{
    arrow::{
        array::RecordBatch,
        datatypes::{DataType, FieldRef, Schema},
    },
    common::{
        DataFusionError, Result,
        tree_node::{Transformed, TreeNode as _},
    },
    logical_expr::ColumnarValue,
    physical_plan::{
        ExecutionPlan, PhysicalExpr,
        coop::CooperativeExec,
        joins::{HashJoinExec, NestedLoopJoinExec, NestedLoopJoinExecBuilder, utils::JoinFilter},
    },
};

/// Raised when nobody waits for a query any more.
#[derive(Debug, Clone, Default)]
pub(super) struct StopSign(Arc<AtomicBool>);

impl StopSign {
    pub(super) fn raise(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn check(&self) -> Result<()> {
        if self.0.load(Ordering::Relaxed) {
            return Err(DataFusionError::Execution("the query was stopped".to_owned()));
        }
        Ok(())
    }
}

/// A plan with stops in every join and unnesting.
///
/// # Errors
/// When the engine cannot make a node anew.
pub(super) fn stoppable(plan: Arc<dyn ExecutionPlan>, sign: &StopSign) -> Result<Arc<dyn ExecutionPlan>> {
    let stoppable = plan.transform_up(|node| {
        if !["Join", "Unnest"].iter().any(|word| node.name().contains(word)) {
            return Ok(Transformed::no(node));
        }
        let node = sign.with_stop(node)?;
        Ok(Transformed::yes(
            Arc::new(CooperativeExec::new(node)) as Arc<dyn ExecutionPlan>
        ))
    });
    Ok(stoppable?.data)
}

impl StopSign {
    fn with_stop(&self, node: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        let any: &dyn std::any::Any = node.as_ref();
        if let Some(join) = any.downcast_ref::<NestedLoopJoinExec>()
            && let Some(filter) = join.filter()
        {
            let (left, right) = (Arc::clone(join.left()), Arc::clone(join.right()));
            let stoppable = NestedLoopJoinExecBuilder::new(left, right, *join.join_type())
                .with_filter(Some(self.filter(filter)))
                .with_projection_ref(join.projection().clone())
                .build()?;
            return Ok(Arc::new(stoppable));
        }
        if let Some(join) = any.downcast_ref::<HashJoinExec>()
            && let Some(filter) = join.filter()
        {
            return join.builder().with_filter(Some(self.filter(filter))).build_exec();
        }
        Ok(node)
    }

    fn filter(&self, filter: &JoinFilter) -> JoinFilter {
        let stoppable = StoppableExpr {
            inner: Arc::clone(filter.expression()),
            sign: self.clone(),
        };
        JoinFilter::new(
            Arc::new(stoppable),
            filter.column_indices().to_vec(),
            Arc::clone(filter.schema()),
        )
    }
}

/// An expression that fails once the sign is raised.
#[derive(Debug, Clone)]
struct StoppableExpr {
    inner: Arc<dyn PhysicalExpr>,
    sign: StopSign,
}

impl PartialEq for StoppableExpr {
    fn eq(&self, other: &Self) -> bool {
        self.inner.eq(&other.inner)
    }
}

impl Eq for StoppableExpr {}

impl Hash for StoppableExpr {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl fmt::Display for StoppableExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl PhysicalExpr for StoppableExpr {
    fn data_type(&self, schema: &Schema) -> Result<DataType> {
        self.inner.data_type(schema)
    }

    fn nullable(&self, schema: &Schema) -> Result<bool> {
        self.inner.nullable(schema)
    }

    fn return_field(&self, schema: &Schema) -> Result<FieldRef> {
        self.inner.return_field(schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        self.sign.check()?;
        self.inner.evaluate(batch)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.inner]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let inner = children
            .pop()
            .ok_or_else(|| DataFusionError::Internal("a stoppable expression has one child".to_owned()))?;
        Ok(Arc::new(Self {
            inner,
            sign: self.sign.clone(),
        }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_sql(f)
    }
}
