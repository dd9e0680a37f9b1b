//! The writer: what callers hold. It splits their ops by shard and hands them to the shards' lanes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use deltafold_format::limits::{MAX_SEGMENT_MARKS, MAX_SEGMENT_OPS, MAX_SEGMENT_SECTION_BYTES, MAX_SOURCE_BYTES};
use deltafold_format::{Op, Sequence, ShardId, Uid};
use futures::future::join_all;
use tokio::sync::{mpsc, oneshot};

use super::backlog::{BacklogLimit, Lag};
use super::call::{Call, Permit, Placed, Source, bytes_of};
use super::gather::Message;
use super::lane::Lane;
use super::marks::CLOCK_SOURCE;
use super::member::Part;
use super::origin::{CHANGE, MAX_ORIGIN_BYTES, Origin, SOURCE, Trace};
use crate::env;
use crate::error::{Error, ErrorKind, Repr, Result};
use crate::memory::MemoryLimit;
use crate::shard::Shard;

/// How a writer gathers the ops of many callers into segments.
#[derive(Debug, Clone)]
pub struct WriterOptions {
    /// A segment takes no more calls once it holds this many ops: 32,768 by default.
    pub max_batch_ops: usize,
    /// Or about this many bytes: 16 MiB by default, at most 32 MiB. Segments that follow each other come to be one request after the other: on a distant
    /// store that is what bulk appends wait for, and the larger the segments, the less.
    pub max_batch_bytes: usize,
    /// How long a segment waits for more calls after its first one: not at all by default. Even so, what is appended while
    /// a segment is being written goes into the next one together.
    pub linger: Duration,
    /// About how many bytes of ops may wait for their acknowledgement: 128 MiB by default, and at most half
    /// of the collection's [`memory`](crate::Collection::memory). Beyond, `append` is refused with `Busy`.
    pub max_waiting_bytes: usize,
    /// The longest log that is appended to, shard by shard. Beyond, `append` is refused with `Busy` until
    /// a compactor has folded.
    pub max_backlog: BacklogLimit,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self {
            max_batch_ops: 32_768,
            max_batch_bytes: 16 << 20,
            linger: Duration::ZERO,
            max_waiting_bytes: 128 << 20,
            max_backlog: BacklogLimit::default(),
        }
    }
}

impl WriterOptions {
    fn check(&self) -> Result<()> {
        let most = MAX_SEGMENT_SECTION_BYTES / 2;
        let refuse =
            |what: &str, most: usize| Err(Error::invalid(format!("{what} is out of range: choose 1 to {most}")));
        if self.max_batch_ops == 0 || self.max_batch_ops > MAX_SEGMENT_OPS {
            return refuse("the writer's max_batch_ops", MAX_SEGMENT_OPS);
        }
        if self.max_batch_bytes == 0 || self.max_batch_bytes > most {
            return refuse("the writer's max_batch_bytes", most);
        }
        if self.max_waiting_bytes == 0 {
            return refuse("the writer's max_waiting_bytes", usize::MAX);
        }
        Ok(())
    }
}

/// What became of an append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    segments: Vec<(ShardId, Sequence)>,
    duplicate: bool,
}

impl Ack {
    /// The segments that hold the ops, one for each shard that got some of them.
    pub fn segments(&self) -> &[(ShardId, Sequence)] {
        &self.segments
    }

    /// The collection held this source position already; nothing was appended.
    pub fn is_duplicate(&self) -> bool {
        self.duplicate
    }
}

/// Appends ops to a collection. Clones are one writer: what they append at the same time shares segments.
///
/// A call's ops keep their order, and so do calls of which one begins after the other was acknowledged. Of calls that wait together, those that were
/// begun (polled) first come first, unless a segment has to be written anew at a later place because the log was folded and swept while the
/// writer slept.
///
/// `append` may be dropped at any moment: its ops are then appended or not, as with a call whose answer is lost, and nothing else changes. When the
/// last clone is dropped, what was accepted is still appended, as long as the runtime lives; [`close`](Self::close) waits for it.
#[derive(Debug, Clone)]
pub struct Writer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    lanes: Vec<LaneDoor>,
    options: WriterOptions,
    writer: Uid,
    /// Bytes of ops that are accepted and not decided.
    waiting: Arc<AtomicUsize>,
    closed: AtomicBool,
}

