//! The options `--where` and `--where-document`.

use clap::Args;
use deltafold::Filter;

use super::exit::{Exit, Failure, Outcome};

/// The records that a command selects.
#[derive(Debug, Clone, Args)]
pub(crate) struct WhereArguments {
    /// Only records whose metadata match, as in `{"year":{"$gte":2020}}`
    #[arg(long = "where", value_name = "JSON")]
    metadata: Option<String>,
    /// Only records whose document matches, as in `{"$contains":"text"}`
    #[arg(long = "where-document", value_name = "JSON")]
    document: Option<String>,
}

impl WhereArguments {
    /// The filter, if there is one.
    pub(crate) fn filter(&self) -> Outcome<Option<Filter>> {
        let metadata = self.metadata.as_deref().map(str::parse::<Filter>).transpose();
        let metadata = metadata.map_err(|error| wrong("--where", &error))?;
        let document = self.document.as_deref().map(Filter::parse_document).transpose();
        let document = document.map_err(|error| wrong("--where-document", &error))?;
        Ok(match (metadata, document) {
            (Some(metadata), Some(document)) => Some(metadata.and(document)),
            (one, other) => one.or(other),
        })
    }
}

fn wrong(option: &str, error: &impl std::fmt::Display) -> Failure {
    Failure::new(Exit::BadInput, format!("`{option}` cannot be used: {error}"))
        .help("`docs/search.md` lists the operators")
}
