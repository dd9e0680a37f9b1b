//! The state required after a power failure, and its check.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use deltafold::format::{CollectionName, Op, Record, ShardId, Value};
use deltafold::store::Dir;
use deltafold::{
    At, Collection, CompactorOptions, CreateOptions, Depth, ErrorKind, FollowOptions, Order, ScanOptions, SweepOptions,
    WriterOptions,
};
use futures::TryStreamExt;

/// A result that a process heard, or work that it began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    Creating,
    Created,
    Dropping,
    Dropped,
    Begun(i64),
    Acked(i64),
    /// A follower of the log got the op.
    Followed(i64),
}

/// Whether the collection must be there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    #[default]
    Gone,
    /// It may be there, in part, or not.
    Made,
    There,
    /// The same.
    Dropped,
}

/// The consequences of all events before the power failed.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Known {
    state: State,
    begun: BTreeSet<i64>,
    certain: BTreeSet<i64>,
}

impl Known {
    pub(crate) fn learn(&mut self, event: &Event) {
        match event {
            Event::Creating => self.state = State::Made,
            Event::Created => self.state = State::There,
            Event::Dropping => self.state = State::Dropped,
            Event::Dropped => *self = Self::default(),
            Event::Begun(number) => drop(self.begun.insert(*number)),
            Event::Acked(number) | Event::Followed(number) => {
                self.certain.insert(*number);
                // A process that could append to it has found it.
                if self.state == State::Made {
                    self.state = State::There;
                }
            }
        }
    }
}

pub(crate) fn name() -> CollectionName {
    "c".parse().unwrap()
}

/// The ops of append `number`: one on its own record, and one on a record that all appends write.
pub(crate) fn ops(number: i64) -> Vec<Op> {
    let record = || Record {
        embedding: Some(vec![1.0, 2.0]),
        metadata: [("n".to_owned(), Value::I64(number))].into(),
        document: None,
    };
    vec![Op::put(format!("op-{number:03}"), record()), Op::put("hot", record())]
}

/// The numbers of the appends that are there, in log order.
async fn present(collection: &Collection) -> Result<Vec<i64>, String> {
    let wrong = |error: deltafold::Error| format!("reading: {error}");
    let reader = collection.reader().await.map_err(wrong)?;
    let options = ScanOptions::default().order(Order::Insertion);
    let entries: Vec<_> = reader.scan(options).try_collect().await.map_err(wrong)?;
    let number = |metadata: &deltafold::format::Metadata| match metadata.get("n") {
        Some(Value::I64(number)) => *number,
        other => panic!("{other:?}"),
    };
    let (mut numbers, mut hot) = (Vec::new(), None);
    for entry in entries {
        let number = number(&entry.record.metadata);
        match entry.id.as_str() {
            "hot" => hot = Some(number),
            id if id == format!("op-{number:03}") => numbers.push(number),
            id => return Err(format!("{id} holds {number}")),
        }
    }
    if hot != numbers.last().copied() {
        return Err(format!("half of an append is there: {numbers:?}, and {hot:?}"));
    }
    Ok(numbers)
}

/// Checks that every version in the history is readable.
async fn versions(collection: &Collection) -> Result<(), String> {
    let history =
        collection.history().await.map(|history| history.versions).map_err(|error| format!("the history: {error}"))?;
    for version in history.iter().map(|entry| entry.version) {
        let opened = collection.reader_at(At::Versions(vec![version])).await;
        opened.map_err(|error| format!("opening version {version}: {error}"))?;
    }
    Ok(())
}

async fn sound(collection: &Collection) -> Result<(), String> {
    let report = collection.verify(Depth::Deep, |_| ()).await.map_err(|error| format!("verifying: {error}"))?;
    match report.findings.first() {
        None => Ok(()),
        Some(finding) => Err(format!("verification finds {}: {}", finding.key, finding.problem)),
    }
}

/// The remaining collection, or a new one if it was being made or dropped.
async fn opened(store: &Arc<Dir>, known: &Known) -> Result<(Collection, bool), String> {
    if let State::There | State::Gone = known.state {
        return match Collection::open(store.clone(), &name()).await {
            Ok(_) if known.state == State::Gone => Err("a dropped collection is there".to_owned()),
            Ok(collection) => Ok((collection, false)),
            Err(error) if error.kind() == ErrorKind::NotFound && known.state == State::Gone => {
                Ok((made(store).await?, true))
            }
            Err(error) => Err(format!("opening: {error}")),
        };
    }
    // Half made or half dropped: a drop removes either.
    match Collection::drop_collection(&**store, &name(), |_| ()).await {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(format!("dropping: {error}")),
    }
    Ok((made(store).await?, true))
}

async fn made(store: &Arc<Dir>) -> Result<Collection, String> {
    let made = Collection::create(store.clone(), &name(), &CreateOptions::new(2)).await;
    made.map_err(|error| format!("creating: {error}"))
}

/// Checks that `known` allows the content of the folder, and that work goes on from there.
pub(crate) async fn check(folder: &Path, known: &Known) -> Result<(), String> {
    let store = Arc::new(Dir::open(folder).map_err(|error| error.to_string())?);
    let (collection, anew) = opened(&store, known).await?;
    let before = present(&collection).await?;
    let there: BTreeSet<i64> = before.iter().copied().collect();
    if !anew {
        if let Some(lost) = known.certain.difference(&there).next() {
            return Err(format!("append {lost} is lost; there are {before:?}"));
        }
        if let Some(more) = there.difference(&known.begun).next() {
            return Err(format!("append {more} was never made"));
        }
    } else if !before.is_empty() {
        return Err(format!("a new collection holds {before:?}"));
    }
    sound(&collection).await?;
    versions(&collection).await?;
    match followed(&collection).await {
        Ok(all) if all.last() == before.last() => {}
        Ok(all) => return Err(format!("a follower of the log gets {all:?}, and there are {before:?}")),
        Err(error) if error.kind() == ErrorKind::Superseded => {}
        Err(error) => return Err(format!("following: {error}")),
    }
    let failed = |what: &'static str| move |error: deltafold::Error| format!("{what} afterwards: {error}");
    let writer = collection.writer(WriterOptions::default()).map_err(failed("opening a writer"))?;
    writer.append(ops(999)).await.map_err(failed("appending"))?;
    let after: Vec<i64> = before.into_iter().chain([999]).collect();
    let goes_on = async |collection: &Collection| match present(collection).await? {
        now if now == after => Ok(()),
        now => Err(format!("{now:?} instead of {after:?} afterwards")),
    };
    goes_on(&collection).await?;
    let mut compactor = collection.compactor(CompactorOptions::default());
    compactor.run_once().await.map_err(failed("folding"))?;
    goes_on(&collection).await?;
    for _ in 0..2 {
        collection.sweep(&SweepOptions::KEEP_NOTHING).await.map_err(failed("sweeping"))?;
    }
    compactor.merge_all().await.map_err(failed("merging"))?;
    goes_on(&collection).await?;
    sound(&collection).await
}

/// All ops of the log, as a follower gets them.
pub(crate) async fn followed(collection: &Collection) -> deltafold::Result<Vec<i64>> {
    let options = FollowOptions::default().until_tail(true);
    let all: Vec<_> = collection.follow(ShardId::all(1).next().unwrap(), options)?.try_collect().await?;
    let number = |id: &str| id.strip_prefix("op-").map(|number| number.parse().unwrap());
    Ok(all.iter().filter_map(|(_, op)| number(&op.id)).collect())
}
