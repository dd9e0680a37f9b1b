//! Exports of DynamoDB tables to S3 in the documented layout: manifests with their checksums, and
//! compressed data files. The emulator starts exports and writes none.

use std::io::Write as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use md5::{Digest as _, Md5};
use serde_json::{Value, json};

/// The id of every export.
pub const ID: &str = "01693685827463-2d8752fd";

/// Files by their keys below the prefix, in the order in which the service writes them.
pub type Files = Vec<(String, Vec<u8>)>;

/// A full export of these items, in DynamoDB JSON, as of `time`. The last file is empty, as that of
/// an empty partition.
pub fn full(table: &str, time: &str, items: &[Value], files: usize) -> Files {
    let lines: Vec<Value> = items.iter().map(|item| json!({ "Item": item })).collect();
    let more = json!({ "version": "2020-06-30", "exportTime": time, "exportType": "FULL_EXPORT" });
    export(table, &format!("AWSDynamoDB/{ID}/data"), &lines, files, &more)
}

/// An incremental export of these changes up to `time`, each with `Keys` and images. Its files lie
/// beside the export's folder.
pub fn incremental(table: &str, time: &str, changes: &[Value], files: usize) -> Files {
    let more = json!({
        "version": "2023-08-01", "exportFromTime": "2020-11-04T07:00:00Z", "exportToTime": time,
        "exportType": "INCREMENTAL_EXPORT", "outputView": "NEW_AND_OLD_IMAGES",
    });
    export(table, "AWSDynamoDB/data", changes, files, &more)
}

/// The same files without the summary: the export has not ended.
pub fn unfinished(files: Files) -> Files {
    files.into_iter().filter(|(key, _)| !key.contains("manifest-summary")).collect()
}

/// Writes the files below a folder.
pub fn write(folder: &Path, files: &Files) {
    for (key, bytes) in files {
        let path = folder.join(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

fn export(table: &str, data: &str, lines: &[Value], files: usize, more: &Value) -> Files {
    let mut written: Files = vec![(format!("AWSDynamoDB/{ID}/_started"), Vec::new())];
    let mut list = String::new();
    let each = lines.len().div_ceil(files.max(1)).max(1);
    let parts = lines.chunks(each).chain([&[][..]]);
    for (number, part) in parts.enumerate() {
        let text: String = part.iter().map(|line| format!("{line}\n")).collect();
        let bytes = gzip(text.as_bytes());
        // The names of the service are in no order.
        let key = format!("{data}/{:08x}-{number}.json.gz", (number as u32).wrapping_mul(2_654_435_761));
        let entry = json!({
            "itemCount": part.len(), "md5Checksum": STANDARD.encode(Md5::digest(&bytes)), "etag": "0123-1", "dataFileS3Key": key,
        });
        list.push_str(&format!("{entry}\n"));
        written.push((key, bytes));
    }
    let arn = format!("arn:aws:dynamodb:us-east-1:123456789012:table/{table}");
    let mut summary = json!({
        "exportArn": format!("{arn}/export/{ID}"), "startTime": "2020-11-04T07:28:34.028Z", "endTime": "2020-11-04T07:33:43.897Z",
        "tableArn": arn, "tableId": "12345a12-abcd-123a-ab12-1234abc12345", "s3Bucket": "bucket", "s3Prefix": null,
        "s3SseAlgorithm": "AES256", "s3SseKmsKeyId": null, "manifestFilesS3Key": format!("AWSDynamoDB/{ID}/manifest-files.json"),
        "billedSizeBytes": 0, "itemCount": lines.len(), "outputFormat": "DYNAMODB_JSON",
    });
    summary.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    for (name, text) in [("manifest-files", list), ("manifest-summary", summary.to_string())] {
        let digest = STANDARD.encode(Md5::digest(text.as_bytes()));
        written.push((format!("AWSDynamoDB/{ID}/{name}.json"), text.into_bytes()));
        written.push((format!("AWSDynamoDB/{ID}/{name}.md5"), digest.into_bytes()));
    }
    written
}

/// Compresses as the service does.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
