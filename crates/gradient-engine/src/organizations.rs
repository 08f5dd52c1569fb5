//! Organizations, their SSH keys, and who may reach them.

use std::collections::HashMap;

use gradient_auth::{Authenticated, Caller, Decision, OrganizationAccess, Pin, Place};
use gradient_domain::{
    BuiltInRole, DisplayName, Moment, OrgPermission, OrganizationId, OrganizationName, Permissions, RoleId, RoleName, RoleScope,
    Secret, UserId, Username,
};
use gradient_forge::{SshAccess, ssh_key};
use gradient_scheduler::Event;
use gradient_storage::{Conn, StorageError, api_keys, evaluations, organizations, roles, users, workers};

use crate::{Engine, EngineError, evaluations::end_rows};

pub use gradient_storage::organizations::{Organization, OrganizationChanges};

/// An organization that a user makes.
#[derive(Debug)]
pub struct NewOrganization {
    /// Its name.
    pub name: OrganizationName,
    /// What people read.
    pub display_name: DisplayName,
    /// What it is about.
    pub description: String,
    /// Whether everybody may see it.
    pub public: bool,
}

/// An organization as a caller finds it.
#[derive(Debug, Clone)]
pub struct FoundOrganization {
    /// The organization.
    pub organization: Organization,
    /// What decides what the caller may do.
    pub access: OrganizationAccess,
    /// The name of the caller's role.
    pub role: Option<RoleName>,
    /// The name of who made it.
    pub created_by: Option<Username>,
}

impl Engine {
    /// The organization of this name with what decides about the caller. Whether the caller may know of it, `access` says.
    pub async fn find_organization(
        &self,
        caller: &Caller,
        name: OrganizationName,
    ) -> Result<Option<FoundOrganization>, EngineError> {
        let user = caller.user().map(|user| user.user);
        let find = async move |conn: &mut Conn| match organizations::lookup_by_name(conn, &name).await? {
            Some(organization) => found(conn, user, organization).await.map(Some),
            None => Ok(None),
        };
        Ok(self.storage().read(find).await?)
    }

    /// As [`find_organization`](Self::find_organization), by its id.
    pub async fn organization_by_id(
        &self,
        caller: &Caller,
        id: OrganizationId,
    ) -> Result<Option<FoundOrganization>, EngineError> {
        let user = caller.user().map(|user| user.user);
        let find = async move |conn: &mut Conn| match organizations::lookup(conn, id).await? {
            Some(organization) => found(conn, user, organization).await.map(Some),
            None => Ok(None),
        };
        Ok(self.storage().read(find).await?)
    }

    /// The organizations that a caller may see, by name, and how many there are. A key that is pinned to one sees that one.
    pub async fn organizations(
        &self,
        caller: &Caller,
        limit: u32,
        offset: u32,
    ) -> Result<(Vec<FoundOrganization>, i64), EngineError> {
        let user = caller.user().map(|user| user.user);
        match caller.user().map_or(Pin::Everywhere, Authenticated::pin) {
            Pin::Everywhere => {}
            Pin::Organization(id) => {
                let found = self.organization_by_id(caller, id).await?;
                let items: Vec<_> = found.into_iter().filter(|found| sees(found, caller)).collect();
                let total = i64::try_from(items.len()).unwrap_or(i64::MAX);
                return Ok((if offset == 0 { items } else { Vec::new() }, total));
            }
            Pin::Cache(_) => return Ok((Vec::new(), 0)),
        }
        // Without the permission to look, by role or by key, the caller sees what strangers see.
        let caller = *caller;
        let page = async move |conn: &mut Conn| {
            let roles = match user {
                Some(user) => organizations::roles_of(conn, user).await?,
                None => HashMap::new(),
            };
            let looks = |id: OrganizationId, mask| {
                let access = OrganizationAccess { id, public: false, role: Some(mask) };
                access.decide(&caller, OrgPermission::ViewOrg) == Decision::Granted
            };
            let seen: Vec<_> = roles.iter().filter(|(id, (.., mask))| looks(**id, *mask)).map(|(id, _)| *id).collect();
            let (rows, total) = organizations::page(conn, &seen, limit.into(), offset.into()).await?;
            let mut items = Vec::with_capacity(rows.len());
            for organization in rows {
                let role = roles.get(&organization.id).cloned();
                items.push(with_role(conn, role, organization).await?);
            }
            Ok((items, total))
        };
        Ok(self.storage().read(page).await?)
    }

    /// Makes an organization with an SSH key of its own; its maker becomes Admin.
    pub async fn create_organization(&self, user: UserId, wanted: NewOrganization) -> Result<OrganizationId, EngineError> {
        let id = OrganizationId::new();
        let (ssh_public, ssh_private_sealed) = self.new_ssh_key(id, &wanted.name)?;
        let now = Moment::now();
        let organization = Organization {
            id,
            name: wanted.name,
            display_name: wanted.display_name,
            description: wanted.description,
            public: wanted.public,
            share: 100,
            ssh_public,
            ssh_private_sealed,
            created_by: Some(user),
            created_at: now,
            deleted_at: None,
        };
        let insert = async move |conn: &mut Conn| {
            organizations::insert(conn, &organization).await?;
            let admin = roles::built_in(RoleScope::Organization, BuiltInRole::Admin);
            organizations::insert_member(conn, id, user, admin, now).await
        };
        self.storage().transaction(insert).await?;
        Ok(id)
    }

