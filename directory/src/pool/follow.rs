//! The pool keeps to the cluster map.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use hayrick_service::client::Client;
use hayrick_store::{StoreClient, StoreHandle};
use tokio::sync::watch;

use super::StorePool;
use crate::{ClusterMap, StoreId};

impl StorePool {
    /// Takes the stores of the present cluster map, and then keeps to them until the coordinator
    /// is gone. Clients of stores that stay where they are keep their connections.
    ///
    /// A store that is not there now stays in the pool at its last address: it may only have
    /// lost the coordinator, as all stores have after a long outage of that, and still serve.
    /// Who asks it finds out. It goes when it is struck from the map.
    pub fn follow(
        self,
        mut maps: watch::Receiver<Arc<ClusterMap>>,
        http: Client,
    ) -> impl Future<Output = ()> + Send + 'static {
        let mut addresses = HashMap::new();
        let map = Arc::clone(&maps.borrow_and_update());
        self.adopt(&map, &mut addresses, &http);
        async move {
            while maps.changed().await.is_ok() {
                let map = Arc::clone(&maps.borrow_and_update());
                self.adopt(&map, &mut addresses, &http);
            }
        }
    }

    fn adopt(&self, map: &ClusterMap, addresses: &mut HashMap<StoreId, String>, http: &Client) {
        addresses.retain(|id, _| map.stores.contains_key(id));
        let mut handles = BTreeMap::new();
        for (id, known) in &map.stores {
            let address = known.member.as_ref().map(|member| &member.address);
            let moved = address.filter(|address| addresses.get(id) != Some(address));
            if let Some(address) = moved {
                let url = format!("http://{address}");
                let client = StoreClient::new(id.as_str(), url, map.cluster_id, http.clone());
                handles.insert(id.clone(), StoreHandle::Remote(client));
                addresses.insert(id.clone(), address.clone());
            } else if let Some(handle) = self.get(id) {
                handles.insert(id.clone(), handle);
            }
        }
        self.replace(handles);
    }
}

#[cfg(test)]
mod tests {
    use hayrick_service::client::ClientOptions;
    use uuid::Uuid;

    use super::*;
    use crate::{KnownStore, Member, Stores as _};

    fn map(stores: &[(&str, Option<&str>)]) -> Arc<ClusterMap> {
        let known = |address: Option<&str>| KnownStore {
            rack: "r".parse().unwrap(),
            host: "h".parse().unwrap(),
            since_ms: 0,
            member: address.map(|address| Member {
                rack: "r".parse().unwrap(),
                address: address.to_owned(),
                disks: Vec::new(),
                boot_id: Uuid::nil(),
                session: 1,
            }),
        };
        let stores = stores.iter().map(|(id, address)| (id.parse().unwrap(), known(*address)));
        Arc::new(ClusterMap { stores: stores.collect(), ..ClusterMap::empty(Uuid::nil()) })
    }

    fn ids(pool: &StorePool) -> Vec<String> {
        pool.ids().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_store_that_is_away_is_kept_and_one_that_is_struck_off_goes() {
        let (pool, mut addresses) = (StorePool::default(), HashMap::new());
        let http = Client::new(ClientOptions::default());
        let mut adopt = |stores: &[_]| pool.adopt(&map(stores), &mut addresses, &http);
        adopt(&[("a", Some("h:1")), ("b", Some("h:2")), ("c", None)]);
        assert_eq!(ids(&pool), ["a", "b"], "nobody knows where c was");
        adopt(&[("a", None), ("b", Some("h:2")), ("c", Some("h:3"))]);
        assert_eq!(ids(&pool), ["a", "b", "c"]);
        adopt(&[("b", Some("h:4"))]);
        assert_eq!(ids(&pool), ["b"]);
        assert_eq!(addresses.into_values().collect::<Vec<_>>(), ["h:4"]);
    }

    #[tokio::test]
    async fn new_maps_are_followed() {
        let (sender, maps) = watch::channel(map(&[]));
        let pool = StorePool::default();
        let following =
            tokio::spawn(pool.clone().follow(maps, Client::new(ClientOptions::default())));
        sender.send_replace(map(&[("a", Some("h:1"))]));
        while ids(&pool).is_empty() {
            tokio::task::yield_now().await;
        }
        drop(sender);
        following.await.unwrap();
    }
}
