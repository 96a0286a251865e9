//! What operators have told the keeper, until it is done or taken back.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use hayrick_store::VolumeId;
use serde::{Deserialize, Serialize};

use crate::StoreId;
use crate::bucket::{NameError, text_conversions};

/// What an operator told the keeper to do. Its [`OrderId`] says all of it, so that the same
/// order given twice is one order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "kebab-case")]
pub enum Order {
    /// Begin nothing until this is taken back. What runs comes to its end.
    Pause,
    /// Move volumes from the fullest stores to the emptiest until they are about alike.
    Rebalance,
    /// Move every volume away from a store, and put nothing new on it. Stands until it is
    /// taken back, or the store is struck from the map.
    Drain {
        /// The store.
        store: StoreId,
    },
    /// Move one replica of a volume.
    Move {
        /// The volume.
        volume: VolumeId,
        /// The store that gives its replica up.
        from: StoreId,
        /// The store that gets one.
        to: StoreId,
    },
    /// Give a volume one more replica.
    Copy {
        /// The volume.
        volume: VolumeId,
        /// The store that gets it.
        to: StoreId,
    },
    /// Have every replica of a volume read whole, and what is damaged or missing fetched
    /// from the others.
    Repair {
        /// The volume.
        volume: VolumeId,
    },
}

/// Names an order by what it says: `pause`, `rebalance`, `drain:STORE`,
/// `move:VOLUME:FROM:TO`, `copy:VOLUME:TO` or `repair:VOLUME`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OrderId(Arc<str>);

impl Order {
    /// Its name.
    pub fn id(&self) -> OrderId {
        OrderId(self.to_string().into())
    }

    /// The volume that it is about, if it is about one.
    pub fn volume(&self) -> Option<VolumeId> {
        match self {
            Self::Move { volume, .. } | Self::Copy { volume, .. } | Self::Repair { volume } => {
                Some(*volume)
            }
            Self::Pause | Self::Rebalance | Self::Drain { .. } => None,
        }
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pause => f.write_str("pause"),
            Self::Rebalance => f.write_str("rebalance"),
            Self::Drain { store } => write!(f, "drain:{store}"),
            Self::Move { volume, from, to } => write!(f, "move:{volume}:{from}:{to}"),
            Self::Copy { volume, to } => write!(f, "copy:{volume}:{to}"),
            Self::Repair { volume } => write!(f, "repair:{volume}"),
        }
    }
}

impl FromStr for Order {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let words: Vec<&str> = text.split(':').collect();
        parse(&words).filter(|order| order.to_string() == text).ok_or_else(|| {
            let forms = "write pause, rebalance, drain:STORE, move:VOLUME:FROM:TO, \
                         copy:VOLUME:TO or repair:VOLUME";
            NameError::new("an order", forms, text)
        })
    }
}

fn parse(words: &[&str]) -> Option<Order> {
    let volume = |text: &str| text.parse().ok();
    let store = |text: &str| text.parse().ok();
    Some(match *words {
        ["pause"] => Order::Pause,
        ["rebalance"] => Order::Rebalance,
        ["drain", id] => Order::Drain { store: store(id)? },
        ["move", id, from, to] => {
            Order::Move { volume: volume(id)?, from: store(from)?, to: store(to)? }
        }
        ["copy", id, to] => Order::Copy { volume: volume(id)?, to: store(to)? },
        ["repair", id] => Order::Repair { volume: volume(id)? },
        _ => return None,
    })
}

impl FromStr for OrderId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        text.parse::<Order>().map(|order| order.id())
    }
}

impl OrderId {
    /// The order that it names.
    pub fn order(&self) -> Result<Order, NameError> {
        self.0.parse()
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

text_conversions!(OrderId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_its_id() {
        for id in ["pause", "rebalance", "drain:s-1", "move:7:a:b.c", "copy:7:b", "repair:7"] {
            let order: Order = id.parse().unwrap();
            assert_eq!(order.id().as_str(), id);
            let json = serde_json::to_string(&order).unwrap();
            assert_eq!(serde_json::from_str::<Order>(&json).unwrap(), order, "{json}");
        }
        for bad in
            ["", "Pause", "drain", "drain:", "drain:a/b", "move:7:a", "move:0:a:b", "repair:07"]
        {
            assert!(bad.parse::<OrderId>().is_err(), "{bad}");
        }
    }
}
