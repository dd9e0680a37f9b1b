//! A sweeper: publishes the floors, then deletes what lies below them, one object after the other.

use std::collections::VecDeque;

use deltafold_format::{ObjectName, PartObject, Sequence};

use super::bounds::Guards;
use super::keep::{self, Keep};
use super::publisher::{Nonces, Published, Publisher};
use super::store::{Hashed, Outcome, Snapshot, Store, Truth, Write};
use crate::snapshot::{Edit, Floors};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Sweeper {
    sweeps: u8,
    keep_versions: u64,
    nonces: Nonces,
    at: At,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum At {
    Look,
    /// Lists the manifests, having seen this one.
    Manifests(Snapshot),
    /// Reads the folded sequence of the manifests at the floor.
    Floor(Snapshot, Vec<ObjectName>),
    Publish(Vec<ObjectName>, Hashed<Floors>, Box<Publisher>),
    /// Lists segments, then parts, having seen this manifest.
    Segments(Snapshot, Vec<ObjectName>, Hashed<Floors>),
    Parts(Snapshot, Hashed<Floors>, VecDeque<Write>),
    Delete(VecDeque<Write>, Option<(Vec<ObjectName>, Hashed<Floors>)>),
    Ended,
}

impl Sweeper {
    pub(super) fn new(process: u8, sweeps: u8, keep_versions: u64) -> Self {
        let at = if sweeps == 0 { At::Ended } else { At::Look };
        Self { sweeps, keep_versions, nonces: Nonces::of(process), at }
    }

    pub(super) fn ended(&self) -> bool {
        self.at == At::Ended
    }

    pub(super) fn crash(&mut self) {
        if let At::Publish(_, _, publisher) = &self.at {
            self.nonces = publisher.nonces();
        }
        self.nonces.crash();
        self.at = At::Look;
    }

    /// Whether it may still read objects that others write.
    pub(super) fn looks(&self) -> bool {
        !matches!(&self.at, At::Delete(_, None) | At::Ended) || self.sweeps > 1
    }

    pub(super) fn write(&self) -> Option<Write> {
        match &self.at {
            At::Publish(_, _, publisher) => publisher.write(),
            At::Delete(doomed, _) => doomed.front().cloned(),
            _ => None,
        }
    }

    pub(super) fn answered(&mut self, outcome: Outcome, guards: &Guards) {
        match &mut self.at {
            At::Publish(manifests, floors, publisher) => {
                let (manifests, floors) = (manifests.clone(), floors.clone());
                let published = publisher.answered(outcome);
                let nonces = publisher.nonces();
                self.published(published, manifests, floors, nonces, guards);
            }
            At::Delete(doomed, publish) if outcome != Outcome::Unknown => {
                doomed.pop_front();
                if doomed.is_empty() {
                    let publish = publish.take();
                    self.deleted(publish);
                }
            }
            _ => {}
        }
    }

    pub(super) fn read(&mut self, store: &Store, truth: &mut Truth, guards: &Guards) {
        match self.at.clone() {
            At::Look => self.at = At::Manifests(store.head.clone()),
            At::Manifests(current) => self.at = At::Floor(current, store.manifests.keys().copied().collect()),
            At::Floor(current, manifests) => {
                let versions = manifests.iter().map(|name| name.version);
                let sweep_floor = keep::sweep_floor(&current, versions, self.keep_versions);
                let at_floor = manifests.iter().filter(|name| name.version == sweep_floor);
                let folded = at_floor.filter_map(|name| store.manifests.get(name)).map(|manifest| manifest.folded);
                let truncated = keep::truncated(&current, folded, guards);
                // The model treats every time to live as over at once.
                let expired: Vec<_> = current.pins.iter().filter(|pin| pin.ttl_millis.is_some()).cloned().collect();
                let raises = truncated > current.truncated || sweep_floor > current.sweep_floor || !expired.is_empty();
                let floors = Hashed::new(Floors { truncated, sweep_floor, expired });
                self.at = if raises && guards.publish_first {
                    let publisher = Publisher::new(Edit::Sweep((*floors).clone()), self.nonces);
                    At::Publish(manifests, floors, Box::new(publisher))
                } else {
                    At::Segments(current, manifests, floors)
                };
            }
            At::Publish(manifests, floors, mut publisher) => {
                let published = publisher.read(store, truth, guards);
                let nonces = publisher.nonces();
                self.at = At::Publish(manifests.clone(), floors.clone(), publisher);
                self.published(published, manifests, floors, nonces, guards);
            }
            At::Segments(current, manifests, floors) => {
                let keep = Keep::of(&current, &floors, store, guards);
                let mut doomed: VecDeque<Write> = VecDeque::new();
                doomed.extend(manifests.iter().filter(|m| keep.dooms_manifest(**m)).map(|m| Write::DeleteManifest(*m)));
                let dooms = |slot: &&u64| Sequence::new(**slot).is_some_and(|slot| keep.dooms_segment(slot));
                doomed.extend(store.log.keys().filter(dooms).map(|slot| Write::DeleteSegment(*slot)));
                self.at = At::Parts(current, floors, doomed);
            }
            At::Parts(current, floors, mut doomed) => {
                let keep = Keep::of(&current, &floors, store, guards);
                let dooms = |name: &&ObjectName| {
                    keep.dooms_part(PartObject::Meta(**name)) && keep.dooms_part(PartObject::Embeddings(**name))
                };
                doomed.extend(store.parts.keys().filter(dooms).map(|name| Write::DeleteParts(*name)));
                let publish = (!guards.publish_first).then(|| (Vec::new(), floors));
                if doomed.is_empty() {
                    self.deleted(publish);
                } else {
                    self.at = At::Delete(doomed, publish);
                }
            }
            At::Delete(..) | At::Ended => {}
        }
    }

    fn published(
        &mut self,
        published: Option<Published>,
        manifests: Vec<ObjectName>,
        floors: Hashed<Floors>,
        nonces: Nonces,
        guards: &Guards,
    ) {
        if published.is_some() {
            self.nonces = nonces;
        }
        match published {
            None => {}
            Some(Published::Yes(current)) if guards.publish_first => {
                self.at = At::Segments(current, manifests, floors);
            }
            Some(_) => self.end(),
        }
    }

    fn deleted(&mut self, publish: Option<(Vec<ObjectName>, Hashed<Floors>)>) {
        match publish {
            None => self.end(),
            Some((manifests, floors)) => {
                let publisher = Publisher::new(Edit::Sweep((*floors).clone()), self.nonces);
                self.at = At::Publish(manifests, floors, Box::new(publisher));
            }
        }
    }

    fn end(&mut self) {
        self.sweeps -= 1;
        self.at = At::Look;
        if self.sweeps == 0 {
            (self.at, self.nonces) = (At::Ended, Nonces::of(0));
        }
    }
}
