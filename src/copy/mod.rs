//! Copies a collection into another one: its state, and then its log.
//!
//! | file | part |
//! |---|---|
//! | `mark` | how far the target holds the origin, in the target's own marks |
//! | `compare` | number, digest and differences of the records of both |
//! | `transfer` | the whole state: the records that differ |
//! | `apply` | the ops of the origin's log, each once |
//! | `sending` | ops on their way into the target |

mod apply;
mod compare;
mod mark;
mod sending;
mod transfer;

use std::time::Duration;

use deltafold_format::limits::MAX_SHARDS;
use deltafold_format::{Digest, Ordering, Sequence, ShardId};
use futures::future::{FutureExt as _, Pending};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use crate::collection::{Collection, CreateOptions};
use crate::compact::KeepUp;
use crate::env;
use crate::error::{Error, ErrorKind, Repr, Result};
use crate::log::{BacklogLimit, WriterOptions};
use crate::reader::{At, Reader, SHARDS_AT_ONCE};
use crate::setters::setters;
use apply::Until;
use compare::Comparison;
use mark::{Marks, source};
use sending::Sending;

/// Most shards of an origin. A shard remembers 1,024 sources, and each shard of the origin is one.
const MAX_SOURCES: u16 = 512;
/// Pause before a follower tries again after a failure that may pass.
const REST: Duration = Duration::from_secs(2);

/// The way to copy a collection.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CopyOptions {
    /// The state to copy. A [`follow`](Self::follow) begins with the latest one.
    pub at: At,
    /// Go on with the ops of the origin's log, until told to stop.
    pub follow: bool,
    /// Pause between two looks at the end of the log: 1 s by default.
    pub interval: Duration,
    /// Make the target equal to the origin, whatever it holds. Otherwise a target with records
    /// that are not copies of the origin is refused.
    pub overwrite: bool,
    /// Compare number and digest of all records at the end. It reads both collections once.
    pub verify: bool,
    /// The longest log of the target that the copy leaves. Beyond that, it folds.
    pub fold_beyond: BacklogLimit,
}

setters!(CopyOptions {
    at: At,
    follow: bool,
    interval: Duration,
    overwrite: bool,
    verify: bool,
    fold_beyond: BacklogLimit,
});

impl Default for CopyOptions {
    fn default() -> Self {
        Self {
            at: At::Latest,
            follow: false,
            interval: Duration::from_secs(1),
            overwrite: false,
            verify: true,
            fold_beyond: BacklogLimit::default().segments(1_024).ops(4_000_000).bytes(2 << 30),
        }
    }
}

/// The work of a copy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopyReport {
    /// Whole states transferred: none where the log was enough.
    pub transfers: u64,
    /// Records written because the target lacked them, or held other ones.
    pub written: u64,
    /// Records deleted because the origin has none of their ids.
    pub deleted: u64,
    /// Ops of the origin's log read. The target held some of them already.
    pub ops: u64,
    /// Of these, the ops that the target held already.
    pub repeated: u64,
    /// Records compared so far, while the copy compares.
    pub compared: u64,
    /// Whether the target has caught up with the origin, and the copy follows the log.
    pub following: bool,
    /// Number of records in both, and their digest, if they were compared at the end.
    pub verified: Option<(u64, Digest)>,
}

/// Copies one collection into another: a backup, a move, another number of shards, a warm standby.
///
/// The first run transfers the whole state, in the order of insertion. A later run goes on with the
/// ops of the origin's log, if the log still holds them. Otherwise it compares both collections and
/// writes what differs. Progress is in the target alone, as the positions of its sources, so a run
/// may be killed at any moment and started again. Each op takes effect once. Two copies of one
/// origin into one target do no harm: one of them ends with `Conflict`, or both apply the same ops.
///
/// No other program should write to the target. The comparison at the end finds such changes, and
/// [`overwrite`](CopyOptions::overwrite) undoes them.
///
/// ```
/// use std::sync::Arc;
/// use deltafold::format::{Op, Record};
/// use deltafold::store::Memory;
/// use deltafold::{Collection, Copier, CopyOptions, CreateOptions, WriterOptions};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let name = "articles".parse()?;
/// let from = Collection::create(Arc::new(Memory::new()), &name, &CreateOptions::new(2)).await?;
/// from.writer(WriterOptions::default())?.append(vec![Op::put("a", Record::default())]).await?;
///
/// let to = Collection::create(Arc::new(Memory::new()), &name, &CreateOptions::new(2).shards(4)).await?;
/// let copier = Copier::new(&from, &to, CopyOptions::default())?;
/// let report = copier.run(std::future::pending(), |_| ()).await?;
/// assert_eq!(report.verified.map(|(records, _)| records), Some(1));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Copier {
    from: Collection,
    to: Collection,
    options: CopyOptions,
    /// The name of each shard of the origin as a source of the target.
    sources: Vec<String>,
    /// For each shard of the target, an id that no record has: ops on it have no effect.
    idle: Vec<String>,
}

