//! The writer: the handle of callers. It splits their ops by shard, passes them to the appenders of
//! the shards, and waits for the answers.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use deltafold_format::limits::{MAX_SEGMENT_MARKS, MAX_SOURCE_BYTES};
use deltafold_format::{Op, Uid};
#[cfg(feature = "serve")]
use deltafold_format::{Sequence, ShardId};
use futures::future::join_all;
use tokio::sync::{mpsc, oneshot};

use super::ack::{Ack, Handed};
use super::appender::{AppendRequest, Appender, ChangeGroup, Message, Permit, Positions, Producer, bytes_of};
use super::backlog::Lag;
use super::dedup::{CHANGE, CLOCK_SOURCE, IdempotencyKey, MAX_CHANGE_SOURCE_BYTES, SOURCE};
use super::options::WriterOptions;
use super::split::{self, OfShard};
use crate::env;
use crate::error::{Error, Repr, Result};
use crate::memory::MemoryLimit;
use crate::shard::Shard;

/// Appends ops to a collection. Clones are one writer: their concurrent appends share segments.
///
/// The ops of one call keep their order. So do calls of which one begins after the other was
/// acknowledged. Calls that wait together are appended in the order in which they were begun
/// (polled). There is one exception: if the log was folded and swept while the writer slept, a
/// segment may be written again at a later place.
///
/// `append` may be dropped at any moment. Its ops are then appended or not, as with a call whose
/// answer is lost, and nothing else changes. When the last clone is dropped, accepted ops are still
/// appended, as long as the runtime lives. [`close`](Self::close) waits for it.
///
/// ```
/// use deltafold::WriterOptions;
/// use deltafold::format::{Op, Record};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use std::sync::Arc;
/// # use deltafold::{Collection, CreateOptions};
/// # use deltafold::store::Memory;
/// # let store = Arc::new(Memory::new());
/// # let collection = Collection::create(store, &"articles".parse()?, &CreateOptions::new(2)).await?;
/// let writer = collection.writer(WriterOptions::default())?;
/// let record = Record { embedding: Some(vec![0.1, 0.2]), ..Record::default() };
/// let ack = writer.append(vec![Op::put("a", record.clone())]).await?;
/// assert_eq!(ack.segments().len(), 1, "durable, in one segment of the log");
///
/// // Ops with a position take effect once, however often they come.
/// for _ in 0..2 {
///     writer.append_from("queue/orders", 7, vec![Op::put("b", record.clone())]).await?;
/// }
/// writer.close().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Writer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    appenders: Vec<AppenderHandle>,
    options: WriterOptions,
    writer: Uid,
    /// Bytes of ops that are accepted and undecided.
    waiting: Arc<AtomicUsize>,
    closed: AtomicBool,
}

/// The handle of the appender of one shard, which starts with the first op for it.
#[derive(Debug)]
struct AppenderHandle {
    shard: Shard,
    requests: OnceLock<mpsc::UnboundedSender<Message>>,
    lag: Arc<Mutex<Option<Lag>>>,
}

