//! The plan of a history: its actors, and the rates of its faults. It is drawn from the seed, and
//! made smaller when a failure is shrunk.

use deltafold_testing::random::Random;

/// One in so many calls; 0 means never.
pub(crate) type Rate = u64;

/// The faults.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    /// Nothing landed; try again.
    pub(crate) transient: Rate,
    /// Nothing landed, because others wrote at the same moment: 409.
    pub(crate) conflict: Rate,
    /// A write that never lands; its outcome is unknown.
    pub(crate) lost: Rate,
    /// A write that lands; its outcome is unknown.
    pub(crate) answer_lost: Rate,
    /// A write that lands up to a minute later; its outcome is unknown.
    pub(crate) late: Rate,
    /// A write that lands and is answered as refused: a layer below tried twice.
    pub(crate) echo: Rate,
    /// A call that takes up to a minute.
    pub(crate) slow: Rate,
    /// A read that returns bytes other than those written.
    pub(crate) rot: Rate,
    /// A crash of the caller's process at the call, before or after it.
    pub(crate) crash: Rate,
    /// The rate, per minute and process, of temporary suspensions.
    pub(crate) pauses: Rate,
    /// The rate of outages: all calls of a process, or on a kind of object, fail for a while.
    pub(crate) outages: Rate,
    /// Clocks of processes differ and step back.
    pub(crate) clocks: bool,
}

/// A history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) shards: u16,
    /// The collection is ordered by revision, and revisions come in any order.
    pub(crate) revisions: bool,
    /// Heads and claims are in a store of their own.
    pub(crate) heads_elsewhere: bool,
    pub(crate) writers: u32,
    /// The number of appends of each writer.
    pub(crate) appends: u32,
    /// Pairs of writers. Both writers of a pair append the same positions of one source.
    pub(crate) sources: u32,
    pub(crate) positions: u32,
    /// Consumers of a queue.
    pub(crate) consumers: u32,
    pub(crate) messages: u32,
    /// The queue keeps no order, and redelivers messages in flight.
    pub(crate) unordered_queue: bool,
    pub(crate) compactors: u32,
    pub(crate) sweepers: u32,
    pub(crate) readers: u32,
    pub(crate) followers: u32,
    pub(crate) faults: Faults,
}

impl Plan {
    pub(crate) fn draw(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut rate = |usual: u64| if random.below(2) == 0 { 0 } else { usual / 2 + random.below(usual) };
        let mut faults = Faults {
            transient: rate(20),
            conflict: rate(20),
            lost: rate(30),
            answer_lost: rate(25),
            late: rate(30),
            echo: rate(40),
            slow: rate(40),
            rot: 0,
            crash: rate(100),
            pauses: rate(4),
            outages: rate(6),
            clocks: true,
        };
        if random.below(8) == 0 {
            faults.rot = 20 + random.below(60);
        }
        let some = |random: &mut Random, least: u64, most: u64| {
            u32::try_from(least + random.below(most - least + 1)).unwrap_or(1)
        };
        let mut plan = Self {
            seed,
            revisions: false,
            unordered_queue: false,
            shards: [1, 1, 1, 2, 3][random.index(5)],
            heads_elsewhere: random.below(3) == 0,
            writers: some(&mut random, 1, 3),
            appends: some(&mut random, 3, 12),
            sources: some(&mut random, 0, 1),
            positions: some(&mut random, 2, 8),
            consumers: if random.below(3) == 0 { some(&mut random, 1, 2) } else { 0 },
            messages: some(&mut random, 3, 10),
            compactors: some(&mut random, 1, 2),
            sweepers: some(&mut random, 1, 2),
            readers: some(&mut random, 1, 2),
            followers: some(&mut random, 0, 1),
            faults,
        };
        plan.revisions = random.below(3) == 0;
        plan.unordered_queue = random.below(2) == 0;
        plan
    }

    /// Smaller plans; those that leave out most come first.
    pub(crate) fn smaller(&self) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        let mut with = |change: &dyn Fn(&mut Self)| {
            let mut plan = self.clone();
            change(&mut plan);
            if plan != *self && !all.contains(&plan) {
                all.push(plan);
            }
        };
        with(&|plan| plan.consumers = 0);
        with(&|plan| plan.sources = 0);
        with(&|plan| plan.followers = 0);
        with(&|plan| plan.readers = 0);
        with(&|plan| plan.writers = 0);
        with(&|plan| plan.sweepers = 0);
        with(&|plan| plan.compactors = 0);
        with(&|plan| plan.shards = 1);
        with(&|plan| plan.heads_elsewhere = false);
        with(&|plan| plan.revisions = false);
        with(&|plan| plan.unordered_queue = false);
        with(&|plan| plan.faults.rot = 0);
        with(&|plan| plan.faults.outages = 0);
        with(&|plan| plan.faults.pauses = 0);
        with(&|plan| plan.faults.crash = 0);
        with(&|plan| plan.faults.slow = 0);
        with(&|plan| plan.faults.transient = 0);
        with(&|plan| plan.faults.conflict = 0);
        with(&|plan| plan.faults.lost = 0);
        with(&|plan| plan.faults.answer_lost = 0);
        with(&|plan| plan.faults.late = 0);
        with(&|plan| plan.faults.echo = 0);
        with(&|plan| plan.faults.clocks = false);
        with(&|plan| plan.writers = plan.writers.min(1));
        with(&|plan| plan.compactors = plan.compactors.min(1));
        with(&|plan| plan.sweepers = plan.sweepers.min(1));
        with(&|plan| plan.consumers = plan.consumers.min(1));
        with(&|plan| plan.readers = plan.readers.min(1));
        with(&|plan| plan.appends /= 2);
        with(&|plan| plan.positions /= 2);
        with(&|plan| plan.messages /= 2);
        with(&|plan| plan.appends = plan.appends.saturating_sub(1));
        with(&|plan| plan.positions = plan.positions.saturating_sub(1));
        with(&|plan| plan.messages = plan.messages.saturating_sub(1));
        all
    }

    pub(crate) fn describe(&self) -> String {
        let Self { shards, writers, appends, sources, positions, consumers, messages, .. } = self;
        let faults = &self.faults;
        let rates = [
            ("transient", faults.transient),
            ("try again", faults.conflict),
            ("lost", faults.lost),
            ("answer lost", faults.answer_lost),
            ("late", faults.late),
            ("echo", faults.echo),
            ("slow", faults.slow),
            ("rot", faults.rot),
            ("crash", faults.crash),
        ];
        let rates: Vec<String> =
            rates.iter().filter(|(_, rate)| *rate > 0).map(|(name, rate)| format!("{name} 1 in {rate}")).collect();
        format!(
            "{shards} shards in order of {}, {writers} writers x {appends} appends, {sources} sources x {positions} positions twice, {consumers} consumers of {messages} messages of a queue {} order, \
             {} compactors, {} sweepers, {} readers, {} followers; heads {}; calls: {}; pauses {}, outages {}, clocks {}",
            if self.revisions { "revisions" } else { "the log" },
            if self.unordered_queue { "without" } else { "with" },
            self.compactors,
            self.sweepers,
            self.readers,
            self.followers,
            if self.heads_elsewhere { "in a store of their own" } else { "with the objects" },
            if rates.is_empty() { "all succeed".to_owned() } else { rates.join(", ") },
            if faults.pauses > 0 { "yes" } else { "no" },
            if faults.outages > 0 { "yes" } else { "no" },
            if faults.clocks { "differ" } else { "agree" },
        )
    }
}
