//! Q-1 by force: random SQL, right and wrong, asked by who must not see marked rows; no mark ever comes back.
//!
//! `acme` may not see other tenants, `rep-2` of `wayne` may not see the records of `rep-1`; every text of those rows
//! carries a mark. The same run with an administrator's key does find marks, so the run can fail. 10,000 queries are
//! asked by `just slow` (`REVGAUGE_CANARY_QUERIES=10000`); the ordinary run asks fewer.

use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};

use super::world::{CANARY, Reply, World};
use crate::settings::ApiSettings;

/// Queries of the ordinary run, for each asker.
const QUERIES: usize = 150;

const TABLES: &[(&str, &[&str])] = &[
    (
        "events",
        &[
            "tenant_id",
            "event_id",
            "type",
            "contact_id",
            "deal_id",
            "account_id",
            "payload",
            "event_time",
            "value",
        ],
    ),
    (
        "score_changes",
        &[
            "tenant_id",
            "entity_id",
            "reason",
            "detail",
            "new_value",
            "position",
            "as_of",
        ],
    ),
    (
        "crm_state",
        &["tenant_id", "object", "object_id", "field", "latest"],
    ),
    (
        "scores",
        &[
            "tenant_id",
            "entity_kind",
            "entity_id",
            "name",
            "value",
            "reasons",
            "contributions",
            "facts",
        ],
    ),
    (
        "contacts",
        &["tenant_id", "contact_id", "name", "email", "owner_id", "fields"],
    ),
    (
        "accounts",
        &["tenant_id", "account_id", "name", "domain", "fields"],
    ),
    (
        "deals",
        &["tenant_id", "deal_id", "name", "amount", "stage", "fields"],
    ),
    ("alerts", &["tenant_id", "entity_id", "rule", "message", "fields"]),
    (
        "text_signals",
        &["tenant_id", "deal_id", "quote", "signal", "fields"],
    ),
    (
        "compliance_report",
        &["tenant_id", "user_id", "hits", "suggestion", "fields"],
    ),
    (
        "duplicate_companies",
        &["tenant_id", "shared", "key", "evidence", "fields"],
    ),
    (
        "scores_as_of('2026-01-01')",
        &["tenant_id", "entity_id", "name", "value", "reasons"],
    ),
    (
        "pipeline_as_of('2026-01-01')",
        &["tenant_id", "deal_id", "name", "health", "fields"],
    ),
    (
        "score_change('contact', 'c1', '2026-01-01', '2026-01-08')",
        &["score", "points", "reason", "fields"],
    ),
    (
        "waterfall('2026-01-01', '2026-01-08')",
        &["bucket", "deal_id", "amount", "fields"],
    ),
    ("report_pipeline_by_stage", &["stage", "deals"]),
    ("table_columns", &["table_name", "column_name", "description"]),
    (
        "information_schema.tables",
        &["table_name", "table_type", "table_schema"],
    ),
    (
        "information_schema.columns",
        &["table_name", "column_name", "data_type"],
    ),
    ("information_schema.views", &["table_name", "definition"]),
    ("information_schema.df_settings", &["name", "value"]),
];

const LITERALS: &[&str] = &[
    "1",
    "0",
    "-7",
    "2.5",
    "NULL",
    "true",
    "''",
    "'x'",
    "'acme'",
    "'umbrella'",
    "'c1'",
    "'d1'",
    "'%CANARY%'",
    "'%a%'",
    "'2026-01-01'",
    "timestamp '2026-01-01T00:00:00'",
    "9223372036854775807",
    "'{\"a\":1}'",
    "X'00'",
    "'rep-1'",
];

const TYPES: &[&str] = &[
    "int",
    "bigint",
    "double",
    "text",
    "boolean",
    "timestamp",
    "date",
    "decimal(9,2)",
    "bytea",
    "time",
];

const UNARY: &[&str] = &[
    "upper",
    "lower",
    "length",
    "md5",
    "sha256",
    "reverse",
    "trim",
    "ascii",
    "to_timestamp",
    "abs",
    "sqrt",
    "ln",
    "char_length",
    "encode_it",
    "json_length",
    "json_object_keys",
    "to_hex",
    "chr",
    "arrow_typeof",
    "bit_length",
    "isnan",
];

const BINARY: &[&str] = &[
    "concat",
    "coalesce",
    "nullif",
    "greatest",
    "least",
    "strpos",
    "starts_with",
    "split_part",
    "json_get",
    "json_get_str",
    "json_contains",
    "regexp_match",
    "regexp_like",
    "date_trunc",
    "power",
    "left",
    "levenshtein",
    "nvl",
    "arrow_cast",
];

