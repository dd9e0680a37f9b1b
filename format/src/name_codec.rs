//! The plain encoding of names.

use crate::codec::{Cursor, Writer};
use crate::error::FormatError;
use crate::name::{Nonce, ObjectName, Sequence, TimeRange, Timestamp, Uid, Version};

impl Writer {
    pub(crate) fn uid(&mut self, uid: Uid) {
        self.u128(uid.get());
    }

    pub(crate) fn sequence(&mut self, sequence: Sequence) {
        self.u64(sequence.get());
    }

    pub(crate) fn version(&mut self, version: Version) {
        self.u64(version.get());
    }

    pub(crate) fn nonce(&mut self, nonce: Nonce) {
        self.u64(nonce.get());
    }

    pub(crate) fn object_name(&mut self, name: ObjectName) {
        self.version(name.version);
        self.nonce(name.nonce);
    }

    pub(crate) fn timestamp(&mut self, time: Timestamp) {
        self.i64(time.as_millis());
    }

    pub(crate) fn times(&mut self, times: TimeRange) {
        self.timestamp(times.first);
        self.timestamp(times.last);
    }
}

impl Cursor<'_> {
    pub(crate) fn uid(&mut self) -> Result<Uid, FormatError> {
        self.u128().map(Uid::new)
    }

    pub(crate) fn sequence(&mut self) -> Result<Sequence, FormatError> {
        let number = self.u64()?;
        Sequence::new(number).ok_or_else(|| self.invalid(format!("{number} is above every sequence number")))
    }

    pub(crate) fn version(&mut self) -> Result<Version, FormatError> {
        self.u64().map(Version::new)
    }

    pub(crate) fn nonce(&mut self) -> Result<Nonce, FormatError> {
        self.u64().map(Nonce::new)
    }

    pub(crate) fn object_name(&mut self) -> Result<ObjectName, FormatError> {
        Ok(ObjectName { version: self.version()?, nonce: self.nonce()? })
    }

    pub(crate) fn timestamp(&mut self) -> Result<Timestamp, FormatError> {
        self.i64().map(Timestamp::from_millis)
    }

    pub(crate) fn times(&mut self) -> Result<TimeRange, FormatError> {
        Ok(TimeRange { first: self.timestamp()?, last: self.timestamp()? })
    }
}