impl Copier {
    /// A copy of `from` into `to`.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if dimension or metric differ, if `from` has more than 512 shards, or for a
    /// `follow` from a version, or between collections of which one is ordered by revision.
    pub fn new(from: &Collection, to: &Collection, options: CopyOptions) -> Result<Self> {
        let (ours, theirs) = (from.config(), to.config());
        if (ours.dimension, ours.metric) != (theirs.dimension, theirs.metric) {
            let text = "they differ in dimension or metric; copy into a collection of the same ones";
            return Err(Error::invalid(format!("cannot copy `{}` into `{}`: {text}", from.name(), to.name())));
        }
        if ours.uid == theirs.uid {
            return Err(Error::invalid(format!("`{}` cannot be copied into itself; name another target", from.name())));
        }
        if ours.shards > MAX_SOURCES {
            let text = format!("it has {} shards, and a copy takes at most {MAX_SOURCES}", ours.shards);
            return Err(Error::invalid(format!("cannot copy `{}`: {text}; export it instead", from.name())));
        }
        if options.follow && options.at != At::Latest {
            return Err(Error::invalid("a copy that follows the log begins with the latest state; name no version"));
        }
        if options.follow && !both_by_log(from, to) {
            let text = "only a copy between two collections ordered by the log can follow";
            return Err(Error::invalid(format!("{text}; copy without it, as often as needed")));
        }
        let sources = (0..ours.shards).map(|shard| source(ours.uid, shard)).collect();
        Ok(Self { from: from.clone(), to: to.clone(), options, sources, idle: idle(theirs.shards) })
    }

    /// The options of a target that is made for this origin: the same dimension, metric, number of
    /// shards and ordering.
    pub fn target(from: &Collection) -> CreateOptions {
        let config = from.config();
        CreateOptions::new(config.dimension).metric(config.metric).shards(config.shards).ordering(config.ordering)
    }

    /// Copies, and returns once the target equals the origin. A follower first goes on until `stop`
    /// ends. `each` sees the progress.
    ///
    /// Costs the requests of reading the origin's state or log, and those of the appends. A
    /// comparison reads both collections once.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if the target holds records that are not copies of the origin. `Conflict` if
    /// another copy of the same origin overtakes this one, or if the target differs at the end.
    /// Otherwise the errors of readers and writers. After each of them the same call goes on.
    pub async fn run(
        &self,
        stop: impl Future<Output = ()>,
        mut each: impl FnMut(&CopyReport) + Send,
    ) -> Result<CopyReport> {
        let mut stop = std::pin::pin!(stop.fuse());
        let mut report = CopyReport::default();
        let mut work = Work { report: &mut report, each: &mut each };
        let (mut generation, mut goal) = self.bring(self.options.overwrite, &mut work).await?;
        if self.options.follow {
            work.report.following = true;
            work.tell();
            loop {
                match self.apply(generation, Until::Stopped(stop.as_mut()), &mut work).await {
                    Ok(()) => break,
                    Err(error) if error.kind() == ErrorKind::Superseded => {
                        (generation, _) = self.bring(false, &mut work).await?;
                    }
                    Err(error) if passes(&error) => {
                        tracing::warn!(%error, "the copy could not follow; it tries again");
                        tokio::select! {
                            biased;
                            () = &mut stop => return Err(error),
                            () = env::sleep(REST) => {}
                        }
                    }
                    Err(error) => return Err(error),
                }
            }
            work.report.following = false;
            (_, goal) = self.bring(false, &mut work).await?;
        }
        if self.options.verify {
            self.verify(&goal, &mut work).await?;
        }
        Ok(report)
    }

    /// Brings the target to the origin's present state, or to the version wanted. Returns the
    /// generation, and the reader of that state.
    async fn bring(&self, overwrite: bool, work: &mut Work<'_>) -> Result<(u32, Reader)> {
        loop {
            let written = work.report.written;
            match self.bring_once(overwrite, work).await {
                // A sweep took the state while it was read. The next attempt writes the rest.
                Err(error)
                    if error.kind() == ErrorKind::Superseded
                        && self.options.at == At::Latest
                        && work.report.written > written => {}
                brought => return brought,
            }
        }
    }

