//! What the native door answers once every event is judged and the accepted ones are durable.

use axum::{
    body::Body,
    http::{HeaderValue, Response, StatusCode, header},
};
use revgauge_contract::Position;

use super::{door::Settled, sheet::Sheet};

/// 200 when all were taken, 207 when some were, 400 when none was; a verdict for each in the body.
pub(crate) fn native(sheet: &Sheet, settled: Settled) -> Response<Body> {
    let Settled {
        accepted,
        refused,
        position,
    } = settled;
    let status = match (accepted, refused) {
        (_, 0) => StatusCode::OK,
        (0, _) => StatusCode::BAD_REQUEST,
        _ => StatusCode::MULTI_STATUS,
    };
    let position = position.map_or("null".to_owned(), |Position(number)| number.to_string());
    let head = format!(r#"{{"accepted":{accepted},"refused":{refused},"position":{position},"events":["#);
    let mut body = Vec::with_capacity(head.len() + sheet.verdicts().len() + 2);
    body.extend_from_slice(head.as_bytes());
    body.extend_from_slice(sheet.verdicts());
    body.extend_from_slice(b"]}");
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
