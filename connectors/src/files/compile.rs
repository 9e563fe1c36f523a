//! From the text of a mapping to a plan, with the line of every fault.

use std::collections::{BTreeMap, HashMap};

use chrono_tz::Tz;
use revgauge_contract::event_type::{CRM_OBJECTS, CRM_VERBS, ENGAGEMENT, ENRICHMENT, is_known};
use toml::Spanned;

use super::{
    condition::{Condition, Test},
    convert::{Envelope, Field, LongForm, Part, Source, Table},
    error::MappingError,
    lookup::{Each, LookupSource},
    mapping::{
        ConditionSpec, EachSpec, EnvelopeSpec, FieldBody, FieldSpec, LongFormSpec, LookupSpec, MappingFile,
        MissingColumns, OneOrMany, Scalar, TableSpec, Unit, ValueType, line_of, nearest, parse,
    },
    plan::Inner,
    value::{Convert, TimeFormat},
};

/// Checks a mapping whole.
pub(crate) fn compile(mapping: &str, name: &str) -> Result<Inner, MappingError> {
    let file = parse(mapping, name)?;
    Compiler::new(mapping, name, &file)?.compile(file)
}

/// State while a mapping is checked.
struct Compiler<'a> {
    text: &'a str,
    name: &'a str,
    source: Option<String>,
    zone: Tz,
    formats: Vec<TimeFormat>,
    strict: bool,
    lookups: Vec<LookupSource>,
    // Of the table at hand:
    columns: Vec<String>,
    needed: Vec<Vec<usize>>,
    line: usize,
}

impl<'a> Compiler<'a> {
    fn new(text: &'a str, name: &'a str, file: &MappingFile) -> Result<Self, MappingError> {
        let mut compiler = Self {
            text,
            name,
            source: file.source.clone(),
            zone: Tz::UTC,
            formats: vec![TimeFormat::Iso],
            strict: file.missing_columns == MissingColumns::Error,
            lookups: Vec::new(),
            columns: Vec::new(),
            needed: Vec::new(),
            line: 1,
        };
        if let Some(zone) = &file.timezone {
            compiler.line = line_of(text, zone.span().start);
            compiler.zone = compiler.zone("timezone", zone.get_ref())?;
        }
        if let Some(formats) = &file.time_format {
            compiler.line = line_of(text, formats.span().start);
            compiler.formats = compiler.formats("time_format", formats.get_ref())?;
        }
        Ok(compiler)
    }

    fn compile(mut self, file: MappingFile) -> Result<Inner, MappingError> {
        if file.table.is_empty() {
            return Err(self.fault("table", "the mapping has no [[table]]"));
        }
        let mut tables = Vec::with_capacity(file.table.len());
        for table in file.table {
            self.line = line_of(self.text, table.span().start);
            tables.push(self.table(table.into_inner())?);
        }
        Ok(Inner {
            name: self.name.to_owned(),
            description: file.description,
            tables,
            lookups: self.lookups,
            native: false,
        })
    }

    fn table(&mut self, spec: TableSpec) -> Result<Table, MappingError> {
        let line = self.line;
        self.columns = Vec::new();
        self.needed = Vec::new();
        if spec.file.0.is_empty() {
            return Err(self.fault("file", "the table names no file"));
        }
        let delimiter = match &spec.delimiter {
            Some(delimiter) => Some(self.at(delimiter).delimiter(delimiter.get_ref())?),
            None => None,
        };
        let emit = self.emit(&spec.emit)?;
        let mut conditions = Vec::new();
        for condition in &spec.conditions {
            self.at(condition)
                .conditions(condition.get_ref(), &mut conditions)?;
        }
        let each = match &spec.each {
            Some(each) => Some(self.at(each).each(each.get_ref())?),
            None => None,
        };
        let envelope = self.envelope(&spec.event)?;
        let mut payload = Vec::with_capacity(spec.payload.len());
        for (name, field) in &spec.payload {
            let built = self.at(field).field(name, &field.get_ref().0, ValueType::Text)?;
            payload.push((name.clone(), built));
        }
        let long = match &spec.payload_from {
            Some(long) => Some(self.at(long).long_form(long.get_ref())?),
            None => None,
        };
        Ok(Table {
            line,
            patterns: spec.file.0,
            format: spec.format,
            delimiter,
            header: spec.header,
            columns: std::mem::take(&mut self.columns),
            needed: std::mem::take(&mut self.needed),
            conditions,
            each,
            emit,
            source: self.source.clone(),
            envelope,
            payload,
            long,
            rest: spec.rest,
        })
    }