/// The way to the task that appends to one shard, which starts with the first op for it.
#[derive(Debug)]
struct LaneDoor {
    shard: Shard,
    lane: OnceLock<mpsc::UnboundedSender<Message>>,
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
        let lanes =
            shards.into_iter().map(|shard| LaneDoor { shard, lane: OnceLock::new(), lag: Arc::default() }).collect();
        let inner = Inner { lanes, options, writer, waiting: Arc::default(), closed: AtomicBool::new(false) };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Appends ops, and returns when they are durable: in the log at one place, readable by everybody from then on. The ops of one shard become part of one
    /// segment together, or of none; over several shards each decides for itself.
    ///
    /// One PUT and one conditional GET a segment, whatever number of calls share it; the first append to a shard costs a GET and a LIST more.
    /// An append that is refused for its backlog costs one conditional GET.
    ///
    /// # Errors
    ///
    /// `InvalidInput`: an op breaks a limit, or they are too many for one segment; nothing was appended. `Busy`: too much is waiting, or the log is
    /// longer than [`max_backlog`](WriterOptions::max_backlog); nothing was appended. `Unknown`: the store's answer was lost for good, or only some shards have the ops: they may be in the log. `Unavailable`,
    /// `Storage`: nothing was appended. `NotFound`: the collection was dropped. `Closed`.
    pub async fn append(&self, ops: Vec<Op>) -> Result<Ack> {
        self.hand_over(vec![(None, ops)], None)?.wait().await
    }

    /// Appends ops that come from position `position` of a queue, stream or file called `source`: exactly once, however often, and by however many
    /// writers, they are appended. Positions of a source must come in rising order; one that is not above what the log holds is taken
    /// for a repetition and acknowledged as a [duplicate](Ack::is_duplicate).
    ///
    /// After a failure the positions that follow fail too, until the one that failed, or an earlier one, is appended again: none can
    /// overtake it. A shard remembers the 1,024 sources seen last, and not those that have been silent for [`forget_sources_after`](crate::Policy::forget_sources_after).
    ///
    /// Costs what [`append`](Self::append) does; the first call for a shard reads the segments that are not folded yet.
    ///
    /// # Errors
    ///
    /// Those of `append`; `Conflict` where an earlier position has failed.
    pub async fn append_from(&self, source: &str, position: u128, ops: Vec<Op>) -> Result<Ack> {
        self.hand_over(vec![(None, ops)], Some(named(source, position)?))?.wait().await
    }

    /// Appends a change that says where it stands: the ops that `origin` names. Exactly once, whatever brings it, and never behind a later change of one of its records: unlike
    /// [`append_from`](Self::append_from), which takes what is late for a repetition, this one tells whether it is.
    ///
    /// A change that the log holds is acknowledged as a [duplicate](Ack::is_duplicate). One that comes late, while others of its source have passed, is appended where the log holds no later one of its
    /// records. Otherwise it is refused, unless it is known to be held: a shard remembers the last 1,024 marks of changes, of which each leaves one for itself and one for each record, and refuses what
    /// it cannot tell.
    ///
    /// A position names one change, the same records each time. After a failure the positions that follow fail too, as with `append_from`. A source that has been silent for
    /// [`forget_sources_after`](crate::Policy::forget_sources_after), or is none of the 1,024 seen last, begins anew.
    ///
    /// In a collection that is ordered by revision [`append`](Self::append) does the same without bounds.
    ///
    /// # Errors
    ///
    /// Those of `append`; `InvalidInput` where a shard gets more than 4,000 different records of it; `Conflict` where an earlier position has failed, or the change was passed: then it is to be looked at by
    /// somebody.
    pub async fn append_change(&self, origin: &Origin, ops: Vec<Op>) -> Result<Ack> {
        self.append_delivered(None, vec![(Some(origin.clone()), ops)]).await
    }

