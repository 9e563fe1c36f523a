//! The operator's keys: one secret a run of the server, good for any tenant, known only to who may read the run file.

use revgauge_contract::access::{Caller, Role};
use subtle::ConstantTimeEq as _;

use super::{key_store::check_tenant, secret};

const PREFIX: &str = "rg_operator_";

/// The digest of the run's secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Operator([u8; 32]);

impl Operator {
    /// Key id of the operator's callers; no drawn key has it.
    pub(super) const KEY_ID: &'static str = "operator";

    pub(super) fn of(secret_text: &str) -> Self {
        Self(secret::digest(secret_text))
    }

    /// The caller behind `rg_operator_<secret>_<tenant>`: administrator of that tenant.
    pub(super) fn check(&self, key: &str) -> Option<Caller> {
        let (secret_text, tenant) = key.strip_prefix(PREFIX)?.split_once('_')?;
        let same = bool::from(self.0.ct_eq(&secret::digest(secret_text)));
        (same && check_tenant(tenant)).then(|| Caller::new(tenant, Self::KEY_ID, Role::Admin))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_runs_own_secret_opens_a_tenant() {
        let operator = Operator::of("s3cret");
        let caller = operator.check("rg_operator_s3cret_acme").expect("let in");
        assert_eq!((&*caller.tenant_id, caller.role), ("acme", Role::Admin));
        for key in [
            "rg_operator_other_acme",
            "rg_operator_s3cret_",
            "rg_operator_s3cret",
            "s3cret",
            "rg_operator_s3cret_A B",
        ] {
            assert_eq!(operator.check(key), None, "{key}");
        }
    }
}
