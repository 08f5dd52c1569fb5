use proptest::prelude::*;

use super::*;

fn session() -> Caller {
    Caller::User(Authenticated { user: UserId::new(), superuser: false, via: Via::Session(SessionId::new()) })
}

fn key(permissions: Permissions, cache_permissions: CachePermissions, pin: Pin) -> Caller {
    let key = KeyAuthority { id: ApiKeyId::new(), permissions, cache_permissions, pin };
    Caller::User(Authenticated { user: UserId::new(), superuser: false, via: Via::ApiKey(key) })
}

fn organization(public: bool, role: Option<Permissions>) -> OrganizationAccess {
    OrganizationAccess { id: OrganizationId::new(), public, role }
}

fn cache(public: bool, role: Option<CachePermissions>) -> CacheAccess {
    CacheAccess { id: CacheId::new(), public, role, through: Vec::new() }
}

#[test]
fn strangers_see_public_organizations_only() {
    use Decision::{Anonymous, Denied, Granted, Hidden};
    use OrgPermission::{EditProject, ViewOrg};
    let (open, closed) = (organization(true, None), organization(false, None));
    assert_eq!([open, closed].map(|org| org.decide(&Caller::Anonymous, ViewOrg)), [Granted, Anonymous]);
    assert_eq!([open, closed].map(|org| org.decide(&Caller::Anonymous, EditProject)), [Anonymous, Anonymous]);
    assert_eq!([open, closed].map(|org| org.decide(&session(), ViewOrg)), [Granted, Hidden]);
    assert_eq!([open, closed].map(|org| org.decide(&session(), EditProject)), [Denied, Hidden]);
}

#[test]
fn only_members_see_what_is_for_members() {
    use Decision::{Anonymous, Denied, Granted, Hidden};
    let (open, closed) = (organization(true, None), organization(false, None));
    assert_eq!([open, closed].map(|org| org.decide_member(&Caller::Anonymous)), [Anonymous, Anonymous]);
    assert_eq!([open, closed].map(|org| org.decide_member(&session())), [Denied, Hidden]);
    let member = organization(false, Some(BuiltInRole::View.permissions()));
    assert_eq!(member.decide_member(&session()), Granted);
    assert_eq!(member.decide_member(&key(Permissions::NONE, CachePermissions::NONE, Pin::Everywhere)), Hidden);
}

#[test]
fn a_pinned_key_knows_one_organization() {
    let org = organization(true, Some(Permissions::ALL));
    let pinned = |id| key(Permissions::ALL, CachePermissions::ALL, Pin::Organization(id));
    assert_eq!(org.decide(&pinned(org.id), OrgPermission::DeleteOrg), Decision::Granted);
    assert_eq!(org.decide(&pinned(OrganizationId::new()), OrgPermission::ViewOrg), Decision::Hidden);
    let on_a_cache = key(Permissions::ALL, CachePermissions::ALL, Pin::Cache(CacheId::new()));
    assert_eq!(org.decide(&on_a_cache, OrgPermission::ViewOrg), Decision::Hidden);
}

#[test]
fn a_key_pinned_to_a_cache_works_there_only() {
    let here = cache(false, Some(CachePermissions::ALL));
    let there = cache(true, Some(CachePermissions::ALL));
    let pinned = key(Permissions::NONE, CachePermissions::ALL, Pin::Cache(here.id));
    assert_eq!(here.decide(&pinned, CachePermission::WriteStore), Decision::Granted);
    assert_eq!(there.decide(&pinned, CachePermission::ReadStore), Decision::Hidden);
}

#[test]
fn subscribers_read() {
    let org = OrganizationId::new();
    let cache = CacheAccess { through: vec![org], ..cache(false, None) };
    assert_eq!(cache.decide(&session(), CachePermission::ReadStore), Decision::Granted);
    assert_eq!(cache.decide(&session(), CachePermission::WriteStore), Decision::Denied);
    assert_eq!(cache.decide(&Caller::Anonymous, CachePermission::ReadStore), Decision::Anonymous);
    let pinned = |id| key(Permissions::ALL, CachePermissions::ALL, Pin::Organization(id));
    assert_eq!(cache.decide(&pinned(org), CachePermission::ReadStore), Decision::Granted);
    assert_eq!(cache.decide(&pinned(OrganizationId::new()), CachePermission::ReadStore), Decision::Hidden);
}

#[test]
fn an_organizations_key_does_not_carry_a_cache_role() {
    let cache = cache(false, Some(CachePermissions::ALL));
    let pinned = key(Permissions::ALL, CachePermissions::ALL, Pin::Organization(OrganizationId::new()));
    assert_eq!(cache.decide(&pinned, CachePermission::ViewCache), Decision::Hidden);
}

#[test]
fn only_a_session_is_one() {
    assert!(session().user().unwrap().session().is_some());
    assert!(key(Permissions::ALL, CachePermissions::ALL, Pin::Everywhere).user().unwrap().session().is_none());
    assert!(Caller::Anonymous.user().is_none());
}

fn org_permission() -> impl Strategy<Value = OrgPermission> {
    prop::sample::select(OrgPermission::ALL)
}

proptest! {
    #[test]
    fn a_member_may_what_both_masks_allow(
        role in any::<i64>(), mask in any::<i64>(), public in any::<bool>(), needed in org_permission(),
    ) {
        let (role, mask) = (Permissions::from(role), Permissions::from(mask));
        let org = organization(public, Some(role));
        let caller = key(mask, CachePermissions::NONE, Pin::Everywhere);
        let granted = (role & mask).contains(needed) || (public && needed == OrgPermission::ViewOrg);
        let decision = org.decide(&caller, needed);
        prop_assert_eq!(decision == Decision::Granted, granted);
        prop_assert_ne!(decision, Decision::Anonymous);
        if decision == Decision::Hidden {
            prop_assert!(!public && !(role & mask).contains(OrgPermission::ViewOrg));
        }
        let as_stranger = organization(public, None).decide(&caller, needed);
        prop_assert_eq!(as_stranger == Decision::Granted, public && needed == OrgPermission::ViewOrg);
    }

    #[test]
    fn a_key_never_widens_what_its_user_may(
        role in prop::option::of(any::<i64>()), mask in any::<i64>(), public in any::<bool>(), pinned in any::<bool>(),
        needed in prop::sample::select(CachePermission::ALL),
    ) {
        let cache = cache(public, role.map(CachePermissions::from));
        let pin = if pinned { Pin::Cache(cache.id) } else { Pin::Everywhere };
        let with_key = cache.decide(&key(Permissions::ALL, CachePermissions::from(mask), pin), needed);
        let with_session = cache.decide(&session(), needed);
        prop_assert!(with_key != Decision::Granted || with_session == Decision::Granted);
    }

    #[test]
    fn an_anonymous_caller_never_changes_anything(public in any::<bool>(), needed in org_permission()) {
        let decision = organization(public, None).decide(&Caller::Anonymous, needed);
        prop_assert_eq!(decision == Decision::Granted, public && !needed.is_mutating());
        prop_assert!(matches!(decision, Decision::Granted | Decision::Anonymous));
    }
}
