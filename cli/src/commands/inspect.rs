//! `inspect`: the kind and the sections of any single object, and whether its checksums match.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use bytes::Bytes;
use clap::Args;
use deltafold::format::{
    Claim, CollectionConfig, Encoding, FormatError, FormatErrorKind, Head, Inspection, Manifest, ObjectKind, PartMeta,
    Segment,
};
use deltafold::store::Key;
use serde_json::{Map, Value, json};

use crate::context::Context;
use crate::exit::{Exit, Failure, Outcome};
use crate::output::units::{bytes, count, rfc3339};
use crate::output::{Table, config};

/// Show the kind and the content of any single object
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// The object's key in the store, as in `demo/0000/head`, or the path of a file
    #[arg(value_name = "OBJECT")]
    object: String,
}

impl Inspect {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let object = self.read(context).await?;
        let length = object.len() as u64;
        let inspection = Inspection::of(object.clone()).map_err(|error| self.refused(&error))?;
        let content = content(inspection.envelope.kind(), object);
        let decoded = content.as_ref().err().cloned();
        let content = content.unwrap_or_default();
        if context.output.json {
            context.output.document(&json!({
                "object": self.object,
                "kind": inspection.envelope.kind().name(),
                "format_version": inspection.envelope.version(),
                "bytes": length,
                "sound": inspection.is_sound() && decoded.is_none(),
                "sections": sections(&inspection),
                "content": content,
            }))?;
        } else {
            self.print(context, &inspection, &content)?;
        }
        let problem = inspection.sections.iter().find_map(|check| check.result.as_ref().err());
        problem.or(decoded.as_ref()).map_or(Ok(()), |error| Err(self.refused(error)))
    }

    fn refused(&self, error: &FormatError) -> Failure {
        let problem = format!("object `{}` cannot be used: {error}", self.object);
        match error.kind() {
            FormatErrorKind::NewerFormat { .. } => Failure::new(Exit::Failed, problem),
            _ => Failure::new(Exit::Damaged, problem).help("`deltafold verify --deep` looks for more damage"),
        }
    }

    async fn read(&self, context: &Context) -> Outcome<Bytes> {
        if let Some(key) = Key::new(self.object.clone())
            && let Some(Ok(collection)) = self.object.split('/').next().map(str::parse)
            && let Ok(store) = context.store_of(&collection).await
            && let Some(object) = store.get(&key).await?
        {
            return Ok(object.bytes);
        }
        let path = Path::new(&self.object);
        if path.is_file() {
            return self.read_file(path, context.memory().bytes() / 2);
        }
        Err(Failure::new(Exit::NotFound, format!("there is no object or file `{}`", self.object))
            .help("name an object by its key below the store, such as `demo/0000/head`"))
    }

    /// Reads a file that takes at most half of the memory. Its decoded content may take the other
    /// half.
    fn read_file(&self, path: &Path, most: u64) -> Outcome<Bytes> {
        let read = || {
            let mut content = Vec::new();
            File::open(path)?.take(most + 1).read_to_end(&mut content)?;
            Ok(content)
        };
        let content = read().map_err(|error| Failure::file("read", &self.object, &error))?;
        if content.len() as u64 > most {
            let problem = format!("`{}` is longer than {most} bytes, half of the memory that is set", self.object);
            return Err(Failure::new(Exit::BadInput, problem).help("set a larger `--memory`"));
        }
        Ok(content.into())
    }

    fn print(&self, context: &Context, inspection: &Inspection, content: &Map<String, Value>) -> Outcome {
        let envelope = &inspection.envelope;
        context.output.line(format!(
            "{}: {}, format {}, {}",
            self.object,
            envelope.kind().name(),
            envelope.version(),
            bytes(envelope.bytes())
        ))?;
        let columns = [">ID", "SECTION", ">OFFSET", ">STORED", ">RAW", "ENCODING", "CRC32", "CHECK"];
        let mut table = Table::new(context.output, &columns);
        for check in &inspection.sections {
            let section = &check.section;
            table.row([
                section.id.to_string(),
                check.name.to_owned(),
                section.offset.to_string(),
                count(section.stored),
                count(section.raw),
                encoding(section.encoding).to_owned(),
                format!("{:08x}", section.crc32),
                check.result.as_ref().map_or("damaged", |()| "sound").to_owned(),
            ]);
        }
        context.output.blank()?;
        context.output.table(&table)?;
        if content.is_empty() {
            return Ok(());
        }
        let mut table = Table::new(context.output, &["FIELD", "VALUE"]);
        for (name, value) in content {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            table.row([name.as_str(), &super::get::cut(&text, 200)]);
        }
        context.output.blank()?;
        Ok(context.output.table(&table)?)
    }
}

fn encoding(encoding: Encoding) -> &'static str {
    encoding.name()
}

fn sections(inspection: &Inspection) -> Vec<Value> {
    let section = |check: &deltafold::format::SectionCheck| {
        json!({
            "id": check.section.id,
            "name": check.name,
            "offset": check.section.offset,
            "stored": check.section.stored,
            "raw": check.section.raw,
            "encoding": encoding(check.section.encoding),
            "crc32": format!("{:08x}", check.section.crc32),
            "error": check.result.as_ref().err().map(ToString::to_string),
        })
    };
    inspection.sections.iter().map(section).collect()
}

