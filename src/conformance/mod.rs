//! The conformance suite: one check for each promise of the [contract](crate::store).
//!
//! Run it over a store of your own before a collection rests on it; `docs/writing-a-store.md` shows
//! how. A store passes if [`suite`] returns.
//!
//! ```
//! use std::sync::Arc;
//! use deltafold::conformance;
//! use deltafold::store::{Memory, Store};
//!
//! # #[tokio::main]
//! # async fn main() {
//! conformance::suite(|| async { Arc::new(Memory::new()) as Arc<dyn Store> }).await;
//! # }
//! ```
//!
//! The suite cannot cut the power. It cannot show that a write outlasts a power failure, and that
//! [`settle`](Store::settle) makes a read durable.
#![expect(clippy::unwrap_used, reason = "a check that fails panics, as a test does")]

mod contract;
mod lists;
mod objects;
mod registers;
mod staging;

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;

use crate::env;
use crate::store::{Key, Outcome, Store, Tag};

/// A register, which a store may keep elsewhere than other objects.
const HEAD: &str = "c/0000/head";

/// Runs every check, each against an empty store that `fresh` makes. Use a runtime with several
/// threads: some checks race.
///
/// # Panics
///
/// Panics at the first promise that the store breaks, and at the first call that fails.
pub async fn suite<F: Future<Output = Arc<dyn Store>>>(fresh: impl Fn() -> F) {
    objects::a_created_object_reads_back(fresh().await).await;
    objects::one_creator_wins(fresh().await).await;
    objects::a_name_is_free_again_after_a_delete(fresh().await).await;
    objects::ranges_end_where_the_object_does(fresh().await).await;
    objects::objects_of_every_size_round_trip(fresh().await).await;
    objects::bytes_that_were_read_outlive_the_object(fresh().await).await;
    objects::deleting_twice_is_deleting(fresh().await).await;
    registers::a_conditional_read_has_three_answers(fresh().await).await;
    registers::only_the_state_named_is_replaced(fresh().await).await;
    registers::one_of_many_replacers_wins(fresh().await).await;
    registers::no_increment_is_lost(fresh().await).await;
    registers::no_replace_brings_back_a_deleted_object(fresh().await).await;
    lists::lists_are_in_key_order_and_complete(fresh().await).await;
    lists::registers_are_listed_with_their_collection(fresh().await).await;
    lists::lists_page_without_gaps(fresh().await).await;
    lists::dates_come_from_one_clock(fresh().await).await;
    staging::a_staged_object_appears_when_it_is_created(fresh().await).await;
    staging::a_staged_object_loses_to_one_that_exists(fresh().await).await;
    staging::a_staged_object_that_is_given_up_never_appears(fresh().await).await;
    staging::abandoned_uploads_are_found_and_given_up(fresh().await).await;
    contract::settling_fails_for_no_key(fresh().await).await;
    contract::every_verb_counts_its_requests(fresh().await).await;
    contract::a_store_without_its_cache_shows_the_same(fresh().await).await;
    contract::the_probe_finds_every_promise_kept(fresh().await).await;
    contract::a_collection_lives_in_the_store(fresh().await).await;
}

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

fn chunks(text: &str) -> Vec<Bytes> {
    vec![Bytes::copy_from_slice(text.as_bytes())]
}

/// The tag of a write that had to be done.
fn done(outcome: Outcome) -> Tag {
    match outcome {
        Outcome::Done(tag) => tag,
        other => panic!("the write had to be done, and its outcome is {other:?}"),
    }
}

async fn create(store: &dyn Store, name: &str, content: &str) -> Tag {
    done(store.create(&key(name), chunks(content)).await.unwrap())
}

async fn content(store: &dyn Store, name: &str) -> Option<Bytes> {
    store.get(&key(name)).await.unwrap().map(|object| object.bytes)
}

async fn names(store: &dyn Store, prefix: &str, after: Option<&str>, limit: usize) -> Vec<String> {
    let listed = store.list_after(prefix, after.map(key).as_ref(), limit).await.unwrap();
    listed.into_iter().map(|listed| listed.key.as_str().to_owned()).collect()
}

/// Runs futures as tasks of their own, at once, and returns their results in order.
async fn at_once<F>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    let tasks: Vec<_> = futures.into_iter().map(env::spawn).collect();
    join_all(tasks.into_iter().map(env::join)).await
}
