//! An export of a table, by its manifests.

use std::fs::File;

use md5::{Digest as _, Md5};

use super::error::BackfillError;
use super::manifest::{DataFile, ExportKind, Summary, Within, md5_of_text, parse_files, place_of};
use super::place::Place;
use deltafold_format::limits::MAX_SOURCE_BYTES;
use xxhash_rust::xxh3::xxh3_128;

/// An ended export of a DynamoDB table to S3, in DynamoDB JSON: in its bucket, or copied elsewhere.
#[derive(Debug)]
pub struct Export {
    place: Place,
    pub(super) summary: Summary,
    pub(super) files: Vec<(DataFile, Within)>,
    /// The digest of the list of files. Positions are places in that list.
    digest: u128,
}

impl Export {
    /// Opens an export by its manifests: the folder `AWSDynamoDB/ID` of a bucket, as
    /// `s3://BUCKET/PREFIX/AWSDynamoDB/ID` with the parameters of a store's address, or a folder on
    /// this machine. Costs up to four GETs.
    ///
    /// # Errors
    ///
    /// `Missing` without a summary: an export that runs or has failed has none. `Unusable` where a
    /// manifest is damaged, its counts differ, or the export is in Amazon Ion.
    pub async fn open(address: &str) -> Result<Self, BackfillError> {
        let place = Place::open(address).await?;
        let name = "manifest-summary.json";
        let Some(bytes) = manifest(&place, name).await? else { return Err(missing(&place).await) };
        let unusable = |name: &str, reason: &str| {
            BackfillError::Unusable(format!("`{}`: {reason}", place.show(&Within::Export(name.to_owned()))))
        };
        let summary = Summary::parse(&bytes).map_err(|reason| unusable(name, &reason))?;
        let name = "manifest-files.json";
        let bytes = manifest(&place, name).await?;
        let bytes = bytes.ok_or_else(|| unusable(name, "the file is missing; copy the export as a whole"))?;
        let files = parse_files(&bytes, summary.items).map_err(|reason| unusable(name, &reason))?;
        let placed = |file: DataFile| {
            let within = place_of(&file.key, &summary.files_key).map_err(|reason| unusable(name, &reason))?;
            Ok((file, within))
        };
        let files = files.into_iter().map(placed).collect::<Result<_, BackfillError>>()?;
        Ok(Self { place, summary, files, digest: xxh3_128(&bytes) })
    }

    /// All items of the table, or the changes of a period.
    pub fn kind(&self) -> ExportKind {
        self.summary.kind
    }

    /// The name of the table.
    pub fn table(&self) -> &str {
        self.summary.table()
    }

    /// The time to which the export shows the table, as the service writes it.
    pub fn time(&self) -> &str {
        &self.summary.time
    }

    /// That time in microseconds: the revision of an item of a full export.
    pub fn time_micros(&self) -> u64 {
        self.summary.time_micros
    }

    /// Its items.
    pub fn items(&self) -> u64 {
        self.summary.items
    }

    /// Its data files.
    pub fn files(&self) -> usize {
        self.files.len()
    }

    /// Its name as a source: the ARN, and a digest of the list of files.
    pub(super) fn source(&self) -> String {
        let arn = &self.summary.export_arn;
        let name = format!("{}#{:032x}", arn.strip_prefix("arn:").unwrap_or(arn), self.digest);
        if name.len() <= MAX_SOURCE_BYTES {
            name
        } else {
            format!("dynamodb-export#{:032x}", xxh3_128(name.as_bytes()))
        }
    }

    /// The name of a file, for messages.
    pub(super) fn name(&self, index: usize) -> String {
        self.files.get(index).map(|(_, within)| self.place.show(within)).unwrap_or_default()
    }

    /// A data file on this machine, compared with the checksum of the manifest.
    pub(super) async fn fetch(&self, index: usize) -> Result<File, BackfillError> {
        let name = self.name(index);
        let Some((file, within)) = self.files.get(index) else {
            return Err(BackfillError::Missing(format!("there is no file {index} in the export")));
        };
        let Some(fetched) = self.place.fetch(within).await? else {
            return Err(BackfillError::Missing(format!("`{name}` is missing; the export is not there as a whole")));
        };
        match file.md5 {
            Some(expected) if expected != fetched.md5 => Err(BackfillError::Unusable(format!(
                "`{name}` is damaged: its MD5 digest is not that of the manifest. Nothing of it was appended; get it whole"
            ))),
            _ => Ok(fetched.file),
        }
    }
}

/// A manifest, compared with its checksum where there is one. The service calls that file `.md5`,
/// its manual `.checksum`.
async fn manifest(place: &Place, name: &str) -> Result<Option<Vec<u8>>, BackfillError> {
    let Some(bytes) = place.manifest(name).await? else { return Ok(None) };
    for ending in ["md5", "checksum"] {
        let Some(text) = place.manifest(&name.replace("json", ending)).await? else { continue };
        let expected = std::str::from_utf8(&text).ok().and_then(md5_of_text);
        let found: [u8; 16] = Md5::digest(&bytes).into();
        if expected != Some(found) {
            let shown = place.show(&Within::Export(name.to_owned()));
            return Err(BackfillError::Unusable(format!(
                "`{shown}` is damaged: its MD5 digest is not that of the file `.{ending}` beside it; get both again"
            )));
        }
        break;
    }
    Ok(Some(bytes))
}

async fn missing(place: &Place) -> BackfillError {
    let shown = place.show(&Within::Export("manifest-summary.json".to_owned()));
    let found = place.exports().await;
    BackfillError::Missing(if found.is_empty() {
        format!("there is no `{shown}`: the export still runs, or has failed, or lies elsewhere")
    } else {
        format!("there is no `{shown}`; name one of the exports in that folder: {}", found.join(", "))
    })
}