impl Writer {
    pub(crate) fn open(shards: Vec<Shard>, options: WriterOptions) -> Result<Self> {
        options.check()?;
        let memory = shards.first().map_or_else(MemoryLimit::default, Shard::memory);
        let options = WriterOptions {
            max_waiting_bytes: options.max_waiting_bytes.min(memory.waiting()),
            max_batch_bytes: options.max_batch_bytes.min(memory.batch()),
            ..options
        };
        let writer = shards.first().map_or_else(Uid::default, |shard| shard.env().uid());
        let handle = |shard| AppenderHandle { shard, requests: OnceLock::new(), lag: Arc::default() };
        let appenders = shards.into_iter().map(handle).collect();
        let inner = Inner { appenders, options, writer, waiting: Arc::default(), closed: AtomicBool::new(false) };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Appends ops, and returns when they are durable: in the log at one place, readable from then
    /// on. The ops of one shard become part of one segment together, or of none. Several shards
    /// decide independently.
    ///
    /// Costs one PUT and one conditional GET a segment, for any number of calls that share it. The
    /// first append to a shard costs a GET and a LIST more. An append refused for its backlog costs
    /// one conditional GET.
    ///
    /// # Errors
    ///
    /// | kind | meaning |
    /// |---|---|
    /// | `InvalidInput` | an op breaks a limit, or they are too many for one segment; nothing was appended |
    /// | `Busy` | too much is waiting, or the log is longer than [`max_backlog`](WriterOptions::max_backlog); nothing was appended |
    /// | `Unknown` | the store's answer was lost for good, or only some shards have the ops: they may be in the log |
    /// | `Unavailable`, `Storage` | nothing was appended |
    /// | `NotFound` | the collection was dropped |
    /// | `Closed` | the writer was closed |
    pub async fn append(&self, ops: Vec<Op>) -> Result<Ack> {
        self.hand_over(vec![(None, ops)], None)?.wait().await
    }

    /// Appends ops that come from position `position` of a queue, stream or file called `source`.
    /// They are appended exactly once, by any number of calls and writers. Positions of a source
    /// must ascend. A position that is not above the source's high-water mark counts as a
    /// repetition, and is acknowledged as a [duplicate](Ack::is_duplicate).
    ///
    /// After a failure later positions fail, too, until the failed one, or an earlier one, is
    /// appended again. So none can overtake it. A shard keeps the 1,024 sources seen last, except
    /// sources that have been silent for
    /// [`forget_sources_after`](crate::Policy::forget_sources_after).
    ///
    /// Costs the same as [`append`](Self::append). The first call for a shard reads the headers of
    /// the segments that are not folded yet.
    ///
    /// # Errors
    ///
    /// Those of `append`; `Conflict` if an earlier position has failed.
    pub async fn append_from(&self, source: &str, position: u128, ops: Vec<Op>) -> Result<Ack> {
        self.hand_over(vec![(None, ops)], Some(named(source, position)?))?.wait().await
    }

    /// Appends ops that follow each other in a source, each at its own position. The positions must
    /// ascend.
    ///
    /// It does the same as a call of [`append_from`](Self::append_from) for each op in turn, at a
    /// fraction of the CPU. It leaves out each op whose position is not above the source's
    /// high-water mark, and [counts](Ack::duplicates) it. The other ops of one shard become part of
    /// one segment together, or of none. So the positions of two calls may overlap, as after a
    /// failure with an unknown outcome.
    ///
    /// # Errors
    ///
    /// Those of `append_from`; `InvalidInput` if the positions do not ascend.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// use std::sync::Arc;
    ///
    /// use deltafold::format::Op;
    /// use deltafold::store::Memory;
    /// use deltafold::{Collection, CreateOptions, WriterOptions};
    ///
    /// let store = Arc::new(Memory::new());
    /// let collection = Collection::create(store, &"notes".parse()?, &CreateOptions::new(2)).await?;
    /// let writer = collection.writer(WriterOptions::default())?;
    /// let lines = |numbers: std::ops::RangeInclusive<u128>| {
    ///     numbers.map(|line| (line, Op::delete(line.to_string()))).collect::<Vec<_>>()
    /// };
    /// assert_eq!(writer.append_run("file", lines(1..=3)).await?.duplicates(), 0);
    /// assert_eq!(writer.append_run("file", lines(2..=5)).await?.duplicates(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn append_run(&self, source: &str, ops: Vec<(u128, Op)>) -> Result<Ack> {
        self.start_run(source, ops).await
    }

    /// [`append_run`](Self::append_run) in two steps: the appenders have the ops when this returns,
    /// and the future is their acknowledgement. So the log keeps the order of the calls.
    pub(crate) fn start_run(
        &self,
        source: &str,
        ops: Vec<(u128, Op)>,
    ) -> impl Future<Output = Result<Ack>> + Send + use<> {
        let handed = self.hand_over_run(source, ops);
        async move { handed?.wait().await }
    }