/// The content of an object, for the kinds whose content fits a page.
fn content(kind: ObjectKind, object: Bytes) -> Result<Map<String, Value>, FormatError> {
    let content = match kind {
        ObjectKind::Segment => segment(&Segment::decode(object)?),
        ObjectKind::PartMeta => part(&PartMeta::open(object)?),
        ObjectKind::Manifest => manifest(&Manifest::decode(object)?),
        ObjectKind::Head => head(&Head::decode(object)?),
        ObjectKind::Collection => config::document(&CollectionConfig::decode(object)?),
        ObjectKind::Claim => claim(&Claim::decode(object)?),
        _ => Value::Null,
    };
    let Value::Object(content) = content else { return Ok(Map::new()) };
    Ok(content)
}

fn segment(segment: &Segment) -> Value {
    let header = segment.header();
    let marks: Vec<Value> = header
        .marks
        .iter()
        .map(|mark| json!({ "source": mark.source, "position": mark.position.to_string() }))
        .collect();
    let mut ops = std::collections::BTreeMap::<&str, u64>::new();
    let rows = || (0..segment.len()).filter_map(|op| segment.row(op));
    for row in rows() {
        *ops.entry(row.name()).or_default() += 1;
    }
    let revisions = || rows().filter_map(|row| row.revision());
    let revisions = revisions().min().zip(revisions().max());
    json!({
        "collection": header.collection.to_string(),
        "sequence": header.sequence.get(),
        "writer": header.writer.to_string(),
        "batch": header.batch,
        "first_op": rfc3339(header.times.first),
        "last_op": rfc3339(header.times.last),
        "ops": header.ops,
        "ops_by_kind": ops,
        "lowest_revision": revisions.map(|(lowest, _)| lowest.to_string()),
        "highest_revision": revisions.map(|(_, highest)| highest.to_string()),
        "dimension": header.dimension,
        "embeddings": header.vectors,
        "digest": header.digest.to_string(),
        "sources": marks,
    })
}

/// The metadata of a part.
fn part(part: &PartMeta) -> Value {
    let summary = part.summary();
    let keys: Map<String, Value> = part
        .keys()
        .map(|key| (key.to_owned(), summary.keys.get(key).map_or(Value::Null, |of_key| json!(of_key.present))))
        .collect();
    json!({
        "rows": part.rows(),
        "first_id": part.id(0),
        "last_id": part.id(part.rows().saturating_sub(1)),
        "by_revision": part.has_revisions(),
        "rows_without_record": part.absent().rows,
        "front_bytes": part.front_bytes(),
        "columns_end": part.columns_end(),
        "rows_by_key": keys,
        "documents": summary.documents,
        "document_blocks": part.unloaded_documents().count(),
    })
}

fn manifest(manifest: &Manifest) -> Value {
    let runs: Vec<Value> = manifest
        .runs
        .iter()
        .map(|run| {
            let parts: Vec<String> = run.parts.iter().map(|part| format!("{}.meta", part.name)).collect();
            json!({
                "id": run.id.to_string(),
                "level": run.level,
                "first": run.first.get(),
                "last": run.last.get(),
                "rows": run.rows,
                "rows_without_record": run.absent(),
                "parts": parts,
            })
        })
        .collect();
    let embeddings: Vec<Value> = manifest
        .embeddings
        .iter()
        .map(|entry| {
            json!({ "object": format!("{}.emb", entry.name), "rows": entry.rows, "live": entry.live, "bytes": entry.bytes })
        })
        .collect();
    let pins: Vec<Value> =
        manifest.pins.iter().map(|pin| json!({ "name": pin.name, "version": pin.version.get() })).collect();
    json!({
        "collection": manifest.collection.to_string(),
        "version": manifest.version.get(),
        "nonce": manifest.nonce.to_string(),
        "published": rfc3339(manifest.published),
        "edit": manifest.edit.kind.name(),
        "folded": manifest.folded.get(),
        "truncated": manifest.truncated.get(),
        "sweep_floor": manifest.sweep_floor.get(),
        "ops": manifest.ops,
        "digest": manifest.digest.to_string(),
        "runs": runs,
        "embedding_objects": embeddings,
        "dropped": manifest.dropped.len(),
        "sources": manifest.marks.len(),
        "pins": pins,
    })
}

fn head(head: &Head) -> Value {
    json!({
        "collection": head.collection.to_string(),
        "version": head.version.get(),
        "manifest": head.manifest.to_string(),
        "folded": head.folded.get(),
        "truncated": head.truncated.get(),
        "sweep_floor": head.sweep_floor.get(),
    })
}

fn claim(claim: &Claim) -> Value {
    json!({
        "collection": claim.collection.to_string(),
        "claimant": claim.claimant.to_string(),
        "version": claim.version.get(),
        "beat": claim.beat,
    })
}
