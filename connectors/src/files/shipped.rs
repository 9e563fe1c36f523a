//! The mappings that come with the product.

/// Names and texts of the shipped mappings (`connectors/mappings/*.toml`). `events`, the files of our own events,
/// needs none: [`super::Plan::events`].
pub const SHIPPED: &[(&str, &str)] = &[
    ("hubspot", include_str!("../../mappings/hubspot.toml")),
    ("salesforce", include_str!("../../mappings/salesforce.toml")),
    ("maven-crm", include_str!("../../mappings/maven-crm.toml")),
    ("bpi-2012", include_str!("../../mappings/bpi-2012.toml")),
    (
        "snap-collegemsg",
        include_str!("../../mappings/snap-collegemsg.toml"),
    ),
    ("olist-funnel", include_str!("../../mappings/olist-funnel.toml")),
];

/// The text of a shipped mapping.
#[must_use]
pub fn shipped(name: &str) -> Option<&'static str> {
    SHIPPED
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, text)| *text)
}