    /// Appends a change with an idempotency key: the ops at one position of a source.
    ///
    /// It is appended exactly once, and never behind a later change of one of its records. Unlike
    /// [`append_from`](Self::append_from), a late change does not count as a repetition.
    ///
    /// A change that the log holds is acknowledged as a [duplicate](Ack::is_duplicate). A late one
    /// is appended if the log holds no later change of its records. Otherwise it is refused, unless
    /// the log is known to hold it. A shard keeps the last 1,024 marks of changes. Each change
    /// leaves one mark for itself and one for each record. The shard refuses a change that it
    /// cannot decide.
    ///
    /// A position identifies one change, with the same records each time. After a failure later
    /// positions fail, too, as with `append_from`. A source starts anew if it has been silent for
    /// [`forget_sources_after`](crate::Policy::forget_sources_after), or is none of the 1,024 seen
    /// last.
    ///
    /// In a collection ordered by revision, [`append`](Self::append) does the same without bounds.
    ///
    /// # Errors
    ///
    /// Those of `append`. `InvalidInput` if a shard gets more than 4,000 different records of it.
    /// `Conflict` if an earlier position has failed, or if a later change came before. In the
    /// latter case a person must examine the change.
    pub async fn append_change(&self, key: &IdempotencyKey, ops: Vec<Op>) -> Result<Ack> {
        self.start_delivered(None, vec![(Some(key.clone()), ops)])?.await
    }

    /// Appends all changes of one message together, delivered from `place`. The appenders have them
    /// when this returns, and the future is their acknowledgement.
    pub(crate) fn start_delivered(
        &self,
        place: Option<(&str, u128)>,
        changes: Vec<(Option<IdempotencyKey>, Vec<Op>)>,
    ) -> Result<impl Future<Output = Result<Ack>> + Send + use<>> {
        let place = place.map(|(source, position)| named(source, position)).transpose()?;
        Ok(self.hand_over(changes, place)?.wait())
    }

    /// Appends ops of one shard directly behind the slot `behind`, or not at all. So a caller that
    /// has read the shard up to that slot knows that the ops apply to the records that it read.
    ///
    /// Requests of the same writer that wait already come first, so the caller keeps them away.
    /// Costs the same as [`append`](Self::append).
    ///
    /// # Errors
    ///
    /// Those of `append`; `Conflict` if another segment came first: nothing was appended then.
    #[cfg(feature = "serve")]
    pub(crate) async fn append_behind(&self, shard: ShardId, behind: Sequence, ops: Vec<Op>) -> Result<Ack> {
        let bytes = self.check(ops.iter())?;
        self.send(bytes, vec![OfShard::behind(shard, behind, ops)])?.wait().await
    }

    /// The backlog of each shard that this writer has appended to, by its last acknowledgement
    /// there. Costs nothing, because an acknowledgement reads the head in any case.
    pub fn lags(&self) -> Vec<Lag> {
        let seen = |handle: &AppenderHandle| *handle.lag.lock().unwrap_or_else(PoisonError::into_inner);
        self.inner.appenders.iter().filter_map(seen).collect()
    }

    /// Waits until everything accepted before is decided: acknowledged, or failed.
    ///
    /// # Errors
    ///
    /// `Closed` if the writer's runtime was shut down before.
    pub async fn flush(&self) -> Result<()> {
        let barriers = self.inner.appenders.iter().filter_map(|handle| handle.requests.get()).map(|requests| {
            let (done, decided) = oneshot::channel();
            // If the appender is gone, the sender is dropped, and the receiver sees it.
            drop(requests.send(Message::Barrier(done)));
            decided
        });
        let decided = join_all(barriers.collect::<Vec<_>>()).await;
        if decided.iter().any(Result::is_err) { Err(Repr::Closed.into()) } else { Ok(()) }
    }

    /// Refuses further appends, also by clones, and waits until every accepted op is decided.
    ///
    /// # Errors
    ///
    /// Those of [`flush`](Self::flush).
    pub async fn close(self) -> Result<()> {
        self.inner.closed.store(true, Ordering::Release);
        self.flush().await
    }

    /// Passes the ops to the appenders without waiting, so requests keep their order of arrival.
    fn hand_over(&self, changes: Vec<(Option<IdempotencyKey>, Vec<Op>)>, producer: Option<Producer>) -> Result<Handed> {
        for key in changes.iter().filter_map(|(key, _)| key.as_ref()) {
            check_key(key)?;
        }
        let bytes = self.check(changes.iter().flat_map(|(_, ops)| ops))?;
        self.send(bytes, split::changes(self.shards(), changes, producer.as_ref()))
    }

