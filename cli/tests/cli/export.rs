//! `export`, and `append` of Parquet and Arrow files: out and in again, and read by others.

use std::process::Command;

use deltafold_testing::venv;
use serde_json::json;

use crate::home::{Home, puts};

const REQUIREMENTS: &str = include_str!("export-requirements.txt");

/// Reads an export with the programs that people use.
const READ: &str = r#"
import glob, json, sys
import duckdb, pandas, polars, pyarrow.feather, pyarrow.parquet
parquet = pyarrow.parquet.read_table("exported.parquet")
arrow = pyarrow.feather.read_table("exported.arrow")
assert parquet.equals(arrow), (parquet.schema, arrow.schema)
about = {k.decode(): v.decode() for k, v in parquet.schema.metadata.items() if k.startswith(b"deltafold.")}
parts = sorted(glob.glob("parts/part-*.parquet"))
count, total = duckdb.sql("select count(*), sum(metadata.n) from 'parts/*.parquet'").fetchall()[0]
for frame in polars.read_parquet("exported.parquet"), polars.read_ipc("exported.arrow"):
    assert frame.schema["embedding"] == polars.Array(polars.Float32, 2), frame.schema
    assert frame["id"].to_list() == parquet["id"].to_pylist()
    assert frame["embedding"].to_list() == parquet["embedding"].to_pylist()
    assert frame["metadata"].struct.field("n").sum() == total
assert polars.scan_parquet("parts/*.parquet").select(polars.len()).collect().item() == count
frame = pandas.read_parquet("exported.parquet")
assert list(frame["id"]) == parquet["id"].to_pylist()
assert list(frame["embedding"][0]) == [0.0, 0.5] and frame["embedding"][1] is None, frame
assert frame["metadata"][0]["n"] == 0 and frame["document"][3] == "text 3", frame
rows = parquet.slice(0, 2).to_pylist()
print(json.dumps({"about": about, "parts": len(parts), "count": count, "sum": int(total), "rows": rows,
                  "types": {field.name: str(field.type) for field in parquet.schema}}))
"#;