const AGGREGATES: &[&str] = &[
    "count",
    "min",
    "max",
    "sum",
    "avg",
    "array_agg",
    "first_value",
    "last_value",
    "approx_distinct",
    "median",
    "stddev",
    "bool_or",
    "string_agg",
];

const OPERATORS: &[&str] = &[
    "=",
    "<>",
    "<",
    ">=",
    "like",
    "ilike",
    "~",
    "!~*",
    "||",
    "+",
    "-",
    "*",
    "/",
    "%",
    "and",
    "or",
    "is distinct from",
    "->",
    "->>",
];

/// Draws queries.
struct Grammar(StdRng);

impl Grammar {
    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from.choose(&mut self.0).expect("some")
    }

    fn one_in(&mut self, n: u32) -> bool {
        self.0.random_ratio(1, n)
    }

    fn table(&mut self) -> (&'static str, &'static [&'static str]) {
        *TABLES.choose(&mut self.0).expect("some")
    }

    fn column(&mut self, columns: &[&str]) -> String {
        if self.one_in(40) {
            return self
                .pick(&["nonsense", "tenant_id", "\"Name\"", "*", "_"])
                .to_owned();
        }
        self.pick(columns).to_owned()
    }

    fn expression(&mut self, columns: &[&str], depth: u32) -> String {
        if depth == 0 {
            return if self.one_in(3) {
                self.pick(LITERALS).to_owned()
            } else {
                self.column(columns)
            };
        }
        let a = self.expression(columns, depth - 1);
        match self.0.random_range(0..14) {
            0 | 1 => format!("{}({a})", self.pick(UNARY)),
            2 => format!(
                "{}({a}, {})",
                self.pick(BINARY),
                self.expression(columns, depth - 1)
            ),
            3 => format!("cast({a} as {})", self.pick(TYPES)),
            4 => format!("try_cast({a} as {})", self.pick(TYPES)),
            5 => format!("{a}::{}", self.pick(TYPES)),
            6 => format!(
                "case when {a} then {} else {} end",
                self.expression(columns, depth - 1),
                self.expression(columns, 0)
            ),
            7 => format!(
                "1 / (case when {} like '%CANARY%' then 0 else 1 end)",
                self.column(columns)
            ),
            8 => {
                let (table, others) = self.table();
                format!(
                    "(select {}({}) from {table})",
                    self.pick(&["min", "max", "count"]),
                    self.column(others)
                )
            }
            9 => format!(
                "{a} in ({}, {})",
                self.pick(LITERALS),
                self.expression(columns, 0)
            ),
            10 => format!("{a} between {} and {}", self.pick(LITERALS), self.pick(LITERALS)),
            11 => format!("{a} is {} null", self.pick(&["", "not"])),
            _ => format!(
                "({a} {} {})",
                self.pick(OPERATORS),
                self.expression(columns, depth - 1)
            ),
        }
    }

    fn select(&mut self, depth: u32) -> String {
        let (table, columns) = self.table();
        let alias = self.pick(&["", " t", " as u"]);
        let depth_of = self.0.random_range(0..3);
        let mut what = match self.0.random_range(0..5) {
            0 => "*".to_owned(),
            1 => format!(
                "{}({})",
                self.pick(AGGREGATES),
                self.expression(columns, depth_of)
            ),
            2 => format!(
                "{}({}) over (partition by {} order by {})",
                self.pick(&["first_value", "lag", "max", "rank", "array_agg"]),
                self.column(columns),
                self.column(columns),
                self.column(columns)
            ),
            _ => self.expression(columns, depth_of),
        };
        if self.one_in(3) {
            what = format!("{what}, {}", self.expression(columns, 1));
        }
        let distinct = if self.one_in(6) { "distinct " } else { "" };
        let mut from = format!("{table}{alias}");
        if depth > 0 && self.one_in(3) {
            let (other, others) = self.table();
            let on = format!(
                "a.{} {} b.{}",
                self.pick(columns),
                self.pick(OPERATORS),
                self.pick(others)
            );
            let join = self.pick(&["join", "left join", "full join", "cross join", "right join"]);
            let on = if join == "cross join" {
                String::new()
            } else {
                format!(" on {on}")
            };
            from = format!("{table} a {join} {other} b{on}");
        } else if depth > 0 && self.one_in(4) {
            from = format!("({}) s", self.select(depth - 1));
        }
        let mut sql = format!("select {distinct}{what} from {from}");
        if self.one_in(2) {
            let depth_of = self.0.random_range(0..3);
            sql = format!("{sql} where {}", self.expression(columns, depth_of));
        }
        if depth > 0 && self.one_in(6) {
            sql = format!(
                "{sql}{} {} ({})",
                if sql.contains(" where ") { " and" } else { " where" },
                self.pick(&["exists", "not exists", "tenant_id in"]),
                self.select(0)
            );
        }
        if self.one_in(6) {
            let kind = self.pick(&["", "rollup", "cube"]);
            sql = format!("{sql} group by {kind} ({})", self.column(columns));
        }
        if self.one_in(4) {
            sql = format!("{sql} order by {} desc", self.expression(columns, 1));
        }
        if self.one_in(4) {
            sql = format!("{sql} limit {}", self.0.random_range(0..4));
        }
        sql
    }

    fn query(&mut self) -> String {
        let body = self.select(2);
        let sql = match self.0.random_range(0..16) {
            0 => format!(
                "{body} {} {}",
                self.pick(&["union", "union all", "except", "intersect"]),
                self.select(1)
            ),
            1 => format!("with w as ({body}) select * from w, w x"),
            2 => format!("explain {body}"),
            3 => format!("explain verbose {body}"),
            4 => format!("explain analyze {body}"),
            5 => format!(
                "with recursive r as ({} union {}) select * from r",
                self.select(0),
                self.select(0)
            ),
            6 => format!("select array(({body}))"),
            7 => format!(
                "{} {}",
                self.pick(&["describe", "show columns from"]),
                self.table().0
            ),
            _ => body,
        };
        if self.one_in(7) { self.spoil(&sql) } else { sql }
    }

    /// Cut, doubled, with foreign signs or the wrong verb.
    fn spoil(&mut self, sql: &str) -> String {
        let mut signs: Vec<char> = sql.chars().collect();
        let at = self.0.random_range(0..signs.len());
        match self.0.random_range(0..6) {
            0 => signs.truncate(at),
            1 => {
                let sign = *['\'', '"', '(', ')', ';', '\0', '\u{202e}', '$', '@']
                    .choose(&mut self.0)
                    .expect("some");
                signs.insert(at, sign);
            }
            2 => {
                signs.remove(at);
            }
            3 => return format!("{sql}; {sql}"),
            4 => {
                return sql.replacen(
                    "select",
                    self.pick(&["insert into events select", "delete", "copy (select", "selec"]),
                    1,
                );
            }
            _ => signs.rotate_left(at),
        }
        signs.into_iter().collect()
    }
}

