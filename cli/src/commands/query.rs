//! `query`: finds the nearest neighbours of vectors.

use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueEnum};
use deltafold::format::CollectionName;
use deltafold::jsonl::{self, Fields};
use deltafold::{Answer, Exactness, Filter, Include, Matcher, Query as Question, Reader};
use serde_json::{Value, json};

use super::get::{AtArguments, cut, text};
use crate::context::Context;
use crate::exit::{Exit, Failure, Outcome};
use crate::input::Limit;
use crate::output::Table;
use crate::output::units::{bytes, count, counted};
use crate::whered::WhereArguments;

/// The largest file of vectors.
const VECTORS: Limit = Limit(256 << 20);

/// Find the records whose embeddings are nearest to a vector
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("asked").required(true).args(["vector_from", "vector", "vectors"]))]
pub(crate) struct Query {
    /// The collection
    collection: CollectionName,
    /// Search with the embedding of this record; it finds itself first
    #[arg(long, value_name = "ID")]
    vector_from: Option<String>,
    /// Search with this vector, a JSON list of numbers
    #[arg(long, value_name = "JSON", allow_hyphen_values = true)]
    vector: Option<String>,
    /// Search with every vector of this file, one JSON list a line; `-` is standard input
    #[arg(long, value_name = "FILE")]
    vectors: Option<PathBuf>,
    /// The number of records to find
    #[arg(long, short, value_name = "N", default_value_t = 10)]
    k: usize,
    #[command(flatten)]
    filter: WhereArguments,
    /// The fields to print, separated by commas
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["metadata", "document"])]
    include: Vec<Field>,
    /// Print ids and distances alone
    #[arg(long, conflicts_with = "include")]
    ids_only: bool,
    /// Prove that no record is nearer (default)
    #[arg(long, conflicts_with = "approximate")]
    exact: bool,
    /// Search codes of one bit a dimension, and compare this many candidates closely
    #[arg(long, value_name = "CANDIDATES", num_args = 0..=1, default_missing_value = "0")]
    approximate: Option<usize>,
    /// Explain the answer: plan, rows, requests, bytes, and the time of each stage
    #[arg(long)]
    explain: bool,
    #[command(flatten)]
    at: AtArguments,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Field {
    Embedding,
    Metadata,
    Document,
}

impl Query {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let filter = self.filter.filter()?;
        let reader = match (self.at.is_latest(), &filter) {
            (true, None) => {
                let collection = context.collection_to_read(&self.collection).await?;
                collection.reader_to_search(self.exactness()).await?
            }
            (true, Some(_)) => context.reader(&self.collection).await?.1,
            (false, _) => self.at.reader(&context.collection(&self.collection).await?).await?,
        };
        let vectors = self.asked(&reader).await?;
        let questions: Vec<Question> =
            vectors.into_iter().map(|vector| self.question(vector, filter.as_ref())).collect();
        let answers = reader.search(&questions).await?;
        let people = !context.output.json && context.output.is_terminal();
        let filter = filter.map(|filter| filter.matcher().map_err(deltafold::Error::from)).transpose()?;
        let plan = Plan { exactness: self.exactness(), filter };
        for (number, answer) in answers.iter().enumerate() {
            match people {
                true => self.show(context, number, answers.len(), answer, &plan)?,
                false => self.print(context, number, answer, &plan)?,
            }
        }
        Ok(())
    }

    /// The vectors to search with.
    async fn asked(&self, reader: &Reader) -> Outcome<Vec<Vec<f32>>> {
        if let Some(id) = &self.vector_from {
            let Some(entry) = reader.get(id).await? else {
                let problem = format!("`{}` holds no record `{id}`", self.collection);
                return Err(Failure::new(Exit::NotFound, problem).help("name a record that `get` finds"));
            };
            let Some(embedding) = entry.record.embedding else {
                let problem = format!("record `{id}` has no embedding");
                return Err(Failure::new(Exit::BadInput, problem).help("name a record that has one, or give a vector"));
            };
            return Ok(vec![embedding]);
        }
        if let Some(vector) = &self.vector {
            return Ok(vec![parse(vector).map_err(|why| wrong("`--vector`", &why))?]);
        }
        let Some(path) = &self.vectors else { return Ok(Vec::new()) };
        let content = crate::input::read_text(path, "vectors, one JSON list a line", VECTORS)?;
        let lines = content.lines().zip(1_u64..).filter(|(line, _)| !line.trim().is_empty());
        let vector = |(line, number): (&str, u64)| {
            parse(line).map_err(|why| wrong(&format!("line {number} of `{}`", path.display()), &why))
        };
        lines.map(vector).collect()
    }

    fn exactness(&self) -> Exactness {
        match self.approximate {
            None => Exactness::Exact,
            Some(0) => Exactness::Approximate { candidates: (self.k.saturating_mul(10)).max(100) },
            Some(candidates) => Exactness::Approximate { candidates },
        }
    }

    fn question(&self, vector: Vec<f32>, filter: Option<&Filter>) -> Question {
        let question = Question::new(vector, self.k).exactness(self.exactness()).include(self.included());
        match filter {
            Some(filter) => question.filter(filter.clone()),
            None => question,
        }
    }

    fn included(&self) -> Include {
        let wants = |field| !self.ids_only && self.include.contains(&field);
        Include::default()
            .embedding(wants(Field::Embedding))
            .metadata(wants(Field::Metadata))
            .document(wants(Field::Document))
    }

    /// Prints one line of JSON for each hit, and one of explanation.
    fn print(&self, context: &Context, number: usize, answer: &Answer, plan: &Plan) -> Outcome {
        let Include { embedding, metadata, document, .. } = self.included();
        let fields = Fields::default().embedding(embedding).metadata(metadata).document(document);
        for hit in &answer.hits {
            let mut record = Vec::new();
            jsonl::write_record(&mut record, &hit.entry.id, &hit.entry.record, fields);
            let mut line = format!("{{\"query\":{number},\"distance\":{},", json!(hit.distance)).into_bytes();
            line.extend_from_slice(record.strip_prefix(b"{").unwrap_or(&record));
            context.output.json_text(line)?;
        }
        if self.explain {
            context.output.json_line(&json!({ "query": number, "plan": plan.json(), "work": work(answer) }))?;
        }
        Ok(())
    }

    /// Prints a table for people.
    fn show(&self, context: &Context, number: usize, queries: usize, answer: &Answer, plan: &Plan) -> Outcome {
        if queries > 1 {
            context.output.heading(format!("query {number}"))?;
        }
        let include = self.included();
        let mut columns = vec![">DISTANCE", "ID"];
        columns.extend(include.metadata.then_some("METADATA"));
        columns.extend(include.document.then_some("DOCUMENT"));
        columns.extend(include.embedding.then_some("EMBEDDING"));
        let mut table = Table::new(context.output, &columns);
        for hit in &answer.hits {
            let record = &hit.entry.record;
            let mut row = vec![format!("{:.6}", hit.distance), hit.entry.id.clone()];
            if include.metadata {
                let shown: Vec<String> =
                    record.metadata.iter().map(|(key, value)| format!("{key}={}", text(value))).collect();
                row.push(cut(&shown.join(" "), 60));
            }
            if include.document {
                row.push(cut(&record.document.as_deref().unwrap_or_default().replace('\n', " "), 60));
            }
            if include.embedding {
                let shown: Vec<String> =
                    record.embedding.iter().flatten().take(4).map(|value| format!("{value:.3}")).collect();
                row.push(format!("[{}, …]", shown.join(", ")));
            }
            table.row(row);
        }
        if answer.hits.is_empty() {
            context.output.line("no record that matches has an embedding")?;
        } else {
            context.output.table(&table)?;
        }
        if self.explain {
            context.output.blank()?;
            context.output.card("how it was found", &explanation(plan, answer))?;
        }
        Ok(())
    }
}

