//! Each fault does what its name says. Otherwise a test that plants it proves nothing.

use deltafold::store::Unless;

use super::*;
use crate::objects::{chunks, create, key};

/// A store that stages every object in memory.
#[derive(Debug, Clone, Default)]
struct Staging {
    inner: Memory,
    given_up: Arc<Mutex<Vec<Key>>>,
}

#[derive(Debug)]
struct Stage(Staging, Key, Vec<Bytes>);

#[async_trait]
impl Staged for Stage {
    async fn create(self: Box<Self>) -> Result<Outcome, StoreError> {
        self.0.inner.create(&self.1, self.2).await
    }

    async fn give_up(self: Box<Self>) {
        self.0.given_up.lock().unwrap().push(self.1);
    }
}

impl Staging {
    async fn read(&self, _: &'static str, _: &str) -> Result<(), StoreError> {
        Ok(())
    }
}

#[async_trait]
impl Store for Staging {
    fn location(&self) -> String {
        "staging".to_owned()
    }

    async fn create(&self, key: &Key, chunks: Vec<Bytes>) -> Result<Outcome, StoreError> {
        self.inner.create(key, chunks).await
    }

    async fn stage(&self, key: &Key, chunks: &[Bytes]) -> Result<Option<Box<dyn Staged>>, StoreError> {
        Ok(Some(Box::new(Stage(self.clone(), key.clone(), chunks.to_vec()))))
    }

    async fn replace(&self, key: &Key, tag: &Tag, chunks: Vec<Bytes>) -> Result<Outcome, StoreError> {
        self.inner.replace(key, tag, chunks).await
    }

    async fn delete(&self, keys: &[Key]) -> Result<(), StoreError> {
        self.inner.delete(keys).await
    }

    crate::reads_of!(inner);
    crate::pass_on_to!(inner);

    async fn now(&self) -> Result<Timestamp, StoreError> {
        self.inner.now().await
    }
}

/// The answer to a write, without its tag and its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Done,
    Refused,
    Unknown,
    Failed(StoreErrorKind),
}

impl From<Result<Outcome, StoreError>> for Answer {
    fn from(result: Result<Outcome, StoreError>) -> Self {
        match result {
            Ok(Outcome::Done(_)) => Self::Done,
            Ok(Outcome::Refused) => Self::Refused,
            Ok(Outcome::Unknown(_)) => Self::Unknown,
            Err(error) => Self::Failed(error.kind()),
        }
    }
}

/// Faults, whether their write lands at once, and its answer.
const FAULTS: [(Fault, bool, Answer); 6] = [
    (Fault::Transient, false, Answer::Failed(StoreErrorKind::Transient)),
    (Fault::Permanent, false, Answer::Failed(StoreErrorKind::Permanent)),
    (Fault::LoseAnswer, true, Answer::Unknown),
    (Fault::Echo, true, Answer::Refused),
    (Fault::LoseRequest, false, Answer::Unknown),
    (Fault::Delay, false, Answer::Unknown),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Create,
    Staged,
    Replace,
}

/// Writes `new` to `c/head` in this way.
async fn write(store: &Watched<Staging>, way: Way, tag: &Tag) -> Answer {
    match way {
        Way::Create => store.create(&key("c/head"), chunks("new")).await.into(),
        Way::Staged => store.stage(&key("c/head"), &chunks("new")).await.unwrap().unwrap().create().await.into(),
        Way::Replace => store.replace(&key("c/head"), tag, chunks("new")).await.into(),
    }
}

async fn content(store: &Watched<Staging>) -> Option<String> {
    let object = store.inner.get(&key("c/head")).await.unwrap()?;
    Some(String::from_utf8(object.bytes.to_vec()).unwrap())
}

#[tokio::test]
async fn a_fault_lands_and_answers_as_its_name_says() {
    for way in [Way::Create, Way::Staged, Way::Replace] {
        for (fault, lands, answer) in FAULTS {
            let store = Watched::<Staging>::default();
            let mut tag = Tag::new("none");
            let mut old = None;
            if way == Way::Replace {
                tag = create(&store.inner, "c/head", "old").await;
                old = Some("old".to_owned());
            }
            let new = Some("new".to_owned());
            let verb = if way == Way::Replace { "replace" } else { "create" };
            store.fail(verb, "head", fault);
            assert_eq!(write(&store, way, &tag).await, answer, "{way:?} {fault:?}");
            assert!(store.all_reached());
            assert_eq!(content(&store).await, if lands { new.clone() } else { old.clone() }, "{way:?} {fault:?}");
            // Staged bytes without an object are given up, as if the caller had failed.
            let given_up = store.inner.given_up.lock().unwrap().len();
            assert_eq!(given_up, usize::from(way == Way::Staged), "{fault:?}");
            // The fault came once.
            let again = if lands { Answer::Refused } else { Answer::Done };
            if fault == Fault::Delay {
                assert_eq!(store.land_delayed().await, 1, "{way:?}");
                assert_eq!(content(&store).await, new, "{way:?}");
            } else {
                assert_eq!(write(&store, way, &tag).await, again, "{way:?} {fault:?}");
            }
            assert_eq!(store.land_delayed().await, 0);
        }
    }
}

