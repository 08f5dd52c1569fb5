//! Which caches an organization publishes to and reads from.

use gradient_domain::{CacheId, Moment, OrganizationId, SubscriptionMode};
use gradient_scheduler::Event;
use gradient_storage::{
    Conn, builds, evaluations,
    subscriptions::{self, Subscription},
};

use crate::{Engine, EngineError, publish};

pub use gradient_storage::subscriptions::SubscribedCache;

impl Engine {
    /// The caches that an organization subscribes to, by name.
    pub async fn subscriptions(&self, organization: OrganizationId) -> Result<Vec<SubscribedCache>, EngineError> {
        Ok(self.storage().read(async move |conn: &mut Conn| subscriptions::list(conn, organization).await).await?)
    }

    /// Subscribes an organization to a cache. Evaluations that wait for a cache go on.
    pub async fn subscribe(
        &self,
        organization: OrganizationId,
        cache: CacheId,
        mode: SubscriptionMode,
    ) -> Result<(), EngineError> {
        let subscription = Subscription { organization, cache, mode, created_at: Moment::now() };
        let now = subscription.created_at;
        let insert = async move |conn: &mut Conn| {
            subscriptions::insert(conn, &subscription).await?;
            let mut claimed = publish::Claimed::new();
            if mode.is_writable() {
                // What unfinished evaluations have built already is not built again for the new cache.
                for evaluation in evaluations::unfinished_of_organization(conn, organization).await? {
                    let roots = builds::published_outputs(conn, evaluation).await?;
                    claimed.extend(publish::claim(conn, organization, &[cache], roots, now).await?);
                }
            }
            Ok(claimed)
        };
        let claimed = self.storage().transaction(insert).await?;
        self.paths_published(&claimed);
        self.tell_of_caches(organization).await
    }

    /// Ends a subscription. What the cache has got, it keeps.
    pub async fn unsubscribe(&self, organization: OrganizationId, cache: CacheId) -> Result<(), EngineError> {
        self.storage().write(async move |conn: &mut Conn| subscriptions::delete(conn, organization, cache).await).await?;
        self.tell_of_caches(organization).await
    }

    /// Tells the scheduler whether the organization has a cache to publish to.
    pub(crate) async fn tell_of_caches(&self, organization: OrganizationId) -> Result<(), EngineError> {
        let list = async move |conn: &mut Conn| subscriptions::writable_caches(conn, organization).await;
        let writable = !self.storage().read(list).await?.is_empty();
        self.core().send(Event::CachesChanged { organization, writable }).await;
        Ok(())
    }
}