/// Writes files as data sets of embeddings are published.
const WRITE: &str = r#"
import pyarrow as pa, pyarrow.feather, pyarrow.parquet
table = pa.table({
    "_id": pa.array([10, 11, 12], pa.int64()),
    "emb": pa.array([[1.0, 2.0], [0.5, -0.0], None], pa.list_(pa.float64())),
    "title": pa.array(["a", None, ""]).dictionary_encode(),
    "tags": pa.array([["x", "y"], [], None], pa.list_(pa.large_string())),
    "year": pa.array([1, 2, None], pa.uint16()),
    "text": ["first", None, ""],
})
pyarrow.parquet.write_table(table, "zstd.parquet", compression="zstd", row_group_size=2)
pyarrow.parquet.write_table(table, "gzip.parquet", compression="gzip", data_page_version="2.0")
pyarrow.feather.write_feather(table, "lz4.feather", compression="lz4")
pyarrow.feather.write_feather(table, "zstd.feather", compression="zstd", chunksize=1)
with pa.OSFile("stream.arrow", "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
    writer.write_table(table)
half = table.set_column(1, "emb", pa.FixedSizeListArray.from_arrays(pa.array([1, 2, 0.5, -0.0, 0, 0], pa.float16()), 2))
pyarrow.parquet.write_table(half.slice(0, 2), "half.parquet")
bad = table.set_column(4, "year", pa.array([1, 2, 3], pa.date32()))
pyarrow.parquet.write_table(bad, "dates.parquet")
nan = table.set_column(1, "emb", pa.array([[1.0, 2.0], [0.5, float("nan")], None], pa.list_(pa.float64())))
pyarrow.parquet.write_table(nan, "nan.parquet")
null = table.set_column(1, "emb", pa.array([[1.0, 2.0], [0.5, None], None], pa.list_(pa.float64())))
pyarrow.feather.write_feather(null, "null.feather")
"#;

fn python(home: &Home, script: &str) -> String {
    let python = venv::installed("export", REQUIREMENTS).join("bin/python");
    home.write("script.py", script);
    venv::run(Command::new(python).arg("script.py").current_dir(home.path()))
}

#[test]
fn exports_are_read_by_duckdb_polars_and_pandas() {
    let home = Home::with_records(2_000);
    home.run_with(
        "append c",
        "{\"op\":\"patch\",\"id\":\"r001\",\"embedding\":null,\"metadata\":{\"n\":null,\"m\":1}}\n",
    )
    .ok();
    home.run_with("append c", "{\"op\":\"patch\",\"id\":\"r002\",\"metadata\":{\"m\":\"two\"}}\n").ok();
    home.run("export c --format parquet --out exported.parquet").ok().says("2,000 records in 1 file");
    home.run("export c --format arrow --out exported.arrow").ok();
    let parts = home.run("--json export c --format parquet --out parts --file-size 40KiB").ok().json();
    let files = parts["files"].as_array().expect("a list").len();
    assert!(files > 1 && parts["records"] == 2_000, "{parts}");
    let read: serde_json::Value = serde_json::from_str(&python(&home, READ)).expect("JSON");
    assert_eq!((&read["parts"], &read["count"]), (&json!(files), &json!(2_000)));
    assert_eq!(read["sum"], json!((0..2_000).sum::<i64>() - 1));
    assert_eq!(
        (&read["about"]["deltafold.collection"], &read["about"]["deltafold.metric"]),
        (&json!("c"), &json!("l2"))
    );
    assert!(read["types"]["embedding"].as_str().is_some_and(|kind| kind.contains("fixed_size_list")), "{read}");
    let row = json!({ "id": "r000", "embedding": [0.0, 0.5], "document": "text 0", "metadata": { "n": 0 }, "metadata_json": null });
    assert_eq!(read["rows"][0], row);
    assert_eq!(read["rows"][1]["embedding"], json!(null));
    assert_eq!(read["rows"][1]["metadata_json"], json!("{\"m\":1}"));
    // And in again, all of it equal.
    for (number, input) in ["exported.parquet", "exported.arrow"].into_iter().enumerate() {
        home.run(&format!("create again{number} --dimension 2")).ok();
        home.run(&format!("append again{number} {input}")).ok().says("2,000 ops");
        let scan = |name: &str| home.run(&format!("scan {name} --order insertion")).ok().stdout;
        assert_eq!(scan("c"), scan(&format!("again{number}")));
    }
}

#[test]
fn published_data_sets_come_in() {
    let home = Home::new();
    python(&home, WRITE);
    let expected = "{\"id\":\"10\",\"embedding\":[1.0,2.0],\"metadata\":{\"tags\":[\"x\",\"y\"],\"title\":\"a\",\"year\":1},\"document\":\"first\"}\n\
        {\"id\":\"11\",\"embedding\":[0.5,-0.0],\"metadata\":{\"tags\":[],\"year\":2},\"document\":null}\n\
        {\"id\":\"12\",\"embedding\":null,\"metadata\":{\"title\":\"\"},\"document\":\"\"}\n";
    for (number, file) in
        ["zstd.parquet", "gzip.parquet", "lz4.feather", "zstd.feather", "stream.arrow"].into_iter().enumerate()
    {
        home.run(&format!("create c{number} --dimension 2")).ok();
        home.run(&format!("append c{number} {file} --source s")).ok().says("3 ops");
        assert_eq!(home.run(&format!("scan c{number}")).ok().stdout, expected, "{file}");
        home.run(&format!("append c{number} {file} --source s")).ok().says("3 of them had been appended before");
    }
    home.run("create c --dimension 2").ok();
    home.run("append c half.parquet").ok();
    assert_eq!(home.run("get c 10 11").ok().stdout.lines().count(), 2);
    let dates = home.run("append c dates.parquet").ends_with(3);
    assert!(dates.stderr.contains("dates.parquet: column `year`: it holds values of the type Date32"), "{dates:?}");
    home.run("append c dates.parquet --columns metadata=title,metadata=tags").ok();
    let nan = home.run("--json append c nan.parquet").ends_with(3).json_error();
    assert_eq!((&nan["row"], &nan["column"], &nan["acknowledged_ops"]), (&json!(2), &json!("emb[1]"), &json!(1)));
    let null = home.run("append c null.feather --source n").ends_with(3);
    assert!(null.stderr.contains("null.feather: row 2: column `emb`: number 1 of the embedding is null"), "{null:?}");
    assert!(null.stderr.contains("row 1 and all before it are acknowledged"), "{null:?}");
    assert!(null.stderr.contains("--source n --from-line 2"), "{null:?}");
}

#[test]
fn an_export_is_whole_or_not_there() {
    let home = Home::with_records(30);
    home.run("export c --format jsonl --out out.jsonl").ok();
    home.run("create again --dimension 2").ok();
    home.run("append again out.jsonl").ok();
    assert_eq!(home.run("scan c").stdout, home.run("scan again").stdout);
    home.run("export c --format jsonl --out out.jsonl").ends_with(2).complains("exists already");
    home.run("export c --format jsonl --out out.jsonl --overwrite").ok();
    // An interrupted export leaves its folder. The next one replaces it, but not files of others.
    let partial = home.path().join("parts.partial");
    std::fs::create_dir(&partial).expect("a folder");
    std::fs::write(partial.join("part-00007.jsonl"), "half a li").expect("a file");
    home.run("export c --format jsonl --out parts --file-size 1KiB").ok();
    assert!(!partial.exists() && !home.path().join("parts/part-00007.jsonl").exists());
    std::fs::create_dir(home.path().join("mine.partial")).expect("a folder");
    home.write("mine.partial/notes.txt", "mine");
    home.run("export c --format jsonl --out mine").ends_with(1).complains("`notes.txt` in it is not part of an export");
    home.run("export c --format jsonl --out parts").ends_with(2).complains("exists already");
    // A damaged collection breaks the export off.
    home.run("compact c").ok();
    let part = home.files(".meta").pop().expect("a part");
    let mut bytes = std::fs::read(&part).expect("a part");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&part, bytes).expect("damaged");
    home.run("export c --format parquet --out broken.parquet").ends_with(6);
    assert!(!home.path().join("broken.parquet").exists());
}

#[test]
fn a_version_is_exported_by_its_number_or_pin() {
    let home = Home::with_records(3);
    home.run("compact c").ok();
    home.run("pin c p").ok();
    home.run_with("append c", &puts(9)).ok();
    for at in ["--pin p", "--version 1"] {
        let report = home.run(&format!("--json export c --format jsonl --out out.jsonl --overwrite {at}")).ok().json();
        assert_eq!((&report["records"], &report["versions"]), (&json!(3), &json!([1])));
    }
}
