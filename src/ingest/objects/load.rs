//! The append of an object: it is fetched, read and appended at the same time.

use std::pin::Pin;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use deltafold_format::OpRules;
use deltafold_format::limits::MAX_SOURCE_BYTES;
use futures::future::{Either, FutureExt, join, join3, select};
use tokio::sync::mpsc;
use xxhash_rust::xxh3::xxh3_128;

use super::Objects;
use super::fetch::{PIECE_BYTES, Piece};
use super::lines::{Pieces, check, is_packed, read};
use super::runs::{Progress, append_runs};
use crate::env;
use crate::error::Result;
use crate::ingest::delivery::Cause;
use crate::ingest::reference::{Loaded, Reference};
use crate::log::Writer;

impl Objects {
    /// Appends the lines of an object that the log lacks, in order. Returns when all are there, or
    /// `stop` is ready.
    pub(in crate::ingest) async fn load(
        &self,
        writer: &Writer,
        of: &Reference,
        rules: OpRules,
        stop: Pin<&mut (impl Future<Output = ()> + ?Sized)>,
    ) -> Loaded {
        let progress = Progress::default();
        // Boxed, because its depth would add to every future around it.
        let appending = self.append(writer, of, rules, &progress).boxed();
        let failure = match select(appending, stop).await {
            Either::Left((done, _)) => done.err(),
            Either::Right(_) => {
                let line = progress.line.load(Ordering::Relaxed);
                let reason = format!(
                    "the time ran out when `{of}` was in the log up to line {line}; the next delivery of the message goes on from there"
                );
                Some((reason, Cause::NotAppended))
            }
        };
        Loaded { ops: progress.ops.load(Ordering::Relaxed), failure }
    }

    async fn append(
        &self,
        writer: &Writer,
        of: &Reference,
        rules: OpRules,
        progress: &Progress,
    ) -> Result<(), (String, Cause)> {
        self.allow(of).map_err(|reason| (reason, Cause::NotUnderstood))?;
        let first = self.first(of).await?;
        let source = source_of(of, &first);
        if is_packed(&first.bytes) {
            self.check(of, &first, &source).await?;
        }
        let (pieces, coming) = mpsc::channel(1);
        let (ops, lines) = mpsc::channel(2);
        let reading = env::blocking(move || read(Pieces::new(coming), rules, &ops));
        let (fetched, read, appended) =
            join3(self.fetch(of, first, pieces), reading, append_runs(writer, &source, lines, progress)).await;
        let last = appended.map_err(|failed| (format!("`{of}`, {failed}"), Cause::of(&failed.error)))?;
        // An object whose fetch failed looks damaged to its reader.
        fetched.map_err(|reason| (reason, Cause::NotAppended))?;
        read.map_err(|reason| (wrong(of, last, &reason), Cause::NotUnderstood))?;
        if last == 0 {
            return Err((format!("`{of}` holds no op"), Cause::NotUnderstood));
        }
        Ok(())
    }

    /// Reads a compressed object to its end, where its checksums are, before the first line is
    /// appended. The ETag ensures that the second read, for the lines, gets the same object. Costs
    /// one more GET for each piece behind the first. Skips the object that was checked last.
    async fn check(&self, of: &Reference, first: &Piece, source: &str) -> Result<(), (String, Cause)> {
        if self.is_checked(source) {
            return Ok(());
        }
        let (pieces, coming) = mpsc::channel(1);
        let checking = env::blocking(move || check(Pieces::new(coming)));
        let (fetched, checked) = join(self.fetch(of, first.clone(), pieces), checking).await;
        fetched.map_err(|reason| (reason, Cause::NotAppended))?;
        checked.map_err(|reason| (wrong(of, 0, &reason), Cause::NotUnderstood))?;
        self.remember_checked(source);
        Ok(())
    }

    /// Hands on the object piece by piece, until the receiver is gone.
    async fn fetch(&self, of: &Reference, first: Piece, pieces: mpsc::Sender<Option<Bytes>>) -> Result<(), String> {
        let Piece { bytes, total, etag, .. } = first;
        let mut next = Some(bytes);
        let mut from = 0;
        while let Some(bytes) = next.take() {
            if pieces.send(Some(bytes)).await.is_err() {
                return Ok(());
            }
            from += PIECE_BYTES;
            if from < total {
                next = Some(self.next(of, from, &etag).await?.bytes);
            }
        }
        // Tells the end apart from a failure.
        drop(pieces.send(None).await);
        Ok(())
    }
}

/// The error of an object, with the remedy.
fn wrong(of: &Reference, last: u64, reason: &str) -> String {
    let before = match last {
        0 => ". Nothing of it was appended".to_owned(),
        last => format!(". Its ops up to line {last} are in the log"),
    };
    format!(
        "`{of}`: {reason}{before}; mend it and put it there again: it is another object then, and all of it is appended"
    )
}

/// The name of an object as a source: its address and its version. Without one, its ETag, and the
/// sequencer of the event that names it or the time of its last write.
fn source_of(of: &Reference, piece: &Piece) -> String {
    let Piece { etag, written, .. } = piece;
    let which = match (of.version.as_ref().or(piece.version.as_ref()), &of.sequencer) {
        (Some(version), _) => format!("@version.{version}"),
        (None, Some(sequencer)) => format!("@{etag}.event.{sequencer}"),
        (None, None) => format!("@{etag}.{written}"),
    };
    let name = format!("{of}{which}");
    if name.len() <= MAX_SOURCE_BYTES {
        return name;
    }
    format!("s3://{:032x}", xxh3_128(name.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_identified_by_etag_and_time() {
        let piece = |etag: &str, written| Piece {
            bytes: Bytes::new(),
            total: 0,
            etag: etag.to_owned(),
            version: None,
            written,
        };
        let named = |key: &str| Reference { bucket: "b".to_owned(), key: key.to_owned(), ..Reference::default() };
        assert_eq!(source_of(&named("k"), &piece("e", 7)), "s3://b/k@e.7");
        let long = "k".repeat(1_024);
        let names =
            [("e", 7), ("f", 7), ("e", 8)].map(|(etag, written)| source_of(&named(&long), &piece(etag, written)));
        assert!(names.iter().all(|name| name.len() <= MAX_SOURCE_BYTES));
        assert!(names[0] != names[1] && names[0] != names[2] && names[1] != names[2]);
    }

    #[test]
    fn a_version_or_an_event_identifies_an_object_better() {
        let piece = |version: Option<&str>| Piece {
            bytes: Bytes::new(),
            total: 0,
            etag: "e".to_owned(),
            version: version.map(str::to_owned),
            written: 7,
        };
        let named = Reference { bucket: "b".to_owned(), key: "k".to_owned(), ..Reference::default() };
        let by_event = Reference { sequencer: Some("5F".to_owned()), ..named.clone() };
        let by_version = Reference { version: Some("v1".to_owned()), ..by_event.clone() };
        assert_eq!(source_of(&by_event, &piece(None)), "s3://b/k@e.event.5F");
        // By whichever way it is named, a version is one object.
        for of in [&named, &by_event, &by_version] {
            assert_eq!(source_of(of, &piece(Some("v1"))), "s3://b/k@version.v1");
        }
    }
}
