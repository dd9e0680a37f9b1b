//! A store that counts its calls and lets a test act at a chosen moment between two of them.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses some of it")]

use std::future::Future;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use deltafold::format::Timestamp;
use deltafold::store::{Key, Listed, Memory, Object, Outcome, Store, StoreError, Tag, Unless};
use futures::FutureExt;
use futures::future::BoxFuture;

/// The moment just before a call.
struct Hook {
    verb: &'static str,
    key: String,
    act: Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send>,
}

#[derive(Default)]
struct State {
    calls: Vec<String>,
    hooks: Vec<Hook>,
}

/// See the module. Clones are one store.
#[derive(Clone, Default)]
pub struct Watched {
    pub inner: Memory,
    state: Arc<Mutex<State>>,
}

impl std::fmt::Debug for Watched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watched")
    }
}

impl Watched {
    /// Once, just before the next `verb` on a key (or prefix) that holds `key`: does `act` to the end.
    pub fn before<F>(&self, verb: &'static str, key: impl ToString, act: impl FnOnce() -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let act = Box::new(move || act().boxed());
        self.state.lock().unwrap().hooks.push(Hook { verb, key: key.to_string(), act });
    }

    /// Whether every hook was reached.
    pub fn all_reached(&self) -> bool {
        self.state.lock().unwrap().hooks.is_empty()
    }

    /// The calls since the last time this was asked, as `verb key`, keys without what stands before the last folder.
    pub fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().calls)
    }

    async fn call(&self, verb: &'static str, key: &str) {
        let hook = {
            let mut state = self.state.lock().unwrap();
            let short: Vec<&str> = key.splitn(3, '/').collect();
            state.calls.push(format!("{verb} {}", short.last().unwrap()));
            let at = state.hooks.iter().position(|hook| hook.verb == verb && key.contains(&hook.key));
            at.map(|at| state.hooks.remove(at))
        };
        if let Some(hook) = hook {
            (hook.act)().await;
        }
    }

    /// The keys that hold `part`.
    pub async fn keys(&self, part: &str) -> Vec<Key> {
        let all = self.inner.list_after("", None, 1_000).await.unwrap();
        assert!(all.len() < 1_000);
        all.into_iter().map(|listed| listed.key).filter(|key| key.as_str().contains(part)).collect()
    }

    /// Puts other bytes in an object's place.
    pub async fn overwrite(&self, key: &Key, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = self.inner.get(key).await.unwrap().unwrap().bytes.to_vec();
        change(&mut bytes);
        self.inner.delete(std::slice::from_ref(key)).await.unwrap();
        self.inner.create(key, vec![bytes.into()]).await.unwrap();
    }
}

#[async_trait]
impl Store for Watched {
    fn location(&self) -> String {
        self.inner.location()
    }

    async fn get(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        self.call("get", key.as_str()).await;
        self.inner.get(key).await
    }

    async fn get_range(&self, key: &Key, start: u64, end: u64) -> Result<Option<Bytes>, StoreError> {
        self.call("get_range", key.as_str()).await;
        self.inner.get_range(key, start, end).await
    }

    async fn get_unless(&self, key: &Key, tag: &Tag) -> Result<Unless, StoreError> {
        self.call("get_unless", key.as_str()).await;
        self.inner.get_unless(key, tag).await
    }

    async fn create(&self, key: &Key, chunks: Vec<Bytes>) -> Result<Outcome, StoreError> {
        self.call("create", key.as_str()).await;
        self.inner.create(key, chunks).await
    }

    async fn replace(&self, key: &Key, tag: &Tag, chunks: Vec<Bytes>) -> Result<Outcome, StoreError> {
        self.call("replace", key.as_str()).await;
        self.inner.replace(key, tag, chunks).await
    }

    async fn list_after(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Vec<Listed>, StoreError> {
        self.call("list", prefix).await;
        self.inner.list_after(prefix, after, limit).await
    }

    async fn delete(&self, keys: &[Key]) -> Result<(), StoreError> {
        self.call("delete", "").await;
        self.inner.delete(keys).await
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        self.inner.now().await
    }
}