    fn emit(&mut self, emit: &Spanned<super::mapping::Emit>) -> Result<Field, MappingError> {
        let body = &emit.get_ref().0;
        self.line = line_of(self.text, emit.span().start);
        let constants = body
            .value
            .iter()
            .chain(body.map.iter().flat_map(BTreeMap::values));
        for Scalar(name) in constants {
            if is_known(name) || name.is_empty() {
                continue;
            }
            let crm = CRM_OBJECTS
                .iter()
                .flat_map(|object| CRM_VERBS.iter().map(move |verb| format!("{object}.{verb}")));
            let known: Vec<String> = ENGAGEMENT
                .iter()
                .chain(ENRICHMENT)
                .map(|name| (*name).to_owned())
                .chain(crm)
                .collect();
            // A type of one's own is fine; one letter off a known type is a slip.
            let close = known.iter().find(|known| strsim::levenshtein(known, name) <= 2);
            if let Some(close) = close {
                let mut fault = self.fault("emit", format!("'{name}' is no known event type"));
                fault.suggestion = Some(close.clone());
                return Err(fault);
            }
        }
        self.field("emit", body, ValueType::Text)
    }

    fn envelope(&mut self, spec: &EnvelopeSpec) -> Result<Vec<(Envelope, Field)>, MappingError> {
        let slots = [
            (Envelope::EventId, "event_id", &spec.event_id),
            (Envelope::EventTime, "event_time", &spec.event_time),
            (Envelope::KnownAt, "known_at", &spec.known_at),
            (Envelope::Version, "version", &spec.version),
            (Envelope::Source, "source", &spec.source),
            (Envelope::AccountId, "account_id", &spec.account_id),
            (Envelope::ContactId, "contact_id", &spec.contact_id),
            (Envelope::DealId, "deal_id", &spec.deal_id),
            (Envelope::UserId, "user_id", &spec.user_id),
            (Envelope::Email, "email", &spec.email),
            (Envelope::Domain, "domain", &spec.domain),
            (Envelope::Direction, "direction", &spec.direction),
            (Envelope::MachineClass, "machine_class", &spec.machine_class),
            (Envelope::Value, "value", &spec.value),
        ];
        let mut fields = Vec::new();
        for (slot, name, spec) in slots {
            let Some(spec) = spec else { continue };
            let usual = match slot {
                Envelope::EventTime | Envelope::KnownAt => ValueType::Time,
                Envelope::Value => ValueType::Number,
                _ => ValueType::Text,
            };
            let field = self.at(spec).field(name, &spec.get_ref().0, usual)?;
            let wrong = match slot {
                Envelope::EventTime | Envelope::KnownAt => field.convert.value_type != ValueType::Time,
                Envelope::Value => !matches!(
                    field.convert.value_type,
                    ValueType::Number | ValueType::Integer | ValueType::Duration | ValueType::Time
                ),
                _ => false,
            };
            if wrong {
                let message = format!("'{name}' cannot be of this type");
                return Err(self.fault(name, message));
            }
            fields.push((slot, field));
        }
        Ok(fields)
    }

    fn field(&mut self, name: &str, body: &FieldBody, usual: ValueType) -> Result<Field, MappingError> {
        let mut sources = Vec::new();
        if let Some(lookup) = &body.lookup {
            sources.push(self.lookup(lookup));
        }
        if !body.from.0.is_empty() {
            let columns = self.columns(&body.from.0);
            // One of several columns is enough, and none has to be there when another source may fill in.
            let expected = body.required || (self.strict && !body.optional);
            if expected && body.lookup.is_none() {
                self.needed.push(columns.clone());
            }
            sources.push(Source::Columns(columns));
        }
        if let Some(template) = &body.template {
            sources.push(self.template(template)?);
        }
        if let Some(Scalar(value)) = &body.value {
            sources.push(Source::Constant(value.clone()));
        }
        if sources.is_empty() && body.default.is_none() {
            let message = format!("field '{name}' has no source: give from, value, template or lookup");
            return Err(self.fault(name, message));
        }
        let convert = self.convert(body, usual)?;
        let mut when = Vec::new();
        for condition in &body.when {
            self.conditions(condition, &mut when)?;
        }
        let map = body.map.as_ref().map(|map| {
            map.iter()
                .map(|(from, Scalar(to))| (from.to_lowercase(), to.clone()))
                .collect::<HashMap<_, _>>()
        });
        if body.map_only && map.is_none() {
            return Err(self.fault("map_only", "map_only is set without a map"));
        }
        let label = body
            .from
            .0
            .first()
            .or(body.lookup.as_ref().and_then(|lookup| lookup.column.0.first()));
        Ok(Field {
            label: label.cloned().unwrap_or_else(|| name.to_owned()),
            sources,
            map,
            map_only: body.map_only,
            lower: body.lower,
            default: body.default.as_ref().map(|Scalar(text)| text.clone()),
            convert,
            required: body.required,
            null_when_empty: body.null_when_empty,
            skip_errors: body.on_error == super::mapping::OnError::Skip,
            when,
        })
    }

