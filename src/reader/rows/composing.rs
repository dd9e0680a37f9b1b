//! Composes the rows of the id that a walk has found.

use deltafold_format::Effect;

use super::super::compose::{Composer, Row, under};
use super::super::part_pieces::Need;
use super::source::Source;
use super::{Content, Hit, Rows};
use crate::error::Result;

impl Rows {
    /// Composes the rows of the id. Not in a walk over outlines.
    pub(crate) async fn compose(&mut self) -> Result<Composer> {
        let mut composer = Composer::default();
        for hit in self.group.iter().rev() {
            if composer.is_final() {
                break;
            }
            if self.lacks_document(*hit)
                && composer.needs_content()
                && let Some(Source::Run { run, current: Some((part, rows)), number, .. }) =
                    self.sources.get_mut(hit.source)
            {
                // The rows behind it likely come next, so more of them are read each time.
                let end = rows.end.min(hit.start.saturating_add(self.documents_ahead));
                self.documents_ahead = self.documents_ahead.saturating_mul(4);
                *part = self.snapshot.documents(*run, *number, part.clone(), Need::Columns, hit.start..end).await?;
            }
            match &self.sources[hit.source] {
                Source::Unread { unread, .. } => unread.compose(hit.start..hit.end, &mut composer).await?,
                source => self.add(*hit, source, &mut composer)?,
            }
        }
        Ok(composer)
    }

    /// The same if nothing has to be read, otherwise `None`. A future for each id would move more
    /// bytes than the record has.
    pub(in crate::reader) fn compose_loaded(&self) -> Result<Option<Composer>> {
        let mut composer = Composer::default();
        for hit in self.group.iter().rev() {
            if composer.is_final() {
                break;
            }
            let source = &self.sources[hit.source];
            if matches!(source, Source::Unread { .. }) || self.lacks_document(*hit) {
                return Ok(None);
            }
            self.add(*hit, source, &mut composer)?;
        }
        Ok(Some(composer))
    }

    /// Whether the document of a row has to be read.
    fn lacks_document(&self, hit: Hit) -> bool {
        let Source::Run { current: Some((part, _)), .. } = &self.sources[hit.source] else { return false };
        self.content == Content::Few && part.unloaded_documents_of(hit.start).next().is_some()
    }

    /// Adds rows in memory under the rows in `composer`.
    fn add(&self, hit: Hit, source: &Source, composer: &mut Composer) -> Result<()> {
        match source {
            Source::Run { current: Some((part, _)), .. } if self.content == Content::WithoutDocuments => {
                composer.under(Row::WithoutDocuments(part, hit.start))
            }
            Source::Run { current: Some((part, _)), .. } => composer.under(Row::Part(part, hit.start)),
            Source::Log { layer, .. } => composer.under(Row::Log(layer, hit.start..hit.end)),
            Source::Run { current: None, .. } | Source::Unread { .. } => Ok(()),
        }
    }

    /// The effect of the rows of the id, without the records' content.
    pub(crate) fn outline(&self) -> Option<Effect<()>> {
        let outline = |hit: &Hit| match &self.sources[hit.source] {
            Source::Run { current, .. } => current.as_ref().and_then(|(part, _)| Row::Part(part, hit.start).outline()),
            Source::Log { layer, .. } => Row::Log(layer, hit.start..hit.end).outline(),
            Source::Unread { unread, .. } => unread.outline(hit.start..hit.end),
        };
        self.group.iter().rev().map(outline).fold(None, under)
    }
}
