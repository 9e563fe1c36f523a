//! Derives identity and relations of changed keys from their fields, and says which entities that touched.

use std::sync::Arc;

use revgauge_contract::domain::{company_domain, normal_email};

use super::{
    Directory, Evidence, StageCatalogue, Touched, Unsettled,
    identity::{Place, Standing},
    links::{NONE, Node},
    record::{self, Record},
};

impl Directory {
    /// Settles what changed. `touched` notes the entities concerned, unless nobody asks: a directory that is filled.
    pub(super) fn settle(&mut self, unsettled: Unsettled, touched: &mut Option<Touched>) {
        for node in unsettled.accounts {
            self.settle_account(node, touched);
        }
        for node in unsettled.contacts {
            self.settle_contact(node, touched);
        }
        for node in unsettled.deals {
            self.settle_deal(node, touched);
        }
        for node in unsettled.roles {
            self.settle_role(node, touched);
        }
        if unsettled.stages {
            let objects = self.objects("stage");
            self.stages = Arc::new(StageCatalogue::from_objects(
                objects.into_iter().map(|(id, fields)| (id.to_string(), fields)),
            ));
            if let Some(touched) = touched {
                touched.stages = true;
            }
        }
    }

    fn settle_contact(&mut self, node: Node, touched: &mut Option<Touched>) {
        self.touch_contact(node, touched);
        let slot = &self.contact_slots[node as usize];
        let merged_into = slot.crm.value(record::MERGED_INTO).map(str::to_owned);
        let email = [&slot.crm, slot.enrichment()]
            .into_iter()
            .find_map(|record| record.value(record::EMAIL).and_then(normal_email));
        let standing = standing(&slot.crm);
        let hint = slot.hint_email;
        let claim = email.map_or(hint, |email| self.contact_node(&email));
        let place = Place {
            merged_into: merged_into.map_or(NONE, |into| self.contact_node(&into)),
            claim: if claim == node { NONE } else { claim },
            standing,
        };
        let concerned = self.contacts.concerned(node, place);
        for node in &concerned {
            self.touch_contact(*node, touched);
        }
        let (account, evidence) = self.account_named_by(node, place.claim);
        let slot = &mut self.contact_slots[node as usize];
        let before = std::mem::replace(&mut slot.account, account);
        slot.evidence = evidence;
        self.contacts_of.shift(before, account, node);
        self.contacts.update(node, place, &concerned);
        for node in concerned.into_iter().chain([node]) {
            self.touch_contact(node, touched);
        }
        for account in [before, account] {
            self.touch_account(account, touched);
        }
    }

    /// The account that one contact key names: its CRM field, enrichment, events, else the domain of its address.
    fn account_named_by(&mut self, node: Node, claim: Node) -> (Node, Evidence) {
        let slot = &self.contact_slots[node as usize];
        let hint = slot.hint_account;
        let named = [
            (&slot.crm, Evidence::Crm),
            (slot.enrichment(), Evidence::Enrichment),
        ]
        .into_iter()
        .find_map(|(record, evidence)| Some((record.value(record::ACCOUNT_ID)?.to_owned(), evidence)));
        if let Some((account, evidence)) = named {
            return (self.account_node(&account), evidence);
        }
        if hint != NONE {
            return (hint, Evidence::Events);
        }
        let address = if claim == NONE { node } else { claim };
        let domain = Some(self.contacts.id(address))
            .filter(|id| id.contains('@'))
            .and_then(|address| company_domain(address));
        match domain {
            Some(domain) => (self.account_node(&domain), Evidence::Domain),
            None => (NONE, Evidence::Nothing),
        }
    }

    fn settle_account(&mut self, node: Node, touched: &mut Option<Touched>) {
        self.touch_account(node, touched);
        let slot = &self.account_slots[node as usize];
        let merged_into = slot.crm.value(record::MERGED_INTO).map(str::to_owned);
        let domain = [&slot.crm, slot.enrichment()].into_iter().find_map(|record| {
            [record::DOMAIN, record::WEBSITE]
                .into_iter()
                .find_map(|field| record.value(field).and_then(company_domain))
        });
        let standing = standing(&slot.crm);
        let claim = domain.map_or(NONE, |domain| self.account_node(&domain));
        let place = Place {
            merged_into: merged_into.map_or(NONE, |into| self.account_node(&into)),
            claim: if claim == node { NONE } else { claim },
            standing,
        };
        let concerned = self.accounts.concerned(node, place);
        for node in &concerned {
            self.touch_account(*node, touched);
        }
        self.accounts.update(node, place, &concerned);
        for node in concerned {
            self.touch_account(node, touched);
        }
    }

