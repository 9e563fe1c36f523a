//! Which columns do the functions of the forecast have, and what do they mean?

use super::object_table::{Column, Reading, column};

const CURRENCY: Column = column(
    "currency",
    Reading::Text,
    &["currency"],
    "currency of the amounts",
    "ISO 4217",
);
const PERIOD: Column = column("period", Reading::Text, &["period"], "name of the period", "");
const METHOD: Column = column(
    "method",
    Reading::Text,
    &["method"],
    "blend, or a method in it",
    "",
);
const WAPE: Column = column(
    "wape",
    Reading::Number,
    &["wape"],
    "absolute errors over actual revenue, at the same elapsed share of past periods",
    "share",
);
const BIAS: Column = column(
    "bias",
    Reading::Number,
    &["bias"],
    "forecast less actual over actual revenue there",
    "share",
);
const NOISE_FLOOR: Column = column(
    "noise_floor",
    Reading::Number,
    &["noise_floor"],
    "error that a forecast would have if its distribution were right",
    "share",
);
const START: Column = column("period_start", Reading::Instant, &["start"], "its start", "UTC");
const END: Column = column(
    "period_end",
    Reading::Instant,
    &["end"],
    "its end, excluded",
    "UTC",
);
const AS_OF: Column = column(
    "as_of",
    Reading::Instant,
    &["as_of"],
    "what was known then was used",
    "UTC",
);
const CLOSED: Column = column(
    "closed",
    Reading::Number,
    &["closed"],
    "won in the period so far",
    "currency",
);
const P10: Column = column("p10", Reading::Number, &["p10"], "10 % quantile", "currency");
const P50: Column = column("p50", Reading::Number, &["p50"], "median", "currency");
const P90: Column = column("p90", Reading::Number, &["p90"], "90 % quantile", "currency");
const QUOTA: Column = column(
    "quota",
    Reading::Number,
    &["quota"],
    "quota of the people asked about",
    "currency",
);
const ATTAINMENT: Column = column(
    "attainment",
    Reading::Number,
    &["attainment"],
    "closed over quota",
    "share",
);
const ATTAINMENT_PROBABILITY: Column = column(
    "attainment_probability",
    Reading::Number,
    &["attainment_probability"],
    "probability of reaching the quota",
    "0-1",
);
const SUBMITTED: Column = column(
    "submitted",
    Reading::Number,
    &["submitted"],
    "what the people asked about submitted as commit",
    "currency",
);

/// Columns of `forecast_as_of`.
pub(super) const METHODS: &[Column] = &[
    CURRENCY,
    PERIOD,
    START,
    END,
    AS_OF,
    METHOD,
    column(
        "value",
        Reading::Number,
        &["value"],
        "revenue of the period by this method",
        "currency",
    ),
    column(
        "weight",
        Reading::Number,
        &["weight"],
        "share in the blend",
        "0-1",
    ),
    WAPE,
    BIAS,
    NOISE_FLOOR,
    CLOSED,
    P10,
    P50,
    P90,
    column(
        "commit",
        Reading::Number,
        &["commit"],
        "open with a close date in the period and category commit, single",
        "currency",
    ),
    column(
        "best_case",
        Reading::Number,
        &["best_case"],
        "as commit, category best case",
        "currency",
    ),
    column(
        "pipeline",
        Reading::Number,
        &["pipeline"],
        "as commit, category pipeline or none",
        "currency",
    ),
    column(
        "commit_cumulative",
        Reading::Number,
        &["commit_cumulative"],
        "closed and commit",
        "currency",
    ),
    column(
        "best_case_cumulative",
        Reading::Number,
        &["best_case_cumulative"],
        "closed, commit and best case",
        "currency",
    ),
    QUOTA,
    ATTAINMENT,
    ATTAINMENT_PROBABILITY,
    column(
        "coverage",
        Reading::Number,
        &["coverage"],
        "open in the period over what of the quota is missing",
        "share",
    ),
    column(
        "pacing",
        Reading::Number,
        &["pacing"],
        "attainment over the share usually won by this time",
        "share",
    ),
    SUBMITTED,
];

