//! `cost`: the monthly cost of a pipeline, of queries, and of their alternatives.

mod queries;

use std::path::Path;
use std::time::Duration;

use clap::{Args, ValueEnum};
use deltafold::cost::{
    Bill, Counted, Hosted, Item, Load, MINUTES, OldWay, PRICES_OF, Prices, Source, bill, counted, file_system, hosted,
    old_way, written,
};
use deltafold::store::RequestKind;
use serde_json::{Value, json};

use crate::context::Context;
use crate::exit::{Exit, Failure, Outcome};
use crate::input::{Limit, read_text};
use crate::output::Table;
use crate::output::units::{count, parse_bytes, parse_span};

/// A document of `status --requests` is a few kilobytes a collection.
const MAX_REQUESTS: Limit = Limit(64 << 20);

/// Estimate the monthly cost of a pipeline
///
/// It uses rates and the formulas of `docs/costs.md`. With `--requests-of` it uses counted requests
/// instead. It asks no service for anything.
#[derive(Debug, Args)]
pub(crate) struct Cost {
    /// Changes a minute, day and night
    #[arg(long, value_name = "N", default_value_t = 30.0, value_parser = parse_rate)]
    messages: f64,
    /// The way that changes arrive
    #[arg(long, value_enum, default_value_t = SourceArgument::Stream)]
    source: SourceArgument,
    /// The batching window; a FIFO queue has none
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = parse_span)]
    window: Duration,
    /// Shards of the stream with changes at a time, or pollers of the standard queue
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    shards: u32,
    /// Shards of the collection
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    log_shards: u32,
    /// Records in the collection
    #[arg(long, value_name = "N", default_value_t = 70_000)]
    records: u64,
    /// Size of a record, embedding included
    #[arg(long, value_name = "SIZE", default_value = "8600", value_parser = parse_size)]
    record_size: u64,
    /// Time between folds
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = parse_span)]
    fold_every: Duration,
    /// Readers that poll for changes all the time
    #[arg(long, value_name = "N", default_value_t = 0)]
    readers: u32,
    /// Time between their polls
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_span)]
    poll: Duration,
    /// Queries a month, for the hosted collection
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    queries: u64,
    /// The heads are in a DynamoDB table
    #[arg(long)]
    heads_in_table: bool,
    /// A file with the output of `--requests --json`: use its counted requests instead of formulas
    #[arg(long, value_name = "FILE", requires = "covering")]
    requests_of: Option<String>,
    /// The time that the counted requests of that file cover
    #[arg(long, value_name = "TIME", requires = "requests_of", value_parser = parse_span)]
    covering: Option<Duration>,
    /// Replace a price, as in `s3.put=0.000006`
    #[arg(long, value_name = "NAME=DOLLARS")]
    price: Vec<String>,
    /// List the prices, their date and their sources
    #[arg(long)]
    prices: bool,
    /// Compare collections of several sizes and numbers of queries, behind a function URL and at
    /// other services
    #[arg(long, conflicts_with = "prices")]
    by_queries: bool,
    /// Print that comparison as Markdown
    #[arg(long, requires = "by_queries", conflicts_with = "json")]
    markdown: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum SourceArgument {
    /// The function reads the table's stream, with a window
    Stream,
    /// A forwarder packs each window of the stream into one message of a FIFO queue
    Forwarder,
    /// A FIFO queue carries one message for each change
    Fifo,
    /// A standard queue carries one message for each change, with a window
    Standard,
}

impl From<SourceArgument> for Source {
    fn from(argument: SourceArgument) -> Self {
        match argument {
            SourceArgument::Stream => Self::Stream,
            SourceArgument::Forwarder => Self::Forwarder,
            SourceArgument::Fifo => Self::Fifo,
            SourceArgument::Standard => Self::Standard,
        }
    }
}

fn parse_rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "expected a number".to_owned())?;
    if (0.0..=1.0e9).contains(&rate) { Ok(rate) } else { Err("expected a number from 0 to a billion".to_owned()) }
}

fn parse_size(text: &str) -> Result<u64, String> {
    let size = parse_bytes(text)?;
    if size == 0 { Err("expected at least one byte".to_owned()) } else { Ok(size) }
}

