//! Q-1 by force: random SQL, right and wrong, asked at every door that takes SQL by who must not see marked rows; no mark
//! ever comes back.
//!
//! `acme` may not see other tenants, `rep-2` of `wayne` may not see the records of `rep-1`; every text of those rows
//! carries a mark. The same run with an administrator's key does find marks, so the run can fail. 10,000 queries are
//! asked by `just slow` (`REVGAUGE_CANARY_QUERIES=10000`); the ordinary run asks fewer.

use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};

use super::{
    through::{Asker, Door, Doors},
    world::{CANARY, Reply, World},
};
use crate::settings::ApiSettings;

/// Queries of the ordinary run, for each asker.
const QUERIES: usize = 120;

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
        "people",
        &["tenant_id", "user_id", "name", "manager_id", "fields"],
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
    (
        "forecast_as_of('2026-01-01')",
        &["currency", "method", "value", "fields"],
    ),
    (
        "forecast_rows_as_of('2026-01-01')",
        &["kind", "deal_id", "amount", "fields"],
    ),
    (
        "forecast_by_node('2026-01-01')",
        &["node", "parent", "value", "fields"],
    ),
    (
        "forecast_accuracy('2026-01-01')",
        &["node", "method", "wape", "fields"],
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

/// Tables that the PostgreSQL door adds.
const SYSTEM_TABLES: &[(&str, &[&str])] = &[
    (
        "pg_catalog.pg_class",
        &["oid", "relname", "relkind", "relnamespace"],
    ),
    ("pg_catalog.pg_attribute", &["attrelid", "attname", "attnum"]),
    (
        "pg_catalog.pg_description",
        &["objoid", "objsubid", "description"],
    ),
    ("pg_catalog.pg_constraint", &["conname", "contype", "conrelid"]),
    ("pg_catalog.pg_proc", &["proname", "prosrc"]),
    ("pg_catalog.pg_type", &["oid", "typname"]),
    ("pg_catalog.pg_namespace", &["nspname"]),
    ("pg_catalog.pg_settings", &["name", "setting"]),
    ("pg_catalog.pg_stat_activity", &["query", "usename"]),
    ("pg_catalog.pg_tables", &["tablename", "schemaname"]),
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

/// Functions of one text that take any text.
const UNARY: &[&str] = &[
    "upper",
    "lower",
    "length",
    "md5",
    "reverse",
    "trim",
    "ascii",
    "char_length",
    "json_length",
    "bit_length",
    "arrow_typeof",
    "initcap",
    "octet_length",
    "to_timestamp",
    "encode_it",
    "sha256",
];

const BINARY: &[&str] = &[
    "concat",
    "coalesce",
    "nullif",
    "strpos",
    "starts_with",
    "json_get",
    "json_get_str",
    "json_contains",
    "regexp_like",
    "levenshtein",
    "nvl",
    "greatest",
    "regexp_match",
    "arrow_cast",
    "power",
];

const AGGREGATES: &[&str] = &[
    "count",
    "min",
    "max",
    "array_agg",
    "first_value",
    "last_value",
    "approx_distinct",
    "string_agg",
    "sum",
    "bool_or",
];

/// Operators on two texts that give a boolean.
const COMPARISONS: &[&str] = &[
    "=",
    "<>",
    "<",
    ">=",
    "like",
    "ilike",
    "~",
    "!~*",
    "is distinct from",
];

const OTHERS: &[&str] = &["||", "->", "->>", "+", "/", "%", "and"];

/// What a query reads from: the text after FROM, and the columns it gives.
struct Source {
    from: String,
    columns: Vec<String>,
}

/// Draws queries. Most are right, so that they run; some are wrong in every way.
struct Grammar {
    random: StdRng,
    /// The door the next query is for.
    door: Door,
}

impl Grammar {
    fn new(seed: u64) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
            door: Door::Rest,
        }
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from.choose(&mut self.random).expect("some")
    }

    fn one_in(&mut self, n: u32) -> bool {
        self.random.random_ratio(1, n)
    }

    fn table(&mut self) -> (&'static str, &'static [&'static str]) {
        if self.door == Door::Postgres && self.one_in(4) {
            return *SYSTEM_TABLES.choose(&mut self.random).expect("some");
        }
        *TABLES.choose(&mut self.random).expect("some")
    }

    /// A column, seldom one that is none.
    fn column(&mut self, columns: &[String]) -> String {
        if self.one_in(60) {
            return self.pick(&["nonsense", "\"Name\"", "_"]).to_owned();
        }
        columns.choose(&mut self.random).expect("some").clone()
    }

    fn as_text(&mut self, columns: &[String]) -> String {
        let column = self.column(columns);
        if self.one_in(12) {
            column
        } else {
            format!("cast({column} as text)")
        }
    }

    fn expression(&mut self, columns: &[String], depth: u32) -> String {
        if depth == 0 {
            return if self.one_in(4) {
                self.pick(LITERALS).to_owned()
            } else {
                self.as_text(columns)
            };
        }
        let a = self.expression(columns, depth - 1);
        match self.random.random_range(0..16) {
            0..=2 => format!("{}({})", self.pick(UNARY), self.as_text(columns)),
            3 | 4 => format!(
                "{}({}, {})",
                self.pick(BINARY),
                self.as_text(columns),
                self.as_text(columns)
            ),
            5 => format!("cast({a} as {})", self.pick(TYPES)),
            6 => format!("try_cast({a} as {})", self.pick(TYPES)),
            7 => format!(
                "case when {} then {} else {} end",
                self.condition(columns, depth - 1),
                self.as_text(columns),
                self.as_text(columns)
            ),
            8 => format!(
                "1 / (case when {} like '%CANARY%' then 0 else 1 end)",
                self.as_text(columns)
            ),
            9 => {
                let source = self.source(0);
                let column = self.as_text(&source.columns);
                format!(
                    "(select {}({column}) from {})",
                    self.pick(&["min", "max", "count"]),
                    source.from
                )
            }
            10 => format!("({} {} {})", a, self.pick(OTHERS), self.as_text(columns)),
            11 => format!("{a}::{}", self.pick(TYPES)),
            _ => self.as_text(columns),
        }
    }

    fn condition(&mut self, columns: &[String], depth: u32) -> String {
        match self.random.random_range(0..10) {
            0 => format!(
                "{} in ({}, {})",
                self.as_text(columns),
                self.pick(LITERALS),
                self.as_text(columns)
            ),
            1 => format!("{} is {} null", self.column(columns), self.pick(&["", "not"])),
            2 => format!(
                "{} between '%' and {}",
                self.as_text(columns),
                self.as_text(columns)
            ),
            3 if depth > 0 => {
                let (a, b) = (
                    self.condition(columns, depth - 1),
                    self.condition(columns, depth - 1),
                );
                format!("({a} {} not {b})", self.pick(&["and", "or"]))
            }
            4 => format!(
                "1 / (case when {} like '%CANARY%' then 0 else 1 end) = 1",
                self.as_text(columns)
            ),
            5 => {
                let source = self.source(0);
                let column = self.as_text(&source.columns);
                format!(
                    "{} in (select {column} from {})",
                    self.as_text(columns),
                    source.from
                )
            }
            6 => {
                let source = self.source(0);
                format!(
                    "{} (select 1 from {})",
                    self.pick(&["exists", "not exists"]),
                    source.from
                )
            }
            7 => self.expression(columns, 1),
            _ => format!(
                "{} {} {}",
                self.as_text(columns),
                self.pick(COMPARISONS),
                if self.one_in(2) {
                    self.pick(LITERALS).to_owned()
                } else {
                    self.as_text(columns)
                }
            ),
        }
    }

    fn source(&mut self, depth: u32) -> Source {
        let (table, columns) = self.table();
        if depth > 0 && self.one_in(3) {
            let (other, others) = self.table();
            let qualified = |alias: &str, columns: &[&str]| -> Vec<String> {
                columns.iter().map(|column| format!("{alias}.{column}")).collect()
            };
            let (a, b) = (qualified("a", columns), qualified("b", others));
            let join = self.pick(&["join", "left join", "full join", "cross join", "right join"]);
            let on = if join == "cross join" {
                String::new()
            } else {
                format!(
                    " on {} {} {}",
                    self.as_text(&a),
                    self.pick(&["=", "=", "<>", "<"]),
                    self.as_text(&b)
                )
            };
            return Source {
                from: format!("{table} a {join} {other} b{on}"),
                columns: a.into_iter().chain(b).collect(),
            };
        }
        let plain = Source {
            from: table.to_owned(),
            columns: columns.iter().map(|column| (*column).to_owned()).collect(),
        };
        if depth > 0 && self.one_in(4) {
            let filter = self.condition(&plain.columns, 1);
            return Source {
                from: format!("(select * from {} where {filter}) s", plain.from),
                columns: plain.columns,
            };
        }
        plain
    }

    fn select(&mut self, depth: u32) -> String {
        let source = self.source(depth);
        let columns = &source.columns;
        let size = self.random.random_range(0..3);
        let mut grouped = String::new();
        let what = match self.random.random_range(0..9) {
            0 | 7 | 8 => "*".to_owned(),
            1 => format!("{}({})", self.pick(AGGREGATES), self.as_text(columns)),
            2 => format!(
                "{}({}) over (partition by {} order by {})",
                self.pick(&["first_value", "lag", "max", "array_agg"]),
                self.as_text(columns),
                self.column(columns),
                self.column(columns)
            ),
            3 => {
                let by = self.column(columns);
                grouped = format!(" group by {} ({by})", self.pick(&["", "rollup", "cube"]));
                format!("{by}, {}({})", self.pick(AGGREGATES), self.as_text(columns))
            }
            4 => format!("{}, {}", self.column(columns), self.expression(columns, size)),
            _ => self.expression(columns, size),
        };
        let distinct = if self.one_in(8) { "distinct " } else { "" };
        let mut sql = format!("select {distinct}{what} from {}", source.from);
        if self.one_in(2) {
            sql = format!("{sql} where {}", self.condition(columns, depth));
        }
        sql.push_str(&grouped);
        if self.one_in(5) {
            sql = format!("{sql} order by 1 desc");
        }
        if self.one_in(4) {
            sql = format!("{sql} limit {}", self.random.random_range(0..4));
        }
        sql
    }

    fn query(&mut self) -> String {
        let body = self.select(2);
        let sql = match self.random.random_range(0..18) {
            0 => {
                let (a, b) = (self.source(0), self.source(0));
                let (x, y) = (self.as_text(&a.columns), self.as_text(&b.columns));
                let by = self.pick(&["union", "union all", "except", "intersect"]);
                format!("select {x} from {} {by} select {y} from {}", a.from, b.from)
            }
            1 => format!("with w as ({body}) select * from w, w x"),
            2 => format!("explain {body}"),
            3 => format!("explain verbose {body}"),
            4 => format!("explain analyze {body}"),
            5 => {
                let a = self.source(0);
                let x = self.as_text(&a.columns);
                format!(
                    "with recursive r as (select {x} t from {} union select t from r) select * from r",
                    a.from
                )
            }
            6 => format!("select array(({body}))"),
            7 => format!(
                "{} {}",
                self.pick(&["describe", "show columns from"]),
                self.table().0
            ),
            _ => body,
        };
        let sql = if self.one_in(7) { self.spoil(&sql) } else { sql };
        if self.door == Door::Postgres {
            self.as_postgres(sql)
        } else {
            sql
        }
    }

    /// In one of the forms that only PostgreSQL has.
    fn as_postgres(&mut self, sql: String) -> String {
        match self.random.random_range(0..12) {
            0 => format!("begin; declare c cursor for {sql}; fetch 5 from c; commit"),
            1 => format!("prepare p as {sql}; execute p; deallocate p"),
            2 => format!("copy ({sql}) to stdout (format csv, header)"),
            3 => format!("select to_char(now(), 'YYYY'), x::text from ({sql}) x"),
            _ => sql,
        }
    }

    /// Cut, doubled, with foreign signs or the wrong verb.
    fn spoil(&mut self, sql: &str) -> String {
        let mut signs: Vec<char> = sql.chars().collect();
        let at = self.random.random_range(0..signs.len());
        match self.random.random_range(0..6) {
            0 => signs.truncate(at),
            1 => {
                let sign = *['\'', '"', '(', ')', ';', '\0', '\u{202e}', '$', '@']
                    .choose(&mut self.random)
                    .expect("some");
                signs.insert(at, sign);
            }
            2 => {
                signs.remove(at);
            }
            3 => return format!("{sql}; {sql}"),
            4 => {
                let verb = self.pick(&["insert into events select", "delete", "copy (select", "selec"]);
                return sql.replacen("select", verb, 1);
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

/// What one query brought: whether it was answered, and whether a mark was in the answer or in the refusal.
async fn asked(
    doors: &Doors,
    asker: &mut Option<Asker<'_>>,
    (door, key): (Door, &str),
    sql: &str,
) -> (bool, bool) {
    if door == Door::Rest {
        let reply = doors.world.sql(key, sql).await;
        return (reply.status.is_success(), has_mark(&reply));
    }
    let Some(inside) = asker else {
        return (false, false);
    };
    let answer = inside.ask(sql).await;
    let text = match &answer {
        Ok(values) => values.join("\n"),
        Err(refusal) => refusal.clone(),
    };
    // A name of a source is the tenant's own.
    let marked = text
        .replace(&format!("{CANARY}-http"), "")
        .contains(&format!("{CANARY}-"));
    (answer.is_ok(), marked)
}

/// The same statement ends a connection when it is not text, or leaves a failed transaction: the next query has a new one.
fn must_enter_again(door: Door, sql: &str, answered: bool) -> bool {
    door == Door::Postgres && (!answered || sql.starts_with("begin") || sql.starts_with("prepare"))
}

/// What a run found.
#[derive(Default)]
struct Found {
    leaks: Vec<String>,
    /// By door, how many queries were answered.
    answered: [usize; 4],
    /// How many of the controls, the same queries by an administrator, brought a mark.
    controls: usize,
}

/// Asks queries at every door in turn.
async fn run(doors: &Doors, (seed, key): (u64, &str), queries: usize) -> Found {
    let mut grammar = Grammar::new(seed);
    let mut found = Found::default();
    let mut askers = [const { None::<Asker<'_>> }; 4];
    for door in Door::ALL {
        let mut inside = Some(doors.enter(door, "wayne-admin").await.expect("entered"));
        let (_, marked) = asked(
            doors,
            &mut inside,
            (door, "wayne-admin"),
            "select name from contacts",
        )
        .await;
        assert!(marked, "a mark that {door:?} shows would be seen");
    }
    for number in 0..queries {
        let place = number % Door::ALL.len();
        grammar.door = Door::ALL[place];
        let sql = grammar.query();
        assert!(
            !sql.contains("CANARY-"),
            "the query itself must not hold the mark: {sql}"
        );
        if askers[place].is_none() {
            askers[place] = Some(doors.enter(grammar.door, key).await.expect("entered"));
        }
        let (ok, marked) = asked(doors, &mut askers[place], (grammar.door, key), &sql).await;
        found.answered[place] += usize::from(ok);
        if marked {
            found
                .leaks
                .push(format!("{key} {number} at {:?}: {sql}", grammar.door));
        }
        if must_enter_again(grammar.door, &sql, ok) {
            askers[place] = None;
        }
        if number % 5 == 0 {
            let mut control = Some(doors.enter(grammar.door, "wayne-admin").await.expect("entered"));
            let (_, marked) = asked(doors, &mut control, (grammar.door, "wayne-admin"), &sql).await;
            found.controls += usize::from(marked);
        }
    }
    found
}

fn unhurried(mut settings: ApiSettings) -> ApiSettings {
    settings.http.requests_per_second = 100_000;
    settings.http.burst = 100_000;
    settings.sql.timeout_ms = 5_000;
    settings.sql.concurrent_queries_per_tenant = settings.sql.concurrent_queries;
    settings
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_random_query_brings_a_mark_back() {
    let wanted = std::env::var("REVGAUGE_CANARY_QUERIES").ok();
    let queries = wanted.map_or(QUERIES, |text| text.parse().expect("a number of queries"));
    let doors = Doors::open(World::with(unhurried(ApiSettings::default())).await).await;
    let (rep, revops) = tokio::join!(
        run(&doors, (11, "wayne-rep-2"), queries),
        run(&doors, (12, "revops"), queries),
    );
    let leaks: Vec<_> = rep.leaks.into_iter().chain(revops.leaks).collect();
    assert_eq!(leaks, Vec::<String>::new());
    // The run has teeth: at every door queries do run, and the same ones show marks to who may see them.
    for (place, door) in Door::ALL.into_iter().enumerate() {
        let answered = rep.answered[place] + revops.answered[place];
        assert!(
            answered * 12 > queries,
            "{answered} of {} ran at {door:?}",
            queries / 2
        );
    }
    let controls = rep.controls + revops.controls;
    assert!(controls * 40 > queries, "{controls} controls saw a mark");
}

/// The run with the row rule taken away: the same questions of the same asker bring marks, at every door.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_rule_the_run_finds_marks() {
    let mut settings = ApiSettings::default();
    settings.access.roles.rep.rows = vec![crate::access::Rows::All];
    let doors = Doors::open(World::with(unhurried(settings)).await).await;
    for door in Door::ALL {
        let mut grammar = Grammar::new(11);
        grammar.door = door;
        let mut found = false;
        for _ in 0..QUERIES {
            let sql = grammar.query();
            let mut asker = Some(doors.enter(door, "wayne-rep-2").await.expect("entered"));
            found = asked(&doors, &mut asker, (door, "wayne-rep-2"), &sql).await.1;
            if found {
                break;
            }
        }
        assert!(found, "no query of {QUERIES} brought a mark at {door:?}");
    }
}
