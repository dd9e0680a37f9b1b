//! Verification compares the manifests with the objects in the store.

mod log;
mod references;
mod registers;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use deltafold_format::{Head, Manifest, ObjectName, PartObject, ShardId, Version};

use super::Collection;
use crate::error::{ErrorKind, RESTORE, Result};
use crate::shard::Shard;
use crate::shard::objects::{name, objects};
use crate::snapshot::Current;
use crate::store::{Key, Listed};

/// Attempts at a shard that is swept during each of them. After the last one only a finding that
/// was seen twice in a row counts.
const ATTEMPTS: u32 = 8;

/// The depth of a verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Depth {
    /// Registers, current manifests, the presence and length of every object they need, and no
    /// missing segment in the log. Costs the LISTs and two GETs a shard.
    Quick,
    /// All that, and every byte: reads and checks each segment, part, embedding block and retained
    /// manifest, and recomputes the accounting.
    Deep,
}

/// A fault in one object.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// The shard.
    pub shard: ShardId,
    /// The object.
    pub key: String,
    /// The problem, and the remedy.
    pub problem: String,
}

/// The result of a verification.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyReport {
    /// All faults; empty for a sound collection.
    pub findings: Vec<Finding>,
    /// Objects looked at.
    pub objects: u64,
    /// Bytes read and checked.
    pub bytes: u64,
    /// Rows of parts read.
    pub rows: u64,
    /// Ops of segments read.
    pub ops: u64,
    /// Segments that a writer of a dropped collection of the same name left. No harm: each counts
    /// as an empty one.
    pub notes: Vec<Finding>,
    /// Unreferenced objects: leftovers of work that lost a race, which sweep removes. No harm.
    pub unreferenced: u64,
}

impl VerifyReport {
    /// Whether there is no finding.
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }
}

impl Collection {
    /// Verifies every shard, and reports the progress to `each`. Reads only. A version published
    /// meanwhile does no harm: verification looks up anew what a sweep removed.
    pub async fn verify(&self, depth: Depth, mut each: impl FnMut(&VerifyReport)) -> Result<VerifyReport> {
        let mut report = VerifyReport::default();
        self.verify_register(&mut report).await?;
        // The stored objects, not their cached copies.
        let uncached = self.store.uncached();
        for shard in &self.shards {
            let shard = &uncached.as_ref().map_or_else(|| shard.clone(), |store| shard.over(store.clone()));
            // Compaction and sweep may overtake the reading. The next look finds damage again, but
            // no object that a sweep removed.
            let mut earlier: Vec<Finding> = Vec::new();
            for attempt in 1.. {
                let mut verifier = Verifier { shard, report: report.clone(), each: &mut each };
                verifier.run(depth).await?;
                let mut seen = verifier.report;
                let found = seen.findings.split_off(report.findings.len());
                let seen_twice = found.iter().all(|finding| earlier.contains(finding));
                if seen_twice || !moved(shard, &found).await? {
                    report = seen;
                    report.findings.extend(found);
                    break;
                }
                if attempt == ATTEMPTS {
                    report = seen;
                    report.findings.extend(found.into_iter().filter(|finding| earlier.contains(finding)));
                    break;
                }
                earlier = found;
            }
        }
        Ok(report)
    }
}

/// Whether a sweep may have removed the objects of the findings since.
async fn moved(shard: &Shard, found: &[Finding]) -> Result<bool> {
    let manifest = match shard.current().await {
        Ok((_, manifest)) => manifest,
        Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NewerFormat) => return Ok(false),
        Err(error) => return Err(error),
    };
    let listed: BTreeSet<String> =
        objects(&manifest).iter().map(|object| shard.layout().part(*object).to_string()).collect();
    let lost = |finding: &Finding| !listed.contains(&finding.key);
    Ok(found.iter().any(lost))
}

struct Verifier<'a, F> {
    shard: &'a Shard,
    report: VerifyReport,
    each: &'a mut F,
}