/// Columns of `forecast_accuracy`.
pub(super) const ACCURACY: &[Column] = &[
    CURRENCY,
    column("node", Reading::Text, &["node"], "a person; empty for all", ""),
    column(
        "node_kind",
        Reading::Text,
        &["node_kind"],
        "all, team or person",
        "",
    ),
    column(
        "elapsed",
        Reading::Number,
        &["elapsed"],
        "share of the period that had passed",
        "0-1",
    ),
    METHOD,
    column(
        "periods",
        Reading::Number,
        &["periods"],
        "past periods judged",
        "",
    ),
    column(
        "actual",
        Reading::Number,
        &["actual"],
        "revenue that came in them",
        "currency",
    ),
    WAPE,
    BIAS,
    column(
        "covered",
        Reading::Number,
        &["covered"],
        "periods inside the 80 % range given then",
        "",
    ),
    NOISE_FLOOR,
];

/// Columns of `forecast_by_node`.
pub(super) const NODES: &[Column] = &[
    CURRENCY,
    PERIOD,
    START,
    END,
    AS_OF,
    column(
        "node",
        Reading::Text,
        &["node"],
        "a person; empty for all, and as a person where the owner is unknown",
        "",
    ),
    column(
        "node_kind",
        Reading::Text,
        &["node_kind"],
        "all, team (the person and everyone below) or person (its own deals alone)",
        "",
    ),
    column(
        "parent",
        Reading::Text,
        &["parent"],
        "the node above, to which it adds; null at the top",
        "",
    ),
    column("parent_kind", Reading::Text, &["parent_kind"], "its kind", ""),
    column("depth", Reading::Number, &["depth"], "steps from the top", ""),
    CLOSED,
    column(
        "open",
        Reading::Number,
        &["open"],
        "expected of open deals",
        "currency",
    ),
    column(
        "not_yet_created",
        Reading::Number,
        &["not_yet_created"],
        "expected of deals not yet created",
        "currency",
    ),
    column(
        "expected",
        Reading::Number,
        &["expected"],
        "closed, open and not yet created; the nodes right below a node sum to it",
        "currency",
    ),
    column(
        "value",
        Reading::Number,
        &["value"],
        "the node's part in the blend of the top; the nodes right below a node sum to it",
        "currency",
    ),
    P10,
    P50,
    P90,
    QUOTA,
    ATTAINMENT,
    ATTAINMENT_PROBABILITY,
    SUBMITTED,
];

/// Columns of `forecast_rows_as_of`.
pub(super) const ROWS: &[Column] = &[
    CURRENCY,
    PERIOD,
    column(
        "kind",
        Reading::Text,
        &["kind"],
        "closed, open or not_yet_created",
        "",
    ),
    column("deal_id", Reading::Text, &["deal_id"], "which deal", ""),
    column("owner_id", Reading::Text, &["owner_id"], "its owner", ""),
    column("stage", Reading::Text, &["stage"], "its stage", ""),
    column(
        "category",
        Reading::Text,
        &["category"],
        "its forecast category",
        "",
    ),
    column("amount", Reading::Number, &["amount"], "its amount", "currency"),
    column(
        "probability",
        Reading::Number,
        &["probability"],
        "probability of being won within the period; for deals not yet created their expected number",
        "0-1",
    ),
    column(
        "contribution",
        Reading::Number,
        &["contribution"],
        "amount times probability; all rows of a currency sum to the hazard method's value",
        "currency",
    ),
    column(
        "expected_close",
        Reading::Instant,
        &["expected_close"],
        "of an open deal: median instant of being won, if it is won within 540 days",
        "UTC",
    ),
    column(
        "expected_close_p10",
        Reading::Instant,
        &["expected_close_p10"],
        "its 10 % quantile",
        "UTC",
    ),
    column(
        "expected_close_p90",
        Reading::Instant,
        &["expected_close_p90"],
        "its 90 % quantile",
        "UTC",
    ),
];
