//! Registers under races, lost answers and damage.

use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use deltafold_format::{HeadPlace, Timestamp};

use super::*;
use crate::env::System;
use crate::store::{Listed, Memory, Requests};

/// A store that does the next writes and loses their answers.
#[derive(Debug, Default)]
struct Losing {
    inner: Memory,
    answers: AtomicU32,
}

impl Losing {
    fn answer(&self, key: &Key, outcome: Outcome) -> Outcome {
        let lost = self.answers.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if lost.is_err() {
            return outcome;
        }
        Outcome::Unknown(StoreError::new(StoreErrorKind::Transient, "write", key, "the answer was lost"))
    }
}

#[async_trait]
impl Store for Losing {
    fn location(&self) -> String {
        self.inner.location()
    }
    async fn get(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        self.inner.get(key).await
    }
    async fn get_range(&self, key: &Key, start: u64, end: u64) -> Result<Option<Bytes>, StoreError> {
        self.inner.get_range(key, start, end).await
    }
    async fn get_unless(&self, key: &Key, tag: &Tag) -> Result<Unless, StoreError> {
        self.inner.get_unless(key, tag).await
    }
    async fn create(&self, key: &Key, chunks: Vec<Bytes>) -> Result<Outcome, StoreError> {
        Ok(self.answer(key, self.inner.create(key, chunks).await?))
    }
    async fn replace(&self, key: &Key, tag: &Tag, chunks: Vec<Bytes>) -> Result<Outcome, StoreError> {
        Ok(self.answer(key, self.inner.replace(key, tag, chunks).await?))
    }
    async fn list_after(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Vec<Listed>, StoreError> {
        self.inner.list_after(prefix, after, limit).await
    }
    async fn delete(&self, keys: &[Key]) -> Result<(), StoreError> {
        self.inner.delete(keys).await
    }
    async fn settle(&self, key: &Key) -> Result<(), StoreError> {
        self.inner.settle(key).await
    }
    async fn now(&self) -> Result<Timestamp, StoreError> {
        self.inner.now().await
    }
    fn requests(&self) -> Requests {
        self.inner.requests()
    }
    fn heads(&self) -> HeadPlace {
        self.inner.heads()
    }
    fn is_to_be_probed(&self) -> bool {
        self.inner.is_to_be_probed()
    }
}

fn key() -> Key {
    Key::new("CATALOGUE/root").unwrap()
}

fn registers(store: &Arc<Losing>) -> Registers {
    Registers::new(store.clone(), Arc::new(System), Duration::ZERO)
}

async fn add_one(registers: &Registers) -> u32 {
    let change = |count: &mut u32| {
        *count += 1;
        Ok(*count)
    };
    registers.change(&key(), change).await.unwrap()
}

/// The store did the write and its answer was lost. The retry was refused by that very write, and a
/// server that took this for another's change made the change twice.
#[tokio::test(start_paused = true)]
async fn a_change_with_a_lost_answer_is_made_once() {
    let store = Arc::new(Losing::default());
    let registers = registers(&store);
    for expected in 1..=4 {
        store.answers.store(1, Ordering::SeqCst);
        assert_eq!(add_one(&registers).await, expected);
        assert_eq!(registers.read::<u32>(&key()).await.unwrap(), Some(expected));
    }
}

#[tokio::test(start_paused = true)]
async fn changes_of_several_servers_all_land() {
    let store = Arc::new(Losing::default());
    let servers: Vec<Registers> = (0..4).map(|_| registers(&store)).collect();
    let changes = servers.iter().map(|server| async move {
        for _ in 0..20 {
            add_one(server).await;
        }
    });
    futures::future::join_all(changes).await;
    for server in &servers {
        assert_eq!(server.read::<u32>(&key()).await.unwrap(), Some(80));
    }
}

#[tokio::test]
async fn a_refused_change_writes_nothing() {
    let store = Arc::new(Losing::default());
    let registers = registers(&store);
    let refuse = |_: &mut u32| Err::<(), _>(CatalogueError::NoTenant("none".to_owned()));
    assert!(registers.change(&key(), refuse).await.is_err());
    assert_eq!(registers.read::<u32>(&key()).await.unwrap(), None);
}

#[tokio::test]
async fn every_flipped_byte_of_a_register_is_an_error() {
    let store = Arc::new(Losing::default());
    add_one(&registers(&store)).await;
    let sound = store.get(&key()).await.unwrap().unwrap().bytes;
    for at in 0..sound.len() {
        let mut damaged = sound.to_vec();
        damaged[at] ^= 1;
        store.delete(&[key()]).await.unwrap();
        store.create(&key(), vec![damaged.into()]).await.unwrap();
        let error = registers(&store).read::<u32>(&key()).await.unwrap_err();
        assert!(error.to_string().contains("`CATALOGUE/root`"), "byte {at}: {error}");
    }
}