    /// Appends what one message holds, delivered from there, all of it together.
    pub(crate) async fn append_delivered(
        &self,
        place: Option<(&str, u128)>,
        changes: Vec<(Option<Origin>, Vec<Op>)>,
    ) -> Result<Ack> {
        let place = place.map(|(source, position)| named(source, position)).transpose()?;
        self.hand_over(changes, place)?.wait().await
    }

    /// How far folding is behind in each shard that this writer has appended to, as it saw it with its
    /// last acknowledgement. Costs nothing: an acknowledgement looks at the head in any case.
    pub fn lags(&self) -> Vec<Lag> {
        let seen = |door: &LaneDoor| *door.lag.lock().unwrap_or_else(PoisonError::into_inner);
        self.inner.lanes.iter().filter_map(seen).collect()
    }

    /// Waits until everything accepted before is decided: acknowledged, or failed.
    ///
    /// # Errors
    ///
    /// `Closed` where the writer's runtime was shut down before.
    pub async fn flush(&self) -> Result<()> {
        let barriers = self.inner.lanes.iter().filter_map(|door| door.lane.get()).map(|lane| {
            let (done, decided) = oneshot::channel();
            // A lane that is gone drops the sender, which the receiver hears.
            drop(lane.send(Message::Barrier(done)));
            decided
        });
        let decided = join_all(barriers.collect::<Vec<_>>()).await;
        if decided.iter().any(Result::is_err) { Err(Repr::Closed(None).into()) } else { Ok(()) }
    }

    /// Refuses further appends, by clones too, and waits until everything accepted is decided.
    ///
    /// # Errors
    ///
    /// Those of [`flush`](Self::flush).
    pub async fn close(self) -> Result<()> {
        self.inner.closed.store(true, Ordering::Release);
        self.flush().await
    }

    /// Hands the ops to the lanes. Nothing waits here: calls are in the order in which they come.
    fn hand_over(&self, changes: Vec<(Option<Origin>, Vec<Op>)>, source: Option<Source>) -> Result<Handed> {
        let Some(first) = self.inner.lanes.first() else { return Err(Repr::Closed(None).into()) };
        if self.inner.closed.load(Ordering::Acquire) {
            return Err(Repr::Closed(None).into());
        }
        let rules = first.shard.config().rules();
        for (origin, ops) in &changes {
            origin.as_ref().map_or(Ok(()), check_origin)?;
            for op in ops {
                op.validate(rules)?;
            }
        }
        let bytes = changes.iter().flat_map(|(_, ops)| ops).map(bytes_of).sum();
        if bytes == 0 {
            return Ok(Handed(Vec::new()));
        }
        let split = self.split(changes);
        if split.iter().any(|(_, _, parts)| marks(parts) >= MAX_SEGMENT_MARKS) {
            let rule = "changes that say where they stand and come together are of too many records: a shard takes about 4,000; send fewer at once";
            return Err(Error::invalid(rule));
        }
        let mut permit = Permit::take(&self.inner.waiting, bytes, self.inner.options.max_waiting_bytes)?;
        let accepted = first.shard.env().now();
        let handed = split.into_iter().map(|(door, ops, parts)| {
            let (reply, answer) = oneshot::channel();
            let bytes = ops.iter().map(bytes_of).sum();
            let call = Call { ops, bytes, source: source.clone(), parts, accepted, reply, permit: permit.split(bytes) };
            // A lane that is gone drops the call, which the receiver hears.
            drop(self.lane(door).send(Message::Call(call)));
            (door.shard.id(), answer)
        });
        Ok(Handed(handed.collect()))
    }