/// A vector from its JSON form.
fn parse(text: &str) -> Result<Vec<f32>, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| format!("it is not JSON: {error}"))?;
    let list = value.as_array().or_else(|| value.get("embedding").and_then(Value::as_array));
    let Some(list) = list else { return Err("it is not a list of numbers".to_owned()) };
    let number = |(at, value): (usize, &Value)| {
        #[expect(clippy::cast_possible_truncation, reason = "an embedding is of f32, and what overflows is refused")]
        let number = value.as_f64().map(|number| number as f32).filter(|number| number.is_finite());
        number.ok_or_else(|| format!("element {at} is not a number that an f32 can hold"))
    };
    list.iter().enumerate().map(number).collect()
}

fn wrong(what: &str, why: &str) -> Failure {
    Failure::new(Exit::BadInput, format!("{what} cannot be used: {why}"))
        .help("a vector is a JSON list of numbers, as in `[0.1, -0.2]`")
}

fn work(answer: &Answer) -> Value {
    let work = answer.work;
    let stages: serde_json::Map<String, Value> =
        work.stages.iter().map(|(name, took)| (name.to_owned(), json!(took.as_secs_f64() * 1e3))).collect();
    json!({
        "coded": work.coded, "ruled_out": work.ruled_out, "read": work.read, "from_log": work.from_log,
        "requests": work.requests, "bytes": work.bytes, "milliseconds": stages,
    })
}

/// The order in which a search decides: by the filter, then by codes, then by rows in f32.
struct Plan {
    exactness: Exactness,
    filter: Option<Matcher>,
}

impl Plan {
    fn json(&self) -> Value {
        let filter = self.filter.as_ref();
        let filter = filter.map(|filter| json!({ "keys": filter.keys(), "documents": filter.reads_documents() }));
        match self.exactness {
            Exactness::Approximate { candidates } => json!({ "filter": filter, "bits": 1, "candidates": candidates }),
            _ => json!({ "filter": filter, "bits": 8 }),
        }
    }

    fn filter(&self) -> String {
        let Some(filter) = &self.filter else { return "none".to_owned() };
        let keys = filter.keys().into_iter().map(|key| format!("column `{key}`"));
        let documents = filter.reads_documents().then(|| "documents".to_owned());
        let read: Vec<String> = keys.chain(documents).collect();
        if read.is_empty() { "no column".to_owned() } else { read.join(", ") }
    }

    fn search(&self) -> String {
        match self.exactness {
            Exactness::Approximate { candidates } => {
                format!("codes of 1 bit, then {} closely", counted(candidates as u64, "candidate"))
            }
            _ => "codes of 8 bits, then the embeddings that they leave over".to_owned(),
        }
    }
}

fn explanation(plan: &Plan, answer: &Answer) -> Vec<(String, String)> {
    let work = answer.work;
    let mut lines = vec![
        ("filter".to_owned(), plan.filter()),
        ("search".to_owned(), plan.search()),
        ("codes compared".to_owned(), count(work.coded)),
        ("ruled out by them".to_owned(), count(work.ruled_out)),
        (
            "read in full".to_owned(),
            format!("{}, {} of the log", counted(work.read, "embedding"), count(work.from_log)),
        ),
        ("requests".to_owned(), count(work.requests)),
        ("bytes fetched".to_owned(), bytes(work.bytes)),
    ];
    let stage =
        |(name, took): (&str, std::time::Duration)| (name.to_owned(), format!("{:.2} ms", took.as_secs_f64() * 1e3));
    lines.extend(work.stages.iter().map(stage));
    lines
}