    fn settle_deal(&mut self, node: Node, touched: &mut Option<Touched>) {
        let crm = &self.deal_slots[node as usize].crm;
        let text = |name| crm.value(name).map(str::to_owned);
        let (merged_into, account, contact) = (
            text(record::MERGED_INTO),
            text(record::ACCOUNT_ID),
            text(record::CONTACT_ID),
        );
        let standing = standing(crm);
        let place = Place {
            merged_into: merged_into.map_or(NONE, |into| self.deal_node(&into)),
            claim: NONE,
            standing,
        };
        let account = account.map_or(NONE, |account| self.account_node(&account));
        let contact = contact.map_or(NONE, |contact| self.contact_node(&contact));
        let slot = &mut self.deal_slots[node as usize];
        let account_before = std::mem::replace(&mut slot.account, account);
        let contact_before = std::mem::replace(&mut slot.contact, contact);
        self.deals_of_account.shift(account_before, account, node);
        self.deals_of_contact.shift(contact_before, contact, node);
        let concerned = self.deals.concerned(node, place);
        self.touch_deals(&concerned, touched);
        self.deals.update(node, place, &concerned);
        self.touch_deals(&concerned, touched);
        self.touch_deals(&[node], touched);
        for account in [account_before, account] {
            self.touch_account(account, touched);
        }
    }

    fn settle_role(&mut self, node: Node, touched: &mut Option<Touched>) {
        let role = &self.roles[node as usize];
        let (deal_of_id, contact_of_id) = match role.id.split_once('/') {
            Some((deal, contact)) => (Some(deal), Some(contact)),
            None => (None, None),
        };
        let value = |name| role.crm.value(name).map(str::to_owned);
        let deal = value(record::DEAL_ID).or_else(|| deal_of_id.map(str::to_owned));
        let contact = value(record::CONTACT_ID)
            .or_else(|| value(record::EMAIL).as_deref().and_then(normal_email))
            .or_else(|| contact_of_id.map(str::to_owned));
        let deal = deal.map_or(NONE, |deal| self.deal_node(&deal));
        let contact = contact.map_or(NONE, |contact| self.contact_node(&contact));
        let role = &mut self.roles[node as usize];
        let deal_before = std::mem::replace(&mut role.deal, deal);
        let contact_before = std::mem::replace(&mut role.contact, contact);
        self.roles_of_deal.shift(deal_before, deal, node);
        self.roles_of_contact.shift(contact_before, contact, node);
        self.touch_deals(&[deal_before, deal], touched);
    }

    /// Notes the contact, its account, and the deals it takes part in.
    fn touch_contact(&self, node: Node, touched: &mut Option<Touched>) {
        let Some(touched) = touched else { return };
        let root = self.contacts.root(node);
        touched.contacts.insert(Arc::clone(self.contacts.id(root)));
        if let Some(account) = self.account_root_of(root) {
            touched.accounts.insert(Arc::clone(self.accounts.id(account)));
        }
        for deal in self.deal_roots_of_contact(root) {
            touched.deals.insert(Arc::clone(self.deals.id(deal)));
        }
    }

    fn touch_deals(&self, nodes: &[Node], touched: &mut Option<Touched>) {
        let Some(touched) = touched else { return };
        let known = nodes.iter().filter(|node| **node != NONE);
        touched
            .deals
            .extend(known.map(|node| Arc::clone(self.deals.id(self.deals.root(*node)))));
    }

    fn touch_account(&self, node: Node, touched: &mut Option<Touched>) {
        if let Some(touched) = touched
            && node != NONE
        {
            let root = self.accounts.root(node);
            touched.accounts.insert(Arc::clone(self.accounts.id(root)));
        }
    }
}

fn standing(crm: &Record) -> Standing {
    if crm.is_empty() {
        Standing::Unrecorded
    } else if crm.value(record::MERGED_INTO).is_some() {
        Standing::Merged
    } else if crm.value(record::DELETED) == Some("true") {
        Standing::Deleted
    } else {
        Standing::Live
    }
}