impl Cost {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        let mut prices = Prices::default();
        for price in &self.price {
            let wrong = |reason: String| Failure::new(Exit::Usage, format!("`--price {price}`: {reason}"));
            let (name, dollars) = price.split_once('=').ok_or_else(|| wrong("expected NAME=DOLLARS".to_owned()))?;
            let dollars = dollars.parse().map_err(|_| wrong(format!("`{dollars}` is not a number")))?;
            prices.set(name, dollars).map_err(wrong)?;
        }
        if self.prices {
            return list(context, &prices);
        }
        if self.by_queries {
            return queries::print(context, &prices, self.markdown);
        }
        let load = Load {
            messages: self.messages,
            records: self.records as f64,
            record_bytes: self.record_size as f64,
            source: self.source.into(),
            window: self.window.as_secs_f64(),
            shards: self.shards.into(),
            log_shards: self.log_shards.into(),
            fold_minutes: self.fold_every.as_secs_f64() / 60.0,
            readers: self.readers.into(),
            poll: self.poll.as_secs_f64(),
            heads_in_table: self.heads_in_table,
            ..Load::default()
        };
        let mut this = bill(&load, &prices);
        if let (Some(file), Some(covering)) = (&self.requests_of, self.covering) {
            let factor = MINUTES * 60.0 / covering.as_secs_f64();
            replace_requests(&mut this, counted(&read(file)?, factor, &prices));
        }
        let old = OldWay { messages: self.messages, ..OldWay::default() };
        let hosted_load = Hosted {
            messages: self.messages,
            change_bytes: load.record_bytes,
            stored: load.records * load.record_bytes,
            queries: self.queries as f64,
        };
        let mut others: Vec<(String, Bill)> = Vec::new();
        for (source, name) in [
            (SourceArgument::Stream, "stream with a window"),
            (SourceArgument::Forwarder, "forwarder, one packed FIFO message"),
            (SourceArgument::Fifo, "plain FIFO, a message a change"),
            (SourceArgument::Standard, "standard queue with a window"),
        ] {
            if source != self.source {
                others.push((name.to_owned(), bill(&Load { source: source.into(), ..load.clone() }, &prices)));
            }
        }
        others.push(("the old way: whole snapshots".to_owned(), old_way(&old, &prices)));
        others.push(("the old way on a file system: transfer alone".to_owned(), file_system(&old, &prices)));
        others.push(("a hosted collection, at its stated rates".to_owned(), hosted(&hosted_load, &prices)));
        let shown = Shown { load: &load, this: &this, others: &others, old: &old, prices: &prices };
        if context.output.json { Ok(context.output.document(&shown.document())?) } else { shown.print(context) }
    }
}

/// The figures to print.
struct Shown<'a> {
    load: &'a Load,
    this: &'a Bill,
    others: &'a [(String, Bill)],
    old: &'a OldWay,
    prices: &'a Prices,
}

impl Shown<'_> {
    fn print(&self, context: &Context) -> Outcome {
        let output = context.output;
        let mut table = Table::new(output, &["SERVICE", "WHAT FOR", ">HOW MUCH", "OF WHAT", ">LIST", ">TO PAY"]);
        for service in self.this.services() {
            for line in self.this.lines.iter().filter(|line| line.service == service) {
                let (name, amount) = (line.item.unit().to_owned(), quantity(line.quantity));
                table.row([service.to_owned(), line.what.clone(), amount, name, dollars(line.list), String::new()]);
            }
            let (list, pay) = (dollars(self.this.list_for(service)), dollars(self.this.to_pay_for(service)));
            table.row([service.to_owned(), "together".to_owned(), String::new(), String::new(), list, pay]);
        }
        let (list, pay) = (dollars(self.this.list()), dollars(self.this.to_pay()));
        table.row(["a month".to_owned(), String::new(), String::new(), String::new(), list, pay]);
        output.table(&table)?;

        let mut table = Table::new(output, &["INSTEAD", ">LIST", ">TO PAY"]);
        for (name, bill) in self.others {
            table.row([name.clone(), dollars(bill.list()), dollars(bill.to_pay())]);
        }
        output.blank()?;
        output.table(&table)?;
        if self.old.at_most() < self.old.messages {
            let most = self.old.at_most();
            output.line(format!("the old way does {most:.0} messages a minute at most, one cycle after the other"))?;
        }

        let mut table =
            Table::new(output, &["OLD WAY, AT 30 A MINUTE", ">WRITTEN DOWN", ">FOLLOWS", "THE WRITTEN FIGURE"]);
        for figure in written(&OldWay::default(), self.prices) {
            let (from, to) = figure.written;
            let span = if from == to { dollars(from) } else { format!("{} to {}", dollars(from), dollars(to)) };
            let verdict = if figure.agrees() { "follows".to_owned() } else { figure.instead };
            table.row([figure.what.to_owned(), span, dollars(figure.follows), verdict]);
        }
        output.blank()?;
        output.table(&table)?;
        output.blank()?;
        Ok(output.line(format!(
            "US dollars a month of 30 days; prices of us-east-1 of {PRICES_OF} (`--prices` lists them). TO PAY is the rest after the free amounts of a month, if nothing else uses them."
        ))?)
    }

    fn document(&self) -> Value {
        let old: Vec<Value> = written(&OldWay::default(), self.prices)
            .into_iter()
            .map(|figure| {
                let agrees = figure.agrees();
                json!({
                    "what": figure.what,
                    "written": [figure.written.0, figure.written.1],
                    "follows": figure.follows,
                    "agrees": agrees,
                    "written_figure": figure.instead,
                })
            })
            .collect();
        let others: Vec<Value> = self.others.iter().map(|(name, bill)| of_bill(name, bill)).collect();
        json!({
            "prices_of": PRICES_OF,
            "region": "us-east-1",
            "messages_a_minute": self.load.messages,
            "batches": self.load.batches(),
            "segments": self.load.segments(),
            "this": of_bill("this", self.this),
            "instead": others,
            "old_way_messages_a_minute_at_most": self.old.at_most(),
            "written_down_for_the_old_way": old,
        })
    }
}