    /// The same for ops with a position each.
    fn hand_over_run(&self, source: &str, ops: Vec<(u128, Op)>) -> Result<Handed> {
        if !ops.is_sorted_by(|(before, _), (position, _)| before < position) {
            return Err(Error::invalid("the positions of a run of ops must ascend"));
        }
        let name: Arc<str> = named(source, 0)?.name;
        let bytes = self.check(ops.iter().map(|(_, op)| op))?;
        self.send(bytes, split::run(self.shards(), &name, ops))
    }

    /// Checks ops by the rules of the collection, and returns their estimated bytes.
    fn check<'a>(&self, ops: impl Iterator<Item = &'a Op>) -> Result<usize> {
        let Some(first) = self.inner.appenders.first() else { return Err(Repr::Closed.into()) };
        if self.inner.closed.load(Ordering::Acquire) {
            return Err(Repr::Closed.into());
        }
        let rules = first.shard.config().rules();
        let mut bytes = 0;
        for op in ops {
            op.validate(rules)?;
            bytes += bytes_of(op);
        }
        Ok(bytes)
    }

    /// Passes the requests of each shard to its appender.
    fn send(&self, bytes: usize, split: Vec<OfShard>) -> Result<Handed> {
        if bytes == 0 {
            return Ok(Handed(Vec::new()));
        }
        if split.iter().any(|of_shard| marks(&of_shard.groups) >= MAX_SEGMENT_MARKS) {
            let rule = "the changes of one call concern too many records: a shard takes about 4,000; send fewer changes at once";
            return Err(Error::invalid(rule));
        }
        let mut permit = Permit::take(&self.inner.waiting, bytes, self.inner.options.max_waiting_bytes)?;
        let handed = split.into_iter().filter_map(|OfShard { shard, ops, groups, producer, behind }| {
            let handle = self.inner.appenders.get(usize::from(shard.get()))?;
            let (reply, answer) = oneshot::channel();
            let bytes = ops.iter().map(bytes_of).sum();
            let permit = permit.split(bytes);
            let accepted = handle.shard.env().now();
            let request = AppendRequest { ops, bytes, producer, groups, behind, accepted, reply, permit };
            // If the appender is gone, the request is dropped, and the receiver sees it.
            drop(self.requests(handle).send(Message::Append(request)));
            Some((shard, answer))
        });
        Ok(Handed(handed.collect()))
    }

    fn shards(&self) -> u16 {
        u16::try_from(self.inner.appenders.len()).unwrap_or(u16::MAX)
    }

    /// The queue of an appender, which starts with its first request.
    fn requests<'a>(&self, handle: &'a AppenderHandle) -> &'a mpsc::UnboundedSender<Message> {
        handle.requests.get_or_init(|| {
            // Unbounded, because every request holds its share of the back-pressure limit.
            let (sender, receiver) = mpsc::unbounded_channel();
            let Inner { writer, options, .. } = &*self.inner;
            let (shard, lag) = (handle.shard.clone(), handle.lag.clone());
            env::spawn(Appender::new(shard, *writer, options.clone(), receiver, lag).run());
            sender
        })
    }
}

/// Whether a name is reserved for the high-water marks of writers, dates or changes.
fn is_reserved(source: &str) -> bool {
    ["writer/", CLOCK_SOURCE, SOURCE, CHANGE].iter().any(|reserved| source.starts_with(reserved))
}

fn named(source: &str, position: u128) -> Result<Producer> {
    if source.is_empty() || source.len() > MAX_SOURCE_BYTES || is_reserved(source) {
        let rule = format!(
            "a source needs a name of 1 to {MAX_SOURCE_BYTES} bytes that does not begin with `writer/`, `{CLOCK_SOURCE}`, `{SOURCE}` or `{CHANGE}`"
        );
        return Err(Error::invalid(rule));
    }
    Ok(Producer { name: source.into(), positions: Positions::Together(position) })
}

fn check_key(key: &IdempotencyKey) -> Result<()> {
    let most = MAX_CHANGE_SOURCE_BYTES;
    if key.source.is_empty() || key.source.len() > most {
        return Err(Error::invalid(format!("the source of a change needs a name of 1 to {most} bytes")));
    }
    Ok(())
}

/// Upper bound of the high-water marks that the groups leave.
fn marks(groups: &[ChangeGroup]) -> usize {
    groups.iter().filter_map(|group| group.key.as_ref()).map(|key| key.marks().count()).sum()
}
