//! A person's session with the dashboards of the executable under test, and what its pages say.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::process::Process;

/// A signed-in person.
#[derive(Debug)]
pub(crate) struct Browsing {
    http: reqwest::Client,
    url: String,
    cookie: String,
}

impl Browsing {
    /// Follows a sign-in link.
    pub(crate) async fn of(process: &Process) -> Self {
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .expect("a client");
        let answer = http
            .get(sign_in_link(process).await)
            .send()
            .await
            .expect("answered");
        assert_eq!(answer.status(), 303);
        let cookie = answer.headers()["set-cookie"].to_str().expect("text");
        Self {
            http,
            url: process.url.clone(),
            cookie: cookie.split(';').next().expect("a part").to_owned(),
        }
    }

    /// Status and text of a page.
    pub(crate) async fn page(&self, path: &str) -> (u16, String) {
        let request = self
            .http
            .get(format!("{}{path}", self.url))
            .header("cookie", &self.cookie);
        let answer = request.send().await.expect("answered");
        let status = answer.status().as_u16();
        (status, answer.text().await.expect("text"))
    }

    /// Opens the stream of an open page.
    pub(crate) async fn listen(&self) -> reqwest::Response {
        let request = self.http.get(format!("{}/ui/live", self.url));
        let answer = request.header("cookie", &self.cookie).send().await;
        answer.expect("answered")
    }

    /// Sends a form of a page; status and text of the answer.
    pub(crate) async fn send(&self, path: &str, fields: &[(&str, &str)]) -> (u16, String) {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(fields);
        let request = self
            .http
            .post(format!("{}{path}", self.url))
            .header("cookie", &self.cookie)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form.finish());
        let answer = request.send().await.expect("answered");
        let status = answer.status().as_u16();
        (status, answer.text().await.expect("text"))
    }
}

/// The value of a hidden field of a page.
pub(crate) fn hidden(html: &str, name: &str) -> String {
    let mark = format!("name=\"{name}\" value=\"");
    let rest = html
        .split(&mark)
        .nth(1)
        .unwrap_or_else(|| panic!("no field {name}"));
    rest.split('"').next().unwrap_or_default().to_owned()
}

/// The text of the only area of a page that is written in.
pub(crate) fn written_in(html: &str) -> String {
    let rest = html.rsplit("<textarea").next().expect("an area");
    let text = rest.split_once('>').expect("its start").1;
    let text = text.split("</textarea>").next().unwrap_or_default();
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&amp;", "&")
}

/// A link that signs in once.
pub(crate) async fn sign_in_link(process: &Process) -> String {
    let (status, answer) = process
        .post("/v1/sign-in-links", "application/json", Vec::new())
        .await
        .expect("answered");
    assert_eq!(status, 200, "{answer}");
    format!("{}{}", process.url, answer["path"].as_str().expect("a path"))
}

/// A number of a page: what it shows for programs, and the cell of a query that it says it is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Number {
    pub(crate) shown: Option<f64>,
    pub(crate) sql: String,
    pub(crate) row: usize,
    pub(crate) column: String,
}

/// Every number of a page that is marked as one.
///
/// # Panics
/// When one names no cell, or a query that no link of the page holds.
pub(crate) fn numbers(path: &str, html: &str) -> Vec<Number> {
    let queries: BTreeMap<String, String> = tags(html, "<a ")
        .filter_map(|tag| {
            let href = attribute(tag, "href")?;
            let (_, query) = href.split_once("?q=")?;
            let pair = format!("q={query}");
            let (_, query) = url::form_urlencoded::parse(pair.as_bytes()).next()?;
            Some((attribute(tag, "data-sheet")?, query.into_owned()))
        })
        .collect();
    tags(html, "<data ")
        .map(|tag| {
            let cell = attribute(tag, "data-cell").unwrap_or_else(|| panic!("{path}: {tag} names no cell"));
            let mut parts = cell.splitn(3, ' ');
            let mut part = || parts.next().unwrap_or_else(|| panic!("{path}: {tag}"));
            let (mark, row, column) = (part(), part(), part());
            let sql = queries.get(mark);
            Number {
                shown: attribute(tag, "value").and_then(|value| value.parse().ok()),
                sql: sql
                    .unwrap_or_else(|| panic!("{path}: no link holds the query of {tag}"))
                    .clone(),
                row: row.parse().expect("a row"),
                column: column.to_owned(),
            }
        })
        .collect()
}

/// The value of a cell as the SQL door gives it.
pub(crate) async fn cell(
    process: &Process,
    known: &mut BTreeMap<String, Vec<Value>>,
    number: &Number,
) -> Option<f64> {
    if !known.contains_key(&number.sql) {
        let body = json!({"sql": number.sql, "limit_rows": 1_000}).to_string();
        let answer = process
            .post("/v1/sql", "application/json", body.into_bytes())
            .await;
        let (status, answer) = answer.expect("answered");
        assert_eq!(status, 200, "{}: {answer}", number.sql);
        let rows = answer["rows"].as_array().expect("rows").clone();
        known.insert(number.sql.clone(), rows);
    }
    known[&number.sql].get(number.row)?.get(&number.column)?.as_f64()
}

fn tags<'a>(html: &'a str, opening: &'a str) -> impl Iterator<Item = &'a str> {
    html.split(opening)
        .skip(1)
        .filter_map(|rest| rest.split('>').next())
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let rest = tag.split(&format!("{name}=\"")).nth(1)?;
    let value = rest.split('"').next()?;
    Some(
        value
            .replace("&amp;", "&")
            .replace("&quot;", "\"")
            .replace("&lt;", "<")
            .replace("&gt;", ">"),
    )
}
