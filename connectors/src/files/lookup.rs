//! Joins within one import: small tables by key, read once before the rows.

use std::{borrow::Cow, collections::HashMap};

use super::{
    error::ImportError,
    import::ImportSettings,
    input::{Input, Opener},
    mapping::Format,
    pattern::matches,
    read::{ReadAs, read},
    rows::{Flow, Header, Raw, RowVisitor, Slot, bind},
};

/// A file read for lookups.
#[derive(Debug)]
pub(crate) struct LookupSource {
    pub(crate) patterns: Vec<String>,
    pub(crate) key: String,
    pub(crate) takes: Vec<String>,
    pub(crate) ignore_case: bool,
    pub(crate) strict: bool,
    pub(crate) line: usize,
}

/// One event per match of a lookup, or per part of a list cell.
#[derive(Debug)]
pub(crate) struct Each {
    pub(crate) columns: Vec<usize>,
    pub(crate) lookup: Option<(usize, Vec<usize>)>,
    pub(crate) separator: String,
    /// The virtual columns that a match fills.
    pub(crate) fills: Vec<usize>,
    /// Whether a row without a match gives nothing.
    pub(crate) required: bool,
}

type Row = Box<[Option<Box<str>>]>;

/// All lookup tables of a plan, by the plan's own numbers.
#[derive(Debug, Default)]
pub(crate) struct Lookups {
    tables: Vec<Keyed>,
}

/// The rows of one lookup by their key.
#[derive(Debug, Default)]
struct Keyed {
    ignore_case: bool,
    rows: HashMap<Box<str>, Vec<Row>>,
}

impl Keyed {
    fn matches(&self, key: &str) -> &[Row] {
        let found = if self.ignore_case {
            self.rows.get(key.to_lowercase().as_str())
        } else {
            self.rows.get(key)
        };
        found.map_or(&[], Vec::as_slice)
    }

    fn add(&mut self, key: &str, row: Row) {
        let key = if self.ignore_case {
            key.to_lowercase()
        } else {
            key.to_owned()
        };
        self.rows.entry(key.into_boxed_str()).or_default().push(row);
    }
}

impl Lookups {
    /// The first match in file order.
    pub(crate) fn get(&self, source: usize, key: &str, take: usize) -> Option<&str> {
        self.tables[source]
            .matches(key)
            .iter()
            .find_map(|row| row[take].as_deref())
    }

    /// What `each` makes of a row: the values of its virtual columns, once per event.
    pub(crate) fn expand<'a>(&'a self, each: &Each, cell: Option<&'a str>) -> Vec<Vec<Option<Cow<'a, str>>>> {
        let found: Vec<Vec<Option<Cow<'a, str>>>> = match (&each.lookup, cell) {
            (Some((source, takes)), Some(key)) => self.tables[*source]
                .matches(key)
                .iter()
                .map(|row| {
                    takes
                        .iter()
                        .map(|take| row[*take].as_deref().map(Cow::Borrowed))
                        .collect()
                })
                .collect(),
            (None, Some(list)) => list
                .split(each.separator.as_str())
                .map(str::trim)
                .filter(|part| !part.is_empty())
                .map(|part| vec![Some(Cow::Borrowed(part))])
                .collect(),
            (_, None) => Vec::new(),
        };
        if found.is_empty() && !each.required {
            return vec![vec![None; each.fills.len()]];
        }
        found
    }

    /// Reads the lookup files of an import. Cost: their keys and taken columns stay in memory until it ends.
    pub(crate) fn load(
        sources: &[LookupSource],
        inputs: &[Input],
        opener: &Opener,
        settings: &ImportSettings,
    ) -> Result<Self, ImportError> {
        let mut tables = Vec::with_capacity(sources.len());
        let mut left = settings.max_lookup_rows;
        for source in sources {
            let named = |input: &&Input| {
                source
                    .patterns
                    .iter()
                    .any(|pattern| matches(pattern, &input.name))
            };
            let files: Vec<&Input> = inputs.iter().filter(named).collect();
            if files.is_empty() && source.strict {
                return Err(ImportError::MissingLookup {
                    pattern: source.patterns.join("', '"),
                });
            }
            let mut loader = Loader {
                source,
                slots: Vec::new(),
                table: Keyed {
                    ignore_case: source.ignore_case,
                    ..Keyed::default()
                },
                file: "",
                left,
                limit: settings.max_lookup_rows,
            };
            for input in files {
                loader.file = &input.name;
                let read_as = ReadAs {
                    format: Format::of(&input.name),
                    delimiter: None,
                    header: None,
                };
                read(input, &read_as, opener, settings, &mut loader)?;
            }
            left = loader.left;
            tables.push(loader.table);
        }
        Ok(Self { tables })
    }
}

struct Loader<'a> {
    source: &'a LookupSource,
    slots: Vec<Slot>,
    table: Keyed,
    file: &'a str,
    left: u64,
    limit: u64,
}

impl RowVisitor for Loader<'_> {
    fn header(&mut self, header: &Header<'_>) -> Result<(), ImportError> {
        let columns: Vec<String> = std::iter::once(&self.source.key)
            .chain(&self.source.takes)
            .cloned()
            .collect();
        let needed: Vec<Vec<usize>> = if self.source.strict {
            (0..columns.len()).map(|column| vec![column]).collect()
        } else {
            Vec::new()
        };
        self.slots = bind(header, &columns, &needed, self.file, self.source.line)?;
        Ok(())
    }

    fn row(&mut self, line: u64, raw: &Raw<'_>) -> Result<Flow, ImportError> {
        let Some(key) = raw.cell(&self.slots[0], line, self.file) else {
            return Ok(Flow::Continue);
        };
        self.left = self.left.checked_sub(1).ok_or(ImportError::Limit {
            what: format!("the number of lookup rows at '{}'", self.file),
            limit: self.limit,
            setting: "max_lookup_rows",
        })?;
        let row: Row = self.slots[1..]
            .iter()
            .map(|slot| {
                raw.cell(slot, line, self.file)
                    .map(|cell| cell.into_owned().into_boxed_str())
            })
            .collect();
        self.table.add(&key, row);
        Ok(Flow::Continue)
    }

    // A broken row of a lookup file joins nothing; the file's own table reports it.
    fn bad(&mut self, _: u64, _: Option<String>, _: String, _: &[u8]) -> Result<Flow, ImportError> {
        Ok(Flow::Continue)
    }
}