    /// Changes an organization.
    pub async fn change_organization(&self, id: OrganizationId, changes: OrganizationChanges) -> Result<(), EngineError> {
        let share = changes.share;
        self.storage().write(async move |conn: &mut Conn| organizations::set(conn, id, &changes).await).await?;
        if let Some(weight) = share.and_then(|share| u32::try_from(share).ok()) {
            self.core().send(Event::ShareChanged { organization: id, weight }).await;
        }
        Ok(())
    }

    /// Hides an organization at once and ends its work; its workers cannot come back.
    pub async fn delete_organization(&self, id: OrganizationId) -> Result<(), EngineError> {
        let now = Moment::now();
        let delete = async move |conn: &mut Conn| {
            organizations::set_deleted(conn, id, now).await?;
            workers::delete_all(conn, id).await?;
            api_keys::delete_of_organization(conn, id).await?;
            let running = evaluations::unfinished_of_organization(conn, id).await?;
            end_rows(conn, &running, now).await?;
            Ok(running)
        };
        let running = self.storage().transaction(delete).await?;
        self.something_to_reap().notify_one();
        self.stop_aborted(running).await
    }

    /// Makes a new SSH key pair; the old one is dead at once, and the host keys that it met are forgotten. The answer is the public
    /// line.
    pub async fn renew_ssh_key(&self, id: OrganizationId, name: &OrganizationName) -> Result<String, EngineError> {
        let (public, sealed) = self.new_ssh_key(id, name)?;
        let line = public.clone();
        let renew = async move |conn: &mut Conn| {
            organizations::set_ssh_key(conn, id, &public, &sealed).await?;
            organizations::set_known_hosts(conn, id, "").await
        };
        self.storage().transaction(renew).await?;
        Ok(line)
    }

    fn new_ssh_key(&self, id: OrganizationId, name: &OrganizationName) -> Result<(String, Vec<u8>), EngineError> {
        let pair = ssh_key::generate(&format!("gradient-{name}")).map_err(|error| EngineError::Damaged(error.to_string()))?;
        let sealed = self.sealer().seal(pair.private_openssh.expose().as_bytes(), ssh_key_place(id), &mut rand::rng())?;
        Ok((pair.public_line, sealed))
    }
}

/// What opens the organization's repositories.
pub(crate) async fn ssh_access(engine: &Engine, id: OrganizationId) -> Result<SshAccess, EngineError> {
    let read = async move |conn: &mut Conn| {
        let organization = organizations::find(conn, id).await?;
        Ok((organization.ssh_private_sealed, organizations::known_hosts(conn, id).await?))
    };
    let (sealed, known_hosts) = engine.storage().read(read).await?;
    let key = engine.sealer().open(&sealed, ssh_key_place(id))?.into_inner();
    let key = String::from_utf8(key).map_err(|_| EngineError::Damaged(format!("the SSH key of organization {id}")))?;
    Ok(SshAccess { private_key: Secret::new(key), known_hosts })
}

/// Keeps the host keys that a repository showed, beside those that others have shown meanwhile.
pub(crate) async fn remember_hosts(engine: &Engine, id: OrganizationId, shown: String) -> Result<(), EngineError> {
    let write = async move |conn: &mut Conn| {
        organizations::lock(conn, id).await?;
        let mut known = organizations::known_hosts(conn, id).await?;
        for line in shown.lines() {
            if !known.lines().any(|known| known == line) {
                known.push_str(line);
                known.push('\n');
            }
        }
        organizations::set_known_hosts(conn, id, &known).await
    };
    Ok(engine.storage().transaction(write).await?)
}

/// Where an organization's private SSH key is kept, sealed.
pub(crate) fn ssh_key_place(id: OrganizationId) -> Place {
    Place { table: "organizations", column: "ssh_private_sealed", row: id.uuid() }
}

async fn found(conn: &mut Conn, user: Option<UserId>, organization: Organization) -> Result<FoundOrganization, StorageError> {
    let role = match user {
        Some(user) => organizations::role_of(conn, user, organization.id).await?,
        None => None,
    };
    with_role(conn, role, organization).await
}

async fn with_role(
    conn: &mut Conn,
    role: Option<(RoleId, RoleName, Permissions)>,
    organization: Organization,
) -> Result<FoundOrganization, StorageError> {
    let created_by = match organization.created_by {
        Some(id) => users::usernames(conn, &[id]).await?.pop().map(|(_, name)| name),
        None => None,
    };
    let mask = role.as_ref().map(|(_, _, mask)| *mask);
    let access = OrganizationAccess { id: organization.id, public: organization.public, role: mask };
    Ok(FoundOrganization { organization, access, role: role.map(|(_, name, _)| name), created_by })
}

fn sees(found: &FoundOrganization, caller: &Caller) -> bool {
    found.access.decide(caller, OrgPermission::ViewOrg) == Decision::Granted
}
