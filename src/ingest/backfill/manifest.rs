//! The manifests of an export: its summary, and the list of its data files.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

/// The content of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExportKind {
    /// Every item of the table at one time.
    Full,
    /// The items that changed in a period, each as it was and as it became.
    Incremental,
}

/// `manifest-summary.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) export_arn: String,
    pub(super) table_arn: String,
    pub(super) kind: ExportKind,
    /// The time to which the export shows the table, as the service writes it.
    pub(super) time: String,
    /// The same in microseconds since 1970.
    pub(super) time_micros: u64,
    pub(super) items: u64,
    /// The key of the list of files.
    pub(super) files_key: String,
}

/// A data file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DataFile {
    /// Its key, as the manifest names it.
    pub(super) key: String,
    pub(super) items: u64,
    /// The MD5 digest of its bytes, compressed as they are.
    pub(super) md5: Option<[u8; 16]>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawSummary {
    export_arn: String,
    table_arn: String,
    export_type: Option<String>,
    export_time: Option<String>,
    export_to_time: Option<String>,
    item_count: u64,
    output_format: String,
    #[serde(rename = "manifestFilesS3Key")]
    files_key: String,
}

#[derive(Deserialize)]
struct RawFile {
    #[serde(rename = "dataFileS3Key")]
    key: String,
    #[serde(rename = "itemCount")]
    items: u64,
    #[serde(rename = "md5Checksum")]
    md5: Option<String>,
}

impl Summary {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let raw: RawSummary = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if raw.output_format != "DYNAMODB_JSON" {
            let found = &raw.output_format;
            return Err(format!(
                "the export is in the format {found}, and only DynamoDB JSON can be read; export the table again with \
                 `--export-format DYNAMODB_JSON`"
            ));
        }
        let kind = match raw.export_type.as_deref() {
            None | Some("FULL_EXPORT") => ExportKind::Full,
            Some("INCREMENTAL_EXPORT") => ExportKind::Incremental,
            Some(other) => {
                return Err(format!("`exportType` is `{other}`; known are FULL_EXPORT and INCREMENTAL_EXPORT"));
            }
        };
        let (field, time) = match kind {
            ExportKind::Full => ("exportTime", raw.export_time),
            ExportKind::Incremental => ("exportToTime", raw.export_to_time),
        };
        let time = time.ok_or_else(|| format!("`{field}` is missing"))?;
        let parsed: jiff::Timestamp = time.parse().map_err(|error| format!("`{field}`: {error}"))?;
        let time_micros =
            u64::try_from(parsed.as_microsecond()).map_err(|_| format!("`{field}` lies before 1970: `{time}`"))?;
        Ok(Self {
            export_arn: raw.export_arn,
            table_arn: raw.table_arn,
            kind,
            time,
            time_micros,
            items: raw.item_count,
            files_key: raw.files_key,
        })
    }

    /// The name of the table, or its ARN where that has another form.
    pub(super) fn table(&self) -> &str {
        let name = self.table_arn.split_once(":table/").and_then(|(_, rest)| rest.split('/').next());
        name.unwrap_or(&self.table_arn)
    }
}

/// Parses the list of data files, and compares its sum with the summary's.
pub(super) fn parse_files(bytes: &[u8], items: u64) -> Result<Vec<DataFile>, String> {
    let mut files = Vec::new();
    for (number, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let wrong = |reason: String| format!("line {number}: {reason}");
        let raw: RawFile = serde_json::from_slice(line).map_err(|error| wrong(error.to_string()))?;
        let md5 = match &raw.md5 {
            None => None,
            Some(text) => Some(md5_of_text(text).ok_or_else(|| wrong(format!("`md5Checksum` is no MD5: `{text}`")))?),
        };
        files.push(DataFile { key: raw.key, items: raw.items, md5 });
    }
    let sum: u64 = files.iter().fold(0, |sum, file| sum.saturating_add(file.items));
    if sum != items {
        return Err(format!("its files hold {sum} items, and the summary says {items}"));
    }
    Ok(files)
}

/// An MD5 digest as Base64, as the service writes it, or as hexadecimal digits.
pub(super) fn md5_of_text(text: &str) -> Option<[u8; 16]> {
    let text = text.trim_ascii();
    if text.len() == 32 {
        let number = u128::from_str_radix(text, 16).ok()?;
        return Some(number.to_be_bytes());
    }
    STANDARD.decode(text).ok()?.try_into().ok()
}

/// Where a data file lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Within {
    /// In the folder of the export.
    Export(String),
    /// In the folder above, as the files of incremental exports do.
    Beside(String),
}