fn of_bill(name: &str, bill: &Bill) -> Value {
    let lines: Vec<Value> = bill
        .lines
        .iter()
        .map(|line| {
            json!({
                "service": line.service,
                "what": line.what,
                "item": line.item.name(),
                "quantity": line.quantity,
                "list": line.list,
            })
        })
        .collect();
    json!({ "name": name, "list": bill.list(), "to_pay": bill.to_pay(), "lines": lines })
}

fn dollars(amount: f64) -> String {
    if amount >= 1_000.0 { format!("${}", count(amount.round() as u64)) } else { format!("${amount:.2}") }
}

fn quantity(amount: f64) -> String {
    if amount >= 100.0 { count(amount.round() as u64) } else { format!("{amount:.2}") }
}

fn list(context: &Context, prices: &Prices) -> Outcome {
    if context.output.json {
        let items: Vec<Value> = Item::all()
            .map(|item| {
                json!({
                    "name": item.name(),
                    "dollars": prices.of(item),
                    "unit": item.unit(),
                    "free_a_month": item.free(),
                    "source": item.source(),
                })
            })
            .collect();
        return Ok(context
            .output
            .document(&json!({ "prices_of": PRICES_OF, "region": "us-east-1", "prices": items }))?);
    }
    let mut table = Table::new(context.output, &["NAME", ">DOLLARS", "FOR A", ">FREE A MONTH", "SOURCE"]);
    for item in Item::all() {
        let free = if item.free() > 0.0 { count(item.free() as u64) } else { String::new() };
        let (name, unit, source) = (item.name().to_owned(), item.unit().to_owned(), item.source().to_owned());
        table.row([name, format!("{}", prices.of(item)), unit, free, source]);
    }
    context.output.table(&table)?;
    Ok(context.output.line(format!("us-east-1, on demand, of {PRICES_OF}"))?)
}

/// Replaces the modelled requests of the log by counted ones. Storage and everything else stay.
fn replace_requests(bill: &mut Bill, counted: Bill) {
    bill.lines.retain(|line| !matches!(line.item, Item::S3Put | Item::S3Get | Item::TableRead | Item::TableWrite));
    let rest = std::mem::replace(&mut bill.lines, counted.lines);
    bill.lines.extend(rest);
}

/// Reads the output of `--requests --json`, alone or in the document of `status`.
fn read(path: &str) -> Outcome<Counted> {
    let text = read_text(Path::new(path), "counted requests", MAX_REQUESTS)?;
    let wrong = |reason: String| {
        Failure::new(Exit::BadInput, format!("`{path}` holds no counted requests: {reason}"))
            .help("`deltafold status COLLECTION --requests --json` prints such a file")
    };
    let document: Value = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let kinds = document.get("requests").unwrap_or(&document).as_object();
    let kinds = kinds.ok_or_else(|| wrong("expected an object with a field for each kind of request".to_owned()))?;
    let mut calls = Vec::new();
    for (name, counts) in kinds {
        let kind = RequestKind::ALL.into_iter().find(|kind| kind.name() == name);
        let kind = kind.ok_or_else(|| wrong(format!("no request is called `{name}`")))?;
        let number = counts.get("calls").and_then(Value::as_u64);
        calls.push((kind, number.ok_or_else(|| wrong(format!("`{name}` has no number of `calls`")))? as f64));
    }
    Ok(Counted { calls })
}