/// A mark in answer or headers. Names of sources, which say how fresh an answer is, are the tenant's.
fn has_mark(reply: &Reply) -> bool {
    let source = format!("{CANARY}-http");
    let mark = format!("{CANARY}-");
    let headers = format!("{:?}", reply.headers);
    reply.text().replace(&source, "").contains(&mark) || headers.replace(&source, "").contains(&mark)
}

#[tokio::test]
async fn no_random_query_brings_a_mark_back() {
    let asked = std::env::var("REVGAUGE_CANARY_QUERIES").ok();
    let queries = asked.map_or(QUERIES, |text| text.parse().expect("a number of queries"));
    let mut settings = ApiSettings::default();
    settings.http.requests_per_second = 100_000;
    settings.http.burst = 100_000;
    settings.sql.timeout_ms = 5_000;
    let world = World::with(settings).await;
    let mut leaks = Vec::new();
    let (mut answered, mut controls) = (0, 0);
    for (seed, key) in [(11, "wayne-rep-2"), (12, "revops")] {
        let mut grammar = Grammar(StdRng::seed_from_u64(seed));
        for number in 0..queries {
            let sql = grammar.query();
            assert!(
                !sql.contains("CANARY-"),
                "the query itself must not hold the mark: {sql}"
            );
            let reply = world.sql(key, &sql).await;
            answered += usize::from(reply.status.is_success());
            if has_mark(&reply) {
                leaks.push(format!("{key} {number}: {sql}\n{}", reply.text()));
            }
            if number % 4 == 0 {
                controls += usize::from(has_mark(&world.sql("wayne-admin", &sql).await));
            }
        }
    }
    assert!(leaks.is_empty(), "{} leaks, the first: {}", leaks.len(), leaks[0]);
    // The run has teeth: queries do run, and the same ones show marks to who may see them.
    assert!(answered * 5 > queries * 2, "{answered} of {} ran", queries * 2);
    assert!(controls * 30 > queries, "{controls} controls saw a mark");
}