    /// The ops by shard, in their order.
    fn split(&self, changes: Vec<(Option<Origin>, Vec<Op>)>) -> Vec<(&LaneDoor, Vec<Op>, Vec<Part>)> {
        let lanes = &self.inner.lanes;
        let shards = u16::try_from(lanes.len()).unwrap_or(u16::MAX);
        let mut split: BTreeMap<ShardId, (Vec<Op>, Vec<Part>)> = BTreeMap::new();
        for (origin, ops) in changes {
            let mut of_change: BTreeMap<ShardId, Vec<Op>> = BTreeMap::new();
            if let [only] = &lanes[..] {
                of_change.insert(only.shard.id(), ops);
            } else {
                for op in ops {
                    of_change.entry(ShardId::of(&op.id, shards)).or_default().push(op);
                }
            }
            for (shard, mut own) in of_change {
                let trace = origin.as_ref().map(|origin| Trace::new(origin, own.iter().map(|op| op.id.as_str())));
                let (ops, parts) = split.entry(shard).or_default();
                parts.push(Part::new(own.len(), trace));
                ops.append(&mut own);
            }
        }
        let door = |shard: ShardId| lanes.get(usize::from(shard.get()));
        split.into_iter().filter_map(|(shard, (ops, parts))| Some((door(shard)?, ops, parts))).collect()
    }

    fn lane<'a>(&self, door: &'a LaneDoor) -> &'a mpsc::UnboundedSender<Message> {
        door.lane.get_or_init(|| {
            // Unbounded, as every call holds its part of the bytes that may wait.
            let (sender, receiver) = mpsc::unbounded_channel();
            let lane = Lane::new(door.shard.clone(), self.inner.writer, self.inner.options.clone(), receiver);
            env::spawn(lane.telling(door.lag.clone()).run());
            sender
        })
    }
}

/// Names under which writers, dates and changes stand among the marks of sources.
fn is_reserved(source: &str) -> bool {
    ["writer/", CLOCK_SOURCE, SOURCE, CHANGE].iter().any(|reserved| source.starts_with(reserved))
}

fn named(source: &str, position: u128) -> Result<Source> {
    if source.is_empty() || source.len() > MAX_SOURCE_BYTES || is_reserved(source) {
        let rule = format!(
            "a source needs a name of 1 to {MAX_SOURCE_BYTES} bytes that does not begin with `writer/`, `{CLOCK_SOURCE}`, `{SOURCE}` or `{CHANGE}`"
        );
        return Err(Error::invalid(rule));
    }
    Ok(Source { name: source.into(), position })
}

fn check_origin(origin: &Origin) -> Result<()> {
    let most = MAX_ORIGIN_BYTES;
    if origin.source.is_empty() || origin.source.len() > most {
        return Err(Error::invalid(format!("the source of a change needs a name of 1 to {most} bytes")));
    }
    Ok(())
}

/// How many marks they leave at most.
fn marks(parts: &[Part]) -> usize {
    parts.iter().filter_map(|part| part.trace.as_ref()).map(|trace| trace.marks().count()).sum()
}

/// Calls on their way, one for each shard.
struct Handed(Vec<(ShardId, oneshot::Receiver<Result<Placed>>)>);

impl Handed {
    async fn wait(self) -> Result<Ack> {
        let mut segments = Vec::with_capacity(self.0.len());
        let (mut placed, mut failure): (_, Option<Error>) = (0, None);
        let mut passed: Option<Error> = None;
        for (shard, answer) in self.0 {
            match answer.await.unwrap_or_else(|_| Err(Repr::Closed(None).into())) {
                Ok(Placed::At(sequence)) => {
                    segments.push((shard, sequence));
                    placed += 1;
                }
                Ok(Placed::Known) => placed += 1,
                // It will be refused each time, whatever becomes of the rest.
                Err(error) if matches!(error.repr(), Repr::SourcePassed { .. }) => passed = Some(error),
                // That one shard has nothing for certain says nothing of another of which nobody can tell.
                Err(_) if failure.as_ref().is_some_and(|failure| failure.kind() == ErrorKind::Unknown) => {}
                Err(error) => failure = Some(error),
            }
        }
        match failure.or(passed) {
            None => Ok(Ack { duplicate: segments.is_empty() && placed > 0, segments }),
            Some(error) if placed == 0 || matches!(error.repr(), Repr::SourcePassed { .. }) => Err(error),
            Some(error) => {
                let what = "an append to several shards, of which some have its ops,".to_owned();
                Err(Repr::Unknown { what, error: error.to_string() }.into())
            }
        }
    }
}