/// The place of a file, from its key and that of the list of files. So an export can be copied
/// elsewhere as a folder.
pub(super) fn place_of(key: &str, files_key: &str) -> Result<Within, String> {
    let strange = || format!("`{key}` lies outside of the export `{files_key}`");
    let Some((folder, _)) = files_key.rsplit_once('/') else {
        return Ok(Within::Export(key.to_owned()));
    };
    if let Some(name) = key.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/')) {
        return Ok(Within::Export(name.to_owned()));
    }
    let name = match folder.rsplit_once('/') {
        Some((above, _)) => key.strip_prefix(above).and_then(|rest| rest.strip_prefix('/')),
        None => Some(key),
    };
    name.map(|name| Within::Beside(name.to_owned())).ok_or_else(strange)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = r#"{"version":"2020-06-30","exportArn":"arn:aws:dynamodb:us-east-1:1:table/T/export/0160-a",
        "startTime":"2020-11-04T07:28:34.028Z","endTime":"2020-11-04T07:33:43.897Z","tableArn":"arn:aws:dynamodb:us-east-1:1:table/T",
        "tableId":"i","exportTime":"2020-11-04T07:28:34.028Z","s3Bucket":"b","s3Prefix":"2020-Nov","s3SseAlgorithm":"AES256",
        "s3SseKmsKeyId":null,"manifestFilesS3Key":"2020-Nov/AWSDynamoDB/0160-a/manifest-files.json","billedSizeBytes":0,
        "itemCount":8,"outputFormat":"DYNAMODB_JSON"}"#;

    #[test]
    fn summaries_of_both_kinds_are_read() {
        let full = Summary::parse(FULL.as_bytes()).unwrap();
        assert_eq!((full.kind, full.table(), full.items), (ExportKind::Full, "T", 8));
        assert_eq!(full.time_micros, 1_604_474_914_028_000);
        let incremental = FULL.replace(
            "\"exportTime\":\"2020-11-04T07:28:34.028Z\"",
            r#""exportType":"INCREMENTAL_EXPORT","exportFromTime":"2020-11-04T07:00:00Z","exportToTime":"2020-11-04T08:00:00Z","outputView":"NEW_IMAGE""#,
        );
        let incremental = Summary::parse(incremental.as_bytes()).unwrap();
        assert_eq!((incremental.kind, incremental.time.as_str()), (ExportKind::Incremental, "2020-11-04T08:00:00Z"));
    }

    #[test]
    fn other_summaries_are_refused_with_the_reason() {
        for (from, to, words) in [
            ("DYNAMODB_JSON", "ION", "`--export-format DYNAMODB_JSON`"),
            ("\"itemCount\":8,", "", "itemCount"),
            ("\"exportTime\":\"2020-11-04T07:28:34.028Z\"", "\"exportTime\":\"soon\"", "`exportTime`"),
            ("\"exportTime\":\"2020-11-04T07:28:34.028Z\",", "", "`exportTime` is missing"),
            ("\"exportTime\":\"2020", "\"exportTime\":\"1920", "before 1970"),
            ("\"version\"", "\"exportType\":\"HALF\",\"version\"", "`exportType` is `HALF`"),
        ] {
            let reason = Summary::parse(FULL.replace(from, to).as_bytes()).unwrap_err();
            assert!(reason.contains(words), "{to}: {reason}");
        }
    }

    #[test]
    fn files_are_listed_with_counts_and_digests() {
        let line = r#"{"itemCount":8,"md5Checksum":"sQMSpEILNgoQmarvDFonGQ==","etag":"af83d6f2-1","dataFileS3Key":"d/a.json.gz"}"#;
        let files = parse_files(format!("{line}\n\n").as_bytes(), 8).unwrap();
        assert_eq!(files[0].md5, md5_of_text("b10312a4420b360a1099aaef0c5a2719"));
        assert!(files[0].md5.is_some());
        assert!(parse_files(line.as_bytes(), 9).unwrap_err().contains("hold 8 items, and the summary says 9"));
        let bad = line.replace("sQMS", "sQ==");
        assert!(parse_files(format!("{line}\n{bad}").as_bytes(), 16).unwrap_err().starts_with("line 2: `md5Checksum`"));
        assert!(parse_files(b"[", 0).unwrap_err().starts_with("line 1: "));
    }

    #[test]
    fn a_copied_export_finds_its_files() {
        let (export, beside) =
            (|name: &str| Ok(Within::Export(name.into())), |name: &str| Ok(Within::Beside(name.into())));
        let files = "p/AWSDynamoDB/01-a/manifest-files.json";
        assert_eq!(place_of("p/AWSDynamoDB/01-a/data/x.json.gz", files), export("data/x.json.gz"));
        assert_eq!(place_of("p/AWSDynamoDB/data/x.json.gz", files), beside("data/x.json.gz"));
        assert_eq!(place_of("data/x.json.gz", "manifest-files.json"), export("data/x.json.gz"));
        assert_eq!(place_of("data/x", "01-a/manifest-files.json"), beside("data/x"));
        assert!(place_of("q/data/x", files).is_err());
        assert!(place_of("p/AWSDynamoDB2/data/x", files).is_err());
    }
}
