//! `cost --by-queries`: the bill of queried collections, here and at other services.

use deltafold::cost::{
    OLD_WAY_FLAT, PRICES_OF, Prices, QueryLoad, chroma_cloud, function_url, query_loads, s3_vectors, turbopuffer,
};
use serde_json::{Value, json};

use super::dollars;
use crate::context::Context;
use crate::exit::Outcome;
use crate::output::Table;
use crate::output::units::count;

const COLUMNS: [&str; 9] = [
    ">records",
    ">dimensions",
    ">queries a month",
    ">function URL",
    ">warm query",
    ">cold query",
    ">Chroma Cloud",
    ">S3 Vectors",
    ">turbopuffer",
];

/// The bills of one load, in dollars at list prices.
struct Row {
    load: QueryLoad,
    here: f64,
    chroma_cloud: f64,
    s3_vectors: f64,
    turbopuffer: f64,
}

impl Row {
    fn new(load: QueryLoad, prices: &Prices) -> Self {
        Self {
            here: function_url(&load, prices).list(),
            chroma_cloud: chroma_cloud(&load, prices).list(),
            s3_vectors: s3_vectors(&load, prices).list(),
            turbopuffer: turbopuffer(&load, prices).list(),
            load,
        }
    }

    fn cells(&self) -> [String; 9] {
        [
            count(self.load.records as u64),
            count(self.load.dimension as u64),
            count(self.load.queries as u64),
            dollars(self.here),
            format!("{:.2} s", self.load.warm_seconds()),
            format!("{:.1} s", self.load.cold_seconds()),
            dollars(self.chroma_cloud),
            dollars(self.s3_vectors),
            dollars(self.turbopuffer),
        ]
    }

    fn document(&self) -> Value {
        json!({
            "records": self.load.records,
            "dimensions": self.load.dimension,
            "queries": self.load.queries,
            "function_url": self.here,
            "function_gb": self.load.memory(),
            "warm_seconds": self.load.warm_seconds(),
            "cold_seconds": self.load.cold_seconds(),
            "cold_queries": self.load.cold_queries(),
            "chroma_cloud": self.chroma_cloud,
            "s3_vectors": self.s3_vectors,
            "turbopuffer": self.turbopuffer,
            "old_way": OLD_WAY_FLAT,
        })
    }
}

/// Prints the table, as text, as Markdown or as JSON.
pub(super) fn print(context: &Context, prices: &Prices, as_markdown: bool) -> Outcome {
    let rows: Vec<Row> = query_loads().into_iter().map(|load| Row::new(load, prices)).collect();
    let output = context.output;
    if output.json {
        let rows: Vec<Value> = rows.iter().map(Row::document).collect();
        return Ok(output.document(&json!({ "prices_of": PRICES_OF, "region": "us-east-1", "loads": rows }))?);
    }
    if as_markdown {
        output.line(markdown(COLUMNS.map(|name| name.trim_start_matches('>').to_owned())))?;
        output.line(markdown(["---:"; 9].map(str::to_owned)))?;
        for row in &rows {
            output.line(markdown(row.cells()))?;
        }
        return Ok(());
    }
    let columns = COLUMNS.map(str::to_uppercase);
    let mut table = Table::new(output, &columns.each_ref().map(String::as_str));
    for row in &rows {
        table.row(row.cells());
    }
    output.table(&table)?;
    output.blank()?;
    Ok(output.line(format!(
        "US dollars a month at list prices of {PRICES_OF} (`--prices` lists them). Each record is written once in the \
         month, and a query returns ten. The old way takes a flat {}, whatever the queries.",
        dollars(OLD_WAY_FLAT)
    ))?)
}

fn markdown(cells: [String; 9]) -> String {
    format!("| {} |", cells.join(" | "))
}