impl<F: FnMut(&VerifyReport)> Verifier<'_, F> {
    /// Reports a fault that a copy of the object mends.
    fn find(&mut self, key: &Key, fault: impl Display) {
        self.report_problem(key, format!("{fault}; {RESTORE}"));
    }

    /// Reports a problem whose sentence ends with its own remedy.
    fn report_problem(&mut self, key: &Key, problem: String) {
        self.report.findings.push(Finding { shard: self.shard.id(), key: key.to_string(), problem });
    }

    fn note(&mut self, key: &Key, remark: impl Into<String>) {
        let note = Finding { shard: self.shard.id(), key: key.to_string(), problem: remark.into() };
        self.report.notes.push(note);
    }

    /// Turns damage into a finding; other failures end the verification.
    fn damage<T>(&mut self, key: &Key, result: Result<T>) -> Result<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NewerFormat) => {
                self.report_problem(&error.object().unwrap_or_else(|| key.clone()), error.problem());
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn looked_at(&mut self, bytes: u64) {
        self.report.objects += 1;
        self.report.bytes += bytes;
        (self.each)(&self.report);
    }

    async fn run(&mut self, depth: Depth) -> Result<()> {
        let head = self.shard.layout().head();
        let current = Current::load(self.shard).await;
        let Some(current) = self.damage(&head, current)? else { return Ok(()) };
        self.looked_at(0);
        let manifest = &*current.manifest;
        if current.state.head != manifest.head() {
            self.find(&head, "the head and its manifest disagree");
        }
        if let Some(problem) = crate::shard::registers::put_back(self.shard, &current.state.head).await? {
            self.report_problem(&head, problem);
        }
        let stored = self.shard.list(&self.shard.layout().part_prefix(), None, |_| false).await?;
        let stored: BTreeMap<Key, Listed> = stored.into_iter().map(|listed| (listed.key.clone(), listed)).collect();
        self.presence(manifest, &stored);
        if depth == Depth::Deep {
            self.runs(manifest).await?;
            self.embeddings(manifest).await?;
        }
        self.log(manifest, depth).await?;
        if depth == Depth::Deep {
            self.retained(manifest, &stored).await?;
            self.claim().await?;
        }
        Ok(())
    }

    /// Checks that every object needed is there, with the length that the manifest lists.
    fn presence(&mut self, manifest: &Manifest, stored: &BTreeMap<Key, Listed>) {
        let parts = manifest.runs.iter().flat_map(|run| &run.parts);
        let parts = parts.map(|part| (PartObject::Meta(part.name), part.bytes));
        let embeddings = manifest.embeddings.iter().map(|entry| (PartObject::Embeddings(entry.name), entry.bytes));
        for (object, bytes) in parts.chain(embeddings) {
            let key = self.shard.layout().part(object);
            match stored.get(&key) {
                None => self.find(&key, "it is missing, though the current version needs it"),
                Some(listed) if listed.bytes != bytes => {
                    self.find(&key, format!("it is {} bytes long instead of {bytes}", listed.bytes));
                }
                Some(_) => {}
            }
        }
        let needed = objects(manifest);
        let dropped: BTreeSet<PartObject> = manifest.dropped.iter().map(|dropped| dropped.object).collect();
        let unreferenced = stored.keys().filter_map(|key| self.shard.layout().parse_part(key));
        let unreferenced = unreferenced.filter(|object| !needed.contains(object) && !dropped.contains(object));
        self.report.unreferenced += unreferenced.count() as u64;
    }

    /// Checks that every readable version has a manifest, and that all objects it needs are there
    /// and sound.
    async fn retained(&mut self, manifest: &Manifest, stored: &BTreeMap<Key, Listed>) -> Result<()> {
        let ancestors = manifest.ancestors.iter().filter(|ancestor| ancestor.version >= manifest.sweep_floor);
        let ancestors = ancestors.map(|ancestor| ObjectName { version: ancestor.version, nonce: ancestor.nonce });
        let pins = manifest.pins.iter().map(|pin| ObjectName { version: pin.version, nonce: pin.nonce });
        let retained: BTreeSet<ObjectName> =
            ancestors.chain(pins).filter(|name| name.version > Version::ZERO && *name != manifest.name()).collect();
        let mut checked: BTreeSet<PartObject> = objects(manifest);
        for version in retained {
            let key = self.shard.layout().manifest(version);
            let head = Head { version: version.version, manifest: version.nonce, ..manifest.head() };
            let read = self.shard.manifest(&head).await;
            let Some(read) = self.damage(&key, read)? else { continue };
            let Some(older) = read else {
                self.find(&key, "it is missing, and its version should be readable");
                continue;
            };
            for object in objects(&older) {
                let part = self.shard.layout().part(object);
                if !stored.contains_key(&part) && name(object).version <= manifest.version {
                    self.find(&part, format!("it is missing, though version {} needs it", version.version.get()));
                }
            }
            for entry in older.runs.iter().flat_map(|run| &run.parts) {
                if checked.insert(PartObject::Meta(entry.name)) {
                    let key = self.shard.layout().part(PartObject::Meta(entry.name));
                    let part = self.shard.part(entry).await;
                    if let Some(Some(part)) = self.damage(&key, part)? {
                        self.references(&key, &part, &older.embeddings);
                    }
                    self.looked_at(entry.bytes);
                }
            }
            for entry in &older.embeddings {
                if checked.insert(PartObject::Embeddings(entry.name)) {
                    self.embedding_object(entry).await?;
                }
            }
            self.looked_at(0);
        }
        Ok(())
    }
}