    fn convert(&self, body: &FieldBody, usual: ValueType) -> Result<Convert, MappingError> {
        let zone = match &body.timezone {
            Some(zone) => self.zone("timezone", zone)?,
            None => self.zone,
        };
        let formats = match &body.time_format {
            Some(formats) => self.formats("time_format", formats)?,
            None => self.formats.clone(),
        };
        Ok(Convert {
            value_type: body.value_type.unwrap_or(usual),
            formats,
            zone,
            unit: body.unit.unwrap_or(Unit::Seconds),
            scale: body.scale,
            decimal_comma: body.decimal_comma,
            separator: body.separator.clone().unwrap_or_else(|| ";".to_owned()),
        })
    }

    fn conditions(&mut self, spec: &ConditionSpec, out: &mut Vec<Condition>) -> Result<(), MappingError> {
        let column = self.column(&spec.column);
        if self.strict {
            self.needed.push(vec![column]);
        }
        let texts = |list: &[Scalar]| list.iter().map(|Scalar(text)| text.clone()).collect::<Vec<_>>();
        let before = out.len();
        let mut test = |test| out.push(Condition { column, test });
        if let Some(Scalar(text)) = &spec.equals {
            test(Test::OneOf(vec![text.clone()]));
        }
        if let Some(Scalar(text)) = &spec.not_equals {
            test(Test::NotOneOf(vec![text.clone()]));
        }
        if let Some(list) = &spec.one_of {
            test(Test::OneOf(texts(list)));
        }
        if let Some(list) = &spec.not_one_of {
            test(Test::NotOneOf(texts(list)));
        }
        if let Some(starts) = &spec.starts_with {
            test(Test::StartsWith(starts.0.clone()));
        }
        if let Some(empty) = spec.empty {
            test(Test::Empty(empty));
        }
        if let Some(past) = spec.past {
            let convert = self.convert(&FieldBody::default(), ValueType::Time)?;
            test(Test::Past(past, convert));
        }
        if out.len() == before {
            let message = format!(
                "the condition on '{}' tests nothing: give equals, one_of, empty, ...",
                spec.column
            );
            return Err(self.fault("where", message));
        }
        Ok(())
    }

    fn each(&mut self, spec: &EachSpec) -> Result<Each, MappingError> {
        let columns = self.columns(&spec.column.0);
        if self.strict {
            self.needed.push(columns.clone());
        }
        let virtual_columns = |compiler: &mut Self, names: &[String]| {
            names
                .iter()
                .map(|name| compiler.column(&format!("{}.{name}", spec.alias)))
                .collect::<Vec<_>>()
        };
        match (&spec.file, &spec.key, &spec.split) {
            (Some(file), Some(key), None) if !spec.take.0.is_empty() => {
                let source = self.lookup_source(file, key, &spec.take.0, false);
                let takes = self.take_indexes(source, &spec.take.0);
                let fills = virtual_columns(self, &spec.take.0);
                Ok(Each {
                    columns,
                    lookup: Some((source, takes)),
                    separator: String::new(),
                    fills,
                    required: spec.required,
                })
            }
            (None, None, Some(separator)) if !separator.is_empty() && spec.take.0.is_empty() => Ok(Each {
                columns,
                lookup: None,
                separator: separator.clone(),
                fills: virtual_columns(self, &["part".to_owned()]),
                required: spec.required,
            }),
            _ => Err(self.fault("each", "'each' needs either file, key and take, or split")),
        }
    }

