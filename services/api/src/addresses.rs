//! How many connections each address has open.
//!
//! Off unless an operator asks for it: behind a proxy all connections come from one address.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

/// How many connections each address has open.
type Open = Arc<Mutex<HashMap<IpAddr, usize>>>;

/// The open connections by address.
pub(crate) struct Addresses {
    max: Option<usize>,
    open: Open,
}

/// A connection; where there is a limit, it counts until it is dropped.
pub(crate) struct Entered {
    counted: Option<(IpAddr, Open)>,
}

impl Addresses {
    pub(crate) fn new(max: Option<usize>) -> Self {
        Self { max, open: Arc::default() }
    }

    /// Counts a connection, unless its address has as many as it may. Without a limit nothing is counted.
    pub(crate) fn enter(&self, address: IpAddr) -> Option<Entered> {
        let Some(max) = self.max else { return Some(Entered { counted: None }) };
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(address).or_default();
        if *count >= max {
            return None;
        }
        *count += 1;
        Some(Entered { counted: Some((address, Arc::clone(&self.open))) })
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let Some((address, open)) = &self.counted else { return };
        let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(address) {
            *count -= 1;
            if *count == 0 {
                open.remove(address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_and_whoever_left_is_forgotten() {
        let addresses = Addresses::new(Some(2));
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let first = addresses.enter(one).expect("the first");
        let second = addresses.enter(one).expect("the second");
        assert!(addresses.enter(one).is_none() && addresses.enter(other).is_some());
        drop(first);
        let third = addresses.enter(one).expect("a place is free");
        drop((second, third));
        assert!(addresses.open.lock().expect("sound").is_empty());
    }
}