#[tokio::test]
async fn a_delayed_write_is_refused_if_another_came_first() {
    let store = Watched::<Staging>::default();
    store.fail("create", "head", Fault::Delay);
    assert_eq!(write(&store, Way::Create, &Tag::new("none")).await, Answer::Unknown);
    create(&store.inner, "c/head", "other").await;
    assert_eq!(store.land_delayed().await, 0);
    assert_eq!(content(&store).await.as_deref(), Some("other"));
}

#[tokio::test]
async fn every_landed_write_is_echoed_until_asked() {
    let store = Watched::<Staging>::default();
    store.echo_all();
    let none = Tag::new("none");
    assert_eq!(write(&store, Way::Create, &none).await, Answer::Refused);
    assert_eq!(write(&store, Way::Staged, &none).await, Answer::Refused);
    let tag = store.inner.get(&key("c/head")).await.unwrap().unwrap().tag;
    assert_eq!(write(&store, Way::Replace, &tag).await, Answer::Refused);
    // The second write was refused in truth, so it is not an echo.
    assert_eq!(store.echoed(), ["create c/head", "replace c/head"]);
    let tag = store.inner.get(&key("c/head")).await.unwrap().unwrap().tag;
    assert_eq!(write(&store, Way::Replace, &tag).await, Answer::Done);
}

#[tokio::test]
async fn a_hook_runs_once_just_before_its_call() {
    let store = Watched::<Staging>::default();
    let inner = store.inner.clone();
    store.before("create", "head", async move || {
        create(&inner, "c/head", "first").await;
    });
    // Another verb and another key do not reach it.
    assert_eq!(store.get(&key("c/head")).await.unwrap().map(|object| object.bytes), None);
    create(&store, "c/other", "x").await;
    assert!(!store.all_reached());
    assert_eq!(write(&store, Way::Create, &Tag::new("none")).await, Answer::Refused);
    assert!(store.all_reached());
    assert_eq!(store.calls(), ["get head", "create other", "create head"]);
    assert_eq!(store.calls(), [""; 0]);
}

#[tokio::test]
async fn an_echo_acts_between_the_write_and_its_answer() {
    let store = Watched::<Staging>::default();
    let inner = store.inner.clone();
    store.echo_after("head", async move || {
        inner.delete(&[key("c/head")]).await.unwrap();
    });
    assert_eq!(write(&store, Way::Create, &Tag::new("none")).await, Answer::Refused);
    assert_eq!(content(&store).await, None);
    assert_eq!(write(&store, Way::Create, &Tag::new("none")).await, Answer::Done);
}

#[tokio::test]
async fn each_read_fails_as_told_and_then_answers() {
    let store = Watched::<Staging>::default();
    let tag = create(&store.inner, "c/head", "text").await;
    for verb in ["get", "get_range", "get_unless", "list", "delete"] {
        store.fail(verb, "c/", Fault::Transient);
        let mut answers = Vec::new();
        for _ in 0..2 {
            let answer = match verb {
                "get" => store.get(&key("c/head")).await.map(|object| object.unwrap().bytes == "text"),
                "get_range" => store.get_range(&key("c/head"), 1, 3).await.map(|bytes| bytes.unwrap() == "ex"),
                "get_unless" => {
                    store.get_unless(&key("c/head"), &tag).await.map(|read| matches!(read, Unless::Unchanged))
                }
                "list" => store.list_after("c/", None, 9).await.map(|listed| listed.len() == 1),
                _ => store.delete(&[key("c/head")]).await.map(|()| true),
            };
            answers.push(answer.map_err(|error| error.kind()));
        }
        assert_eq!(answers, [Err(StoreErrorKind::Transient), Ok(true)], "{verb}");
    }
    assert_eq!(content(&store).await, None);
}

/// With one seed the same calls fail, so a failed test can be repeated.
#[tokio::test]
async fn random_faults_repeat_with_their_seed() {
    let mut runs = Vec::new();
    for seed in [1, 1, 2] {
        let store = Watched::<Staging>::default();
        store.fail_at_random(seed, 3);
        let mut answers = Vec::new();
        for number in 0..60 {
            let name = key(&format!("c/{number}"));
            answers.push(Answer::from(store.create(&name, chunks("x")).await));
        }
        let failed = answers.iter().filter(|answer| **answer != Answer::Done).count();
        assert!((5..=40).contains(&failed), "one in three of 60: {failed}");
        store.fail_at_random(seed, 0);
        assert_eq!(write(&store, Way::Create, &Tag::new("none")).await, Answer::Done);
        runs.push(answers);
    }
    assert!(runs[0] == runs[1] && runs[0] != runs[2]);
}