    async fn bring_once(&self, overwrite: bool, work: &mut Work<'_>) -> Result<(u32, Reader)> {
        let marks = self.marks().await?;
        // Read after the marks, so that it is not behind them.
        let goal = self.from.reader_at(self.options.at.clone()).await?;
        if let Some(generation) = marks.complete()
            && self.options.at == At::Latest
            && both_by_log(&self.from, &self.to)
            && !overwrite
        {
            match self.apply(generation, Until::<Pending<()>>::Reached(ends(&goal)), work).await {
                Ok(()) => return Ok((generation, goal)),
                // The log was swept meanwhile.
                Err(error) if error.kind() == ErrorKind::Superseded => {}
                Err(error) => return Err(error),
            }
        }
        if !overwrite && marks.are_none() && self.to.reader().await?.count().await? > 0 {
            let text = "it holds records, and nothing says that they are a copy";
            return Err(Error::invalid(format!(
                "cannot copy `{}` into `{}`: {text}. Name a new collection, or let the copy overwrite this one",
                self.from.name(),
                self.to.name()
            )));
        }
        let generation = self.transfer(&goal, &marks, work).await?;
        Ok((generation, goal))
    }

    async fn verify(&self, goal: &Reader, work: &mut Work<'_>) -> Result<()> {
        let target = self.to.reader().await?;
        let mut comparison = Comparison::new(goal, &target);
        let mut differences = 0_u64;
        while comparison.next().await?.is_some() {
            differences += 1;
            work.compared(&comparison);
        }
        let (ours, theirs) = comparison.tallies();
        work.compared(&comparison);
        if ours != theirs {
            return Err(Repr::Conflict(format!(
                "`{}` does not equal `{}` at the end of the copy: {differences} records differ. Another program writes \
                 to the target. Stop it, and copy again so that the target is overwritten",
                self.to.name(),
                self.from.name()
            ))
            .into());
        }
        work.report.verified = Some((ours.records, Digest::from_bits(ours.digest)));
        Ok(())
    }

    /// The marks of all shards of the target. Two GETs, a LIST and a GET for each header that is
    /// not folded, for each shard.
    async fn marks(&self) -> Result<Marks> {
        let marks = ShardId::all(self.to.config().shards).map(|shard| self.to.high_water_marks(shard, &self.sources));
        let marks = stream::iter(marks.collect::<Vec<_>>()).buffered(SHARDS_AT_ONCE).try_collect().await?;
        Ok(Marks::new(marks))
    }

    fn sending(&self) -> Result<Sending> {
        // The copy folds by itself, long before this limit.
        let options = WriterOptions::default().max_backlog(self.options.fold_beyond.times(4));
        Ok(Sending::new(self.to.writer(options)?, self.keep_up()))
    }

    fn keep_up(&self) -> KeepUp {
        self.to.keep_up(self.options.fold_beyond)
    }

    fn overtaken(&self) -> Error {
        let (from, to) = (self.from.name(), self.to.name());
        Repr::Conflict(format!(
            "another copy of `{from}` into `{to}` has begun, and this one ends. Let one of them run at a time"
        ))
        .into()
    }
}

/// The progress of a run, and its observer.
struct Work<'a> {
    report: &'a mut CopyReport,
    each: &'a mut (dyn FnMut(&CopyReport) + Send),
}

impl Work<'_> {
    fn tell(&mut self) {
        (self.each)(self.report);
    }

    fn compared(&mut self, comparison: &Comparison) {
        self.report.compared = comparison.tallies().0.records;
        self.tell();
    }
}

fn both_by_log(from: &Collection, to: &Collection) -> bool {
    [from, to].iter().all(|collection| matches!(collection.config().ordering, Ordering::Log))
}

/// Whether the same work may succeed later.
fn passes(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Unknown | ErrorKind::Busy)
}

/// An id in each shard.
fn idle(shards: u16) -> Vec<String> {
    let mut found = vec![None; usize::from(shards.min(MAX_SHARDS))];
    let mut left = found.len();
    let mut number = 0_u64;
    while left > 0 {
        let id = format!("\u{0}copy/{number}");
        if let Some(place) = found.get_mut(usize::from(ShardId::of(&id, shards).get()))
            && place.is_none()
        {
            *place = Some(id);
            left -= 1;
        }
        number += 1;
    }
    found.into_iter().flatten().collect()
}

/// The last segments that a reader sees, shard by shard.
fn ends(reader: &Reader) -> Vec<Sequence> {
    reader.positions().iter().map(|position| position.tail).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shard_has_an_idle_id() {
        for shards in [1, 7, 300] {
            let ids = idle(shards);
            let places: Vec<u16> = ids.iter().map(|id| ShardId::of(id, shards).get()).collect();
            assert_eq!(places, (0..shards).collect::<Vec<_>>());
        }
    }
}