    fn long_form(&mut self, spec: &LongFormSpec) -> Result<LongForm, MappingError> {
        let name = self.column(&spec.name);
        let value = self.column(&spec.value);
        self.needed.push(vec![name]);
        self.needed.push(vec![value]);
        let mut fields = HashMap::new();
        for (field_name, FieldSpec(body)) in &spec.fields {
            let with_value = FieldBody {
                from: if body.from.0.is_empty() {
                    OneOrMany(vec![spec.value.clone()])
                } else {
                    body.from.clone()
                },
                lookup: body.lookup.clone(),
                ..FieldBody::default()
            };
            let mut field = self.field(field_name, &with_value, ValueType::Text)?;
            field.convert = self.convert(body, ValueType::Text)?;
            field.skip_errors = body.on_error == super::mapping::OnError::Skip;
            field.lower = body.lower;
            field.map = body.map.as_ref().map(|map| {
                map.iter()
                    .map(|(from, Scalar(to))| (from.to_lowercase(), to.clone()))
                    .collect()
            });
            fields.insert(field_name.clone(), field);
        }
        Ok(LongForm {
            name,
            value,
            rename: spec.rename.clone().into_iter().collect(),
            skip: spec.skip.clone(),
            fields,
        })
    }

    fn lookup(&mut self, spec: &LookupSpec) -> Source {
        let columns = self.columns(&spec.column.0);
        let source = self.lookup_source(
            &spec.file,
            &spec.key,
            std::slice::from_ref(&spec.take),
            spec.ignore_case,
        );
        let take = self.take_indexes(source, std::slice::from_ref(&spec.take))[0];
        Source::Lookup {
            source,
            columns,
            take,
            map: spec.map.clone().into_iter().collect(),
        }
    }

    /// Lookups into the same file by the same key share one table in memory.
    fn lookup_source(&mut self, file: &OneOrMany, key: &str, takes: &[String], ignore_case: bool) -> usize {
        let found = self.lookups.iter().position(|source| {
            source.patterns == file.0 && source.key == key && source.ignore_case == ignore_case
        });
        let index = found.unwrap_or_else(|| {
            self.lookups.push(LookupSource {
                patterns: file.0.clone(),
                key: key.to_owned(),
                takes: Vec::new(),
                ignore_case,
                strict: self.strict,
                line: self.line,
            });
            self.lookups.len() - 1
        });
        for take in takes {
            if !self.lookups[index].takes.contains(take) {
                self.lookups[index].takes.push(take.clone());
            }
        }
        index
    }

    fn take_indexes(&self, source: usize, takes: &[String]) -> Vec<usize> {
        let known = &self.lookups[source].takes;
        takes
            .iter()
            .filter_map(|take| known.iter().position(|name| name == take))
            .collect()
    }

    fn template(&mut self, template: &str) -> Result<Source, MappingError> {
        let mut parts = Vec::new();
        let mut rest = template;
        while let Some(open) = rest.find('{') {
            let Some(close) = rest[open..].find('}').map(|at| open + at) else {
                let message = format!("template '{template}' has a '{{' without its '}}'");
                return Err(self.fault("template", message));
            };
            if open > 0 {
                parts.push(Part::Text(rest[..open].to_owned()));
            }
            let column = self.column(&rest[open + 1..close]);
            if self.strict {
                self.needed.push(vec![column]);
            }
            parts.push(Part::Column(column));
            rest = &rest[close + 1..];
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Source::Template(parts))
    }

    fn columns(&mut self, names: &[String]) -> Vec<usize> {
        names.iter().map(|name| self.column(name)).collect()
    }

    fn column(&mut self, name: &str) -> usize {
        self.columns
            .iter()
            .position(|known| known == name)
            .unwrap_or_else(|| {
                self.columns.push(name.to_owned());
                self.columns.len() - 1
            })
    }

    fn delimiter(&self, text: &str) -> Result<u8, MappingError> {
        match text.as_bytes() {
            [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\n' | b'\r') => Ok(*byte),
            _ => Err(self.fault(
                "delimiter",
                format!("'{text}' is no delimiter: use one ASCII character"),
            )),
        }
    }

    fn zone(&self, key: &str, name: &str) -> Result<Tz, MappingError> {
        name.parse().map_err(|_| {
            let mut fault = self.fault(
                key,
                format!("'{name}' is no time zone: use a name such as Europe/Berlin"),
            );
            fault.suggestion = nearest(name, chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name()));
            fault
        })
    }

    fn formats(&self, key: &str, formats: &OneOrMany) -> Result<Vec<TimeFormat>, MappingError> {
        formats
            .0
            .iter()
            .map(|text| TimeFormat::parse(text).map_err(|message| self.fault(key, message)))
            .collect()
    }

    /// Later faults are on the line of this item.
    fn at<T>(&mut self, item: &Spanned<T>) -> &mut Self {
        self.line = line_of(self.text, item.span().start);
        self
    }

    fn fault(&self, key: &str, message: impl Into<String>) -> MappingError {
        MappingError {
            name: self.name.to_owned(),
            line: self.line,
            key: Some(key.to_owned()),
            message: message.into(),
            suggestion: None,
        }
    }
}
