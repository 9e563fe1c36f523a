//! Which rows and fields each role sees: the rules as settings, with what ships.

use revgauge_contract::access::{Caller, Role};
use serde::{Deserialize, Serialize};

/// Whose records a role sees. Several add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rows {
    /// Everything of the tenant.
    All,
    /// Records owned by the CRM user the caller stands for.
    Own,
    /// Records owned by anyone below that user, by `manager_id`.
    Hierarchy,
    /// Records of the caller's team: by their own `team`, or their owner's.
    Team,
    /// Records of the caller's territory: by their own `territory`, or their owner's.
    Territory,
    /// Records that nobody owns.
    Unowned,
}

/// Kinds of personal data that a role does not see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mask {
    /// Mail addresses, wherever they stand: each becomes the same token at each place.
    Email,
    /// Phone and fax numbers, by the name of their field.
    Phone,
    /// What was said or written: transcripts, bodies, notes, quotes.
    Transcript,
}

/// What one role sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleRule {
    /// Whose records.
    pub rows: Vec<Rows>,
    /// What is hidden in them.
    #[serde(default)]
    pub masks: Vec<Mask>,
}

impl RoleRule {
    fn new(rows: &[Rows], masks: &[Mask]) -> Self {
        Self {
            rows: rows.to_vec(),
            masks: masks.to_vec(),
        }
    }
}

/// What every role sees. A role left out of the document keeps the rule that ships.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RoleRules {
    /// Administrators: everything.
    pub admin: RoleRule,
    /// Managers: their own, everyone's below, their team's and territory's where they have one, and nobody's.
    pub manager: RoleRule,
    /// Reps: their own.
    pub rep: RoleRule,
    /// Analysts: all rows, without the words of conversations.
    pub revops: RoleRule,
    /// Programs: everything their doors offer.
    pub service: RoleRule,
}

impl Default for RoleRules {
    fn default() -> Self {
        use Rows::{All, Hierarchy, Own, Team, Territory, Unowned};
        Self {
            admin: RoleRule::new(&[All], &[]),
            manager: RoleRule::new(&[Own, Hierarchy, Team, Territory, Unowned], &[]),
            rep: RoleRule::new(&[Own], &[]),
            revops: RoleRule::new(&[All], &[Mask::Transcript]),
            service: RoleRule::new(&[All], &[]),
        }
    }
}

impl RoleRules {
    /// The rule of a role.
    #[must_use]
    pub const fn of(&self, role: Role) -> &RoleRule {
        match role {
            Role::Admin => &self.admin,
            Role::Manager => &self.manager,
            Role::Rep => &self.rep,
            Role::Revops => &self.revops,
            Role::Service => &self.service,
        }
    }
}

/// Rules and limits of access.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AccessSettings {
    /// What each role sees.
    pub roles: RoleRules,
    /// How long it may take until a new owner, team or manager counts, milliseconds.
    pub visible_ms: u64,
    /// Sets of visible records kept at a time, one for each person asking.
    pub visible_sets: usize,
}

impl Default for AccessSettings {
    fn default() -> Self {
        Self {
            roles: RoleRules::default(),
            visible_ms: 2_000,
            visible_sets: 256,
        }
    }
}

/// Callers with the same text see the same.
pub(super) fn view_of(caller: &Caller, rule: &RoleRule) -> String {
    let rights = &caller.rights;
    let whom = if rule.rows.contains(&Rows::All) {
        String::new()
    } else {
        format!("{:?}/{:?}/{:?}", rights.user_id, rights.team, rights.territory)
    };
    format!("{}/{}/{whom}", caller.tenant_id, caller.role.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_changes_one_role_and_leaves_the_others() {
        let text = r#"{"roles": {"rep": {"rows": ["own", "team"], "masks": ["email"]}}}"#;
        let settings: AccessSettings = serde_json::from_str(text).expect("reads");
        assert_eq!(settings.roles.rep.rows, [Rows::Own, Rows::Team]);
        assert_eq!(settings.roles.admin, RoleRules::default().admin);
        let unknown = r#"{"roles": {"rep": {"rows": ["everything"]}}}"#;
        assert!(serde_json::from_str::<AccessSettings>(unknown).is_err());
    }

    #[test]
    fn who_sees_all_shares_a_view_and_who_does_not_has_its_own() {
        let rules = RoleRules::default();
        let rep = |user: &str| {
            let rights = revgauge_contract::access::Rights {
                user_id: Some(user.to_owned()),
                ..Default::default()
            };
            Caller::new("acme", "k", Role::Rep).with_rights(rights)
        };
        assert_ne!(view_of(&rep("a"), &rules.rep), view_of(&rep("b"), &rules.rep));
        let admin = |key: &str| view_of(&Caller::new("acme", key, Role::Admin), &rules.admin);
        assert_eq!(admin("k1"), admin("k2"));
    }
}
