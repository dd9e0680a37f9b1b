//! A process that pins and unpins one name, again and again.

use deltafold_format::{Nonce, Pin, Timestamp};

use super::bounds::Guards;
use super::publisher::{Nonces, Published, Publisher};
use super::store::{Outcome, Snapshot, Store, Truth, Write};
use crate::snapshot::Edit;

/// The one name.
const NAME: &str = "p";

/// The steps of a pinner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Do {
    /// Pins the current version with a time to live that is over at once.
    PinShortly,
    /// Removes the pin that has the name.
    Unpin,
    /// Pins the current version for good.
    PinForGood,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Pinner {
    script: &'static [Do],
    nonces: Nonces,
    at: At,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum At {
    Look,
    /// Publishes an edit, with the pin that it makes for good.
    Publish(Option<Nonce>, Box<Publisher>),
}

impl Pinner {
    /// Pins for a short time, unpins, and pins for good.
    pub(super) fn new(process: u8) -> Self {
        Self::of(process, &[Do::PinShortly, Do::Unpin, Do::PinForGood])
    }

    /// Removes the pin that it finds, once.
    pub(super) fn unpinner(process: u8) -> Self {
        Self::of(process, &[Do::Unpin])
    }

    fn of(process: u8, script: &'static [Do]) -> Self {
        Self { script, nonces: Nonces::of(process), at: At::Look }
    }

    pub(super) fn ended(&self) -> bool {
        self.script.is_empty()
    }

    pub(super) fn crash(&mut self) {
        if let At::Publish(_, publisher) = &self.at {
            self.nonces = publisher.nonces();
        }
        self.nonces.crash();
        // No process needs the outcome any more.
        self.script = &[];
        self.at = At::Look;
    }

    pub(super) fn write(&self) -> Option<Write> {
        match &self.at {
            At::Publish(_, publisher) => publisher.write(),
            At::Look => None,
        }
    }

    pub(super) fn answered(&mut self, outcome: Outcome, truth: &mut Truth) {
        if let At::Publish(_, publisher) = &mut self.at {
            let published = publisher.answered(outcome);
            self.published(published, truth);
        }
    }

    pub(super) fn read(&mut self, store: &Store, truth: &mut Truth, guards: &Guards) {
        match &mut self.at {
            At::Look => self.look(&store.head, truth),
            At::Publish(_, publisher) => {
                let published = publisher.read(store, truth, guards);
                self.published(published, truth);
            }
        }
    }

    fn look(&mut self, head: &Snapshot, truth: &mut Truth) {
        let Some(next) = self.script.first() else { return };
        if head.version.get() == 0 {
            // There is no version to pin yet: a true error.
            self.script = &[];
            return;
        }
        let (edit, pins) = match next {
            Do::Unpin => {
                let Some(pin) = head.pins.iter().find(|pin| pin.name == NAME) else { return self.next() };
                truth.unpin(pin.id);
                (Edit::Unpin { name: NAME.to_owned(), id: pin.id }, None)
            }
            Do::PinShortly | Do::PinForGood => {
                let pin = Pin {
                    name: NAME.to_owned(),
                    version: head.version,
                    nonce: head.nonce,
                    id: self.nonces.draw(),
                    created: Timestamp::default(),
                    ttl_millis: (*next == Do::PinShortly).then_some(0),
                };
                let for_good = pin.ttl_millis.is_none().then_some(pin.id);
                (Edit::Pin(pin), for_good)
            }
        };
        self.at = At::Publish(pins, Box::new(Publisher::new(edit, self.nonces)));
    }

    fn published(&mut self, published: Option<Published>, truth: &mut Truth) {
        let (Some(published), At::Publish(pins, publisher)) = (published, &self.at) else { return };
        self.nonces = publisher.nonces();
        if let (Published::Yes(_), Some(id)) = (published, pins) {
            truth.pin(*id);
        }
        self.next();
    }

    fn next(&mut self) {
        self.script = &self.script[1..];
        self.at = At::Look;
        if self.ended() {
            self.nonces = Nonces::of(0);
        }
    }
}
