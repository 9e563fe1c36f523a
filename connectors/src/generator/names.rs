//! Words that generated names are made of.

pub(super) const FIRST: &[&str] = &[
    "Ada", "Amir", "Ana", "Ben", "Carla", "Chen", "Dana", "Diego", "Elif", "Emma", "Farid", "Grace", "Hana",
    "Hugo", "Ines", "Ivan", "Jonas", "Julia", "Kofi", "Lars", "Lea", "Lin", "Lucia", "Marco", "Maya", "Mei",
    "Nadia", "Nils", "Olga", "Omar", "Paula", "Priya", "Quinn", "Rosa", "Sam", "Sara", "Tariq", "Tom", "Uma",
    "Vera", "Viktor", "Wei", "Yara", "Zoe",
];
pub(super) const LAST: &[&str] = &[
    "Abel", "Bauer", "Costa", "Diaz", "Eriksen", "Fischer", "Garcia", "Haas", "Ivanov", "Jensen", "Kaya",
    "Lopez", "Meyer", "Novak", "Okafor", "Patel", "Quist", "Rossi", "Sato", "Tanaka", "Ueda", "Vogel",
    "Weber", "Xu", "Yilmaz", "Zhang",
];
pub(super) const COMPANY_HEAD: &[&str] = &[
    "Alder",
    "Beacon",
    "Cobalt",
    "Delta",
    "Ember",
    "Fathom",
    "Granite",
    "Harbor",
    "Indigo",
    "Juniper",
    "Keystone",
    "Lumen",
    "Meridian",
    "Northwind",
    "Orchard",
    "Pioneer",
    "Quarry",
    "Ridge",
    "Summit",
    "Tidal",
    "Umber",
    "Vertex",
    "Willow",
    "Zephyr",
];
pub(super) const COMPANY_TAIL: &[&str] = &[
    "Analytics",
    "Biotech",
    "Capital",
    "Dynamics",
    "Energy",
    "Foods",
    "Group",
    "Health",
    "Industries",
    "Labs",
    "Logistics",
    "Mobility",
    "Networks",
    "Robotics",
    "Software",
    "Systems",
    "Textiles",
    "Works",
];
/// Industries, the best fitting first.
pub(super) const INDUSTRIES: &[&str] = &[
    "software",
    "financial services",
    "healthcare",
    "manufacturing",
    "logistics",
    "retail",
    "education",
    "construction",
    "agriculture",
];
/// Country code, IANA zone and whole hours east of UTC.
pub(super) const PLACES: &[(&str, &str, i64)] = &[
    ("US", "America/New_York", -5),
    ("US", "America/Chicago", -6),
    ("US", "America/Los_Angeles", -8),
    ("GB", "Europe/London", 0),
    ("DE", "Europe/Berlin", 1),
    ("FR", "Europe/Paris", 1),
    ("IN", "Asia/Kolkata", 5),
    ("SG", "Asia/Singapore", 8),
];
/// Title, seniority and buying authority, the most senior first.
pub(super) const TITLES: &[(&str, &str, f64)] = &[
    ("Chief Revenue Officer", "c_level", 1.0),
    ("VP of Sales", "vp", 0.85),
    ("Director of Sales Operations", "director", 0.7),
    ("Head of Marketing", "head", 0.6),
    ("IT Manager", "manager", 0.45),
    ("Sales Operations Analyst", "individual", 0.2),
    ("Marketing Specialist", "individual", 0.15),
    ("Procurement Specialist", "individual", 0.3),
];
/// Stages of the pipeline with their probability; the last two are terminal.
pub(super) const STAGES: &[(&str, f64)] = &[
    ("discovery", 0.1),
    ("qualification", 0.25),
    ("proposal", 0.5),
    ("negotiation", 0.75),
    ("closed won", 1.0),
    ("closed lost", 0.0),
];
pub(super) const PAGES: &[&str] = &[
    "/",
    "/product",
    "/customers",
    "/docs",
    "/blog",
    "/security",
    "/pricing",
    "/demo",
];
