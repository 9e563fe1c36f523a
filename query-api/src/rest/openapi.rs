//! The OpenAPI 3.1 document, made from the list of doors; schemas are in `schemas.json` and are checked against real
//! answers in the tests.

use axum::{Json, http::StatusCode};
use serde_json::Value;
use utoipa::openapi::{
    Components, ContactBuilder, Content, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, PathsBuilder,
    Ref, RefOr, Required, ResponseBuilder,
    path::{HttpMethod, Operation, OperationBuilder, ParameterBuilder, ParameterIn},
    request_body::RequestBodyBuilder,
    schema::{KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type},
    security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
};

use super::doors::{self, Access, Door};

const SCHEMAS: &str = include_str!("schemas.json");
/// The doors in. Another room answers them; a client reads one document of all.
const INGEST: &str = include_str!("ingest.json");

/// The document of all doors, as JSON.
///
/// # Panics
/// Never: all parts are made in this crate, and its tests read them.
#[must_use]
pub fn openapi_document() -> Value {
    let mut document = serde_json::to_value(paths_and_info()).expect("a document is plain data");
    let schemas: Value = serde_json::from_str(SCHEMAS).expect("schemas.json is part of this crate");
    document["components"]["schemas"] = schemas;
    let ingest: Value = serde_json::from_str(INGEST).expect("ingest.json is part of this crate");
    let mut join = |into: &str, from: &str| {
        if let (Some(Value::Object(into)), Some(Value::Object(from))) =
            (document.pointer_mut(into), ingest.get(from))
        {
            into.extend(from.clone());
        }
    };
    join("/paths", "paths");
    join("/components/schemas", "schemas");
    join("/components/securitySchemes", "securitySchemes");
    document
}

fn paths_and_info() -> OpenApi {
    let mut paths = PathsBuilder::new();
    for door in doors::all() {
        let method = match door.method {
            "POST" => HttpMethod::Post,
            "DELETE" => HttpMethod::Delete,
            _ => HttpMethod::Get,
        };
        let item = utoipa::openapi::PathItem::new(method, operation(door));
        paths = paths.path(door.path, item);
    }
    let info = InfoBuilder::new()
        .title("Revgauge")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Scores of contacts, accounts and deals, now and as of any instant. Every answer says for which instant \
             it is (as_of) and how far its sources had come (watermarks).",
        ))
        .contact(Some(ContactBuilder::new().name(Some("Revgauge")).build()))
        .license(Some(LicenseBuilder::new().name("Apache-2.0").build()))
        .build();
    let mut components = Components::new();
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    components.add_security_scheme("key", SecurityScheme::Http(bearer));
    OpenApiBuilder::new()
        .info(info)
        .paths(paths.build())
        .components(Some(components))
        .build()
}

/// `GET /v1/openapi.json`
pub(super) async fn document() -> Json<Value> {
    Json(openapi_document())
}

fn operation(door: &Door) -> Operation {
    let mut operation = OperationBuilder::new()
        .summary(Some(door.summary))
        .description(Some(format!("Needs {}.", door.access.wording())))
        .operation_id(Some(operation_id(door)));
    for name in path_parameters(door.path) {
        operation = operation.parameter(
            ParameterBuilder::new()
                .name(name)
                .parameter_in(ParameterIn::Path)
                .required(Required::True)
                .schema(Some(ObjectBuilder::new().schema_type(Type::String))),
        );
    }
    for parameter in door.query {
        let schema = match parameter.form {
            "integer" => ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)),
            "date-time" => ObjectBuilder::new()
                .schema_type(Type::String)
                .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime))),
            _ => ObjectBuilder::new().schema_type(Type::String),
        };
        operation = operation.parameter(
            ParameterBuilder::new()
                .name(parameter.name)
                .parameter_in(ParameterIn::Query)
                .required(Required::False)
                .description(Some(parameter.description))
                .schema(Some(schema)),
        );
    }
    if let Some(name) = door.takes {
        let mut body = RequestBodyBuilder::new()
            .required(Some(Required::True))
            .content("application/json", content(name));
        if name == "SqlRequest" {
            body = body.content("text/plain", content("Text"));
        }
        operation = operation.request_body(Some(body.build()));
    }
    if door.access != Access::Open {
        operation = operation.security(SecurityRequirement::new("key", Vec::<String>::new()));
    }
    responses(operation, door).build()
}

fn responses(mut operation: OperationBuilder, door: &Door) -> OperationBuilder {
    let status = if door.gives.1 == "NewKey" {
        StatusCode::CREATED
    } else if door.method == "POST" && door.path == "/v1/queries" {
        StatusCode::ACCEPTED
    } else {
        StatusCode::OK
    };
    let mut good = ResponseBuilder::new()
        .description("the answer")
        .content(door.gives.0, content(door.gives.1));
    if door.path == "/v1/sql" {
        for kind in [
            "application/x-ndjson",
            "text/csv",
            "application/vnd.apache.arrow.stream",
        ] {
            good = good.content(kind, content("Text"));
        }
    }
    operation = operation.response(status.as_str(), good);
    let problem = |text: &str| {
        ResponseBuilder::new()
            .description(text)
            .content("application/problem+json", content("Problem"))
    };
    if door.access == Access::Open {
        return operation;
    }
    operation
        .response(
            "400",
            problem("the request cannot be understood; the problem says why"),
        )
        .response("401", problem("no valid key"))
        .response("403", problem("the key's role may not"))
        .response(
            "429",
            problem("too many requests; Retry-After says when to come back"),
        )
        .response("default", problem("any other problem"))
}

fn content(schema: &str) -> Content {
    Content::new(Some(RefOr::<Schema>::Ref(Ref::from_schema_name(schema))))
}

fn path_parameters(path: &str) -> impl Iterator<Item = &str> {
    path.split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

fn operation_id(door: &Door) -> String {
    let words = door
        .path
        .split(['/', '-', '.'])
        .filter(|word| !word.is_empty() && *word != "v1");
    let words = words.map(|word| word.trim_matches(['{', '}']));
    format!(
        "{}_{}",
        door.method.to_lowercase(),
        words.collect::<Vec<_>>().join("_")
    )
}
