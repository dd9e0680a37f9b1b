//! A reset purges the queues and drops the collection, in the order that is safe however often it
//! is broken off.

use bytes::Bytes;
use deltafold_format::{CollectionName, HeadPlace, Metric, Ordering};
use serde_json::{Value, json};

use super::{Collection, CreateOptions, DropReport};
use crate::error::{Error, Repr, Result};
use crate::retry;
use crate::setters::setters;
use crate::store::{Key, Outcome, Store};

/// The subject of a reset. Its note lies in the store from beginning to end: once the collection
/// register is gone, nothing else tells where the heads were.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reset {
    /// The place of the collection's heads.
    pub heads: HeadPlace,
    /// The queues that feed the collection, by URL.
    pub queues: Vec<String>,
    /// The execution that begins at the end.
    pub then: Option<ThenExecute>,
    /// The options of the collection that is created at the end. The dropped one alone knew them.
    pub anew: Option<CreateOptions>,
}

/// An execution of a state machine. The note keeps its name and input, so that a reset that was
/// broken off begins it once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThenExecute {
    /// The ARN of the state machine.
    pub arn: String,
    /// The name of the execution.
    pub name: String,
    /// Its input, a JSON text.
    pub input: String,
}

/// The key of the note: under a name that no collection can have, so that no drop removes it.
fn note_key(name: &CollectionName) -> Key {
    Key::new(format!("RESET/{name}")).expect("collection names hold only characters of keys")
}

setters!(Reset { queues: Vec<String>, then: into Option<ThenExecute>, anew: into Option<CreateOptions> } new: heads);

impl Reset {
    /// Of a collection with its heads here, without queues and with nothing behind it.
    pub fn new(heads: HeadPlace) -> Self {
        Self { heads, queues: Vec::new(), then: None, anew: None }
    }

    /// The note of an earlier reset of the collection that did not finish. One GET.
    ///
    /// # Errors
    ///
    /// `Corrupt` where the note cannot be read: delete it, and name anew what to reset.
    pub async fn noted(store: &dyn Store, name: &CollectionName) -> Result<Option<Self>> {
        let key = note_key(name);
        let Some(object) = retry::transient(|| store.get(&key)).await? else { return Ok(None) };
        match Self::parse(&object.bytes) {
            Some(note) => Ok(Some(note)),
            None => Err(Repr::ResetNote(key).into()),
        }
    }

    /// Writes the note, purges the queues, drops the collection, rests, and removes the note. The
    /// purge comes first, so that no old change reaches the next collection. `rest` gives consumers
    /// time to finish old messages, and begins what comes behind that: the execution, or the new
    /// collection. The note stays where it fails. After a crash anywhere, run it again. Without
    /// queues it costs 3 requests and those of [`Collection::drop_collection`].
    ///
    /// # Errors
    ///
    /// `Conflict` while another reset of the collection is under way; otherwise the errors of the
    /// store, of `purge` and of `rest`. A collection that is already gone is not an error.
    pub async fn run<E: From<Error>>(
        &self,
        store: &dyn Store,
        with_heads: &dyn Store,
        name: &CollectionName,
        purge: impl Future<Output = Result<(), E>>,
        rest: impl Future<Output = Result<(), E>>,
        each: impl FnMut(DropReport),
    ) -> Result<DropReport, E> {
        let key = note_key(name);
        self.write(store, &key).await?;
        purge.await?;
        let dropped = match Collection::drop_collection(with_heads, name, each).await {
            Err(error) if error.kind() == crate::ErrorKind::NotFound => DropReport::default(),
            dropped => dropped?,
        };
        rest.await?;
        retry::transient(|| store.delete(std::slice::from_ref(&key))).await.map_err(Error::from)?;
        Ok(dropped)
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let note: Value = serde_json::from_slice(bytes).ok()?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let heads = match note["heads"]["place"].as_str()? {
            "store" => HeadPlace::Store,
            "dynamodb" => {
                HeadPlace::DynamoDb { table: text(&note["heads"]["table"])?, region: text(&note["heads"]["region"])? }
            }
            _ => return None,
        };
        let queues = note["queues"].as_array()?.iter().map(text).collect::<Option<_>>()?;
        let then = match &note["then"] {
            Value::Null => None,
            then => {
                Some(ThenExecute { arn: text(&then["arn"])?, name: text(&then["name"])?, input: text(&then["input"])? })
            }
        };
        let anew = match &note["anew"] {
            Value::Null => None,
            anew => Some(parse_anew(anew)?),
        };
        Some(Self { heads, queues, then, anew })
    }

    /// Writes the note, over an existing one if need be.
    async fn write(&self, store: &dyn Store, key: &Key) -> Result<()> {
        let heads = match &self.heads {
            HeadPlace::Store => json!({ "place": "store" }),
            HeadPlace::DynamoDb { table, region } => json!({ "place": "dynamodb", "table": table, "region": region }),
        };
        let mut note = json!({ "heads": heads, "queues": self.queues });
        if let (Some(then), Some(note)) = (&self.then, note.as_object_mut()) {
            let then = json!({ "arn": then.arn, "name": then.name, "input": then.input });
            note.insert("then".to_owned(), then);
        }
        if let (Some(anew), Some(note)) = (&self.anew, note.as_object_mut()) {
            note.insert("anew".to_owned(), anew_note(anew));
        }
        let text = Bytes::from(note.to_string());
        // A lost answer does not matter: the loop reads the note again, and an equal one will do.
        let mut tries = 0;
        loop {
            let there = retry::transient(|| store.get(key)).await?;
            if there.as_ref().is_some_and(|object| object.bytes == text) {
                return Ok(retry::transient(|| store.settle(key)).await?);
            }
            let chunks = vec![text.clone()];
            let written = match &there {
                Some(object) => retry::transient(|| store.replace(key, &object.tag, chunks.clone())).await?,
                None => retry::transient(|| store.create(key, chunks.clone())).await?,
            };
            tries += 1;
            match written {
                Outcome::Done(_) => return Ok(()),
                Outcome::Refused if tries < ATTEMPTS => {}
                Outcome::Unknown(_) if tries < ATTEMPTS => {}
                Outcome::Refused => {
                    return Err(Repr::Conflict("another reset of this collection is at work".to_owned()).into());
                }
                Outcome::Unknown(error) => return Err(error.into()),
            }
        }
    }
}

/// The options of a collection in the note.
fn anew_note(options: &CreateOptions) -> Value {
    let keep_tombstones = match options.ordering {
        Ordering::Log => None,
        Ordering::Revision { keep_tombstones_millis } => Some(keep_tombstones_millis),
    };
    json!({
        "dimension": options.dimension,
        "metric": options.metric.name(),
        "shards": options.shards,
        "keep_tombstones_millis": keep_tombstones,
    })
}

fn parse_anew(anew: &Value) -> Option<CreateOptions> {
    let metric = anew["metric"].as_str()?;
    let metric = [Metric::L2, Metric::Cosine, Metric::InnerProduct].into_iter().find(|one| one.name() == metric)?;
    let options = CreateOptions::new(u32::try_from(anew["dimension"].as_u64()?).ok()?).metric(metric);
    let options = options.shards(u16::try_from(anew["shards"].as_u64()?).ok()?);
    Some(match anew["keep_tombstones_millis"].as_u64() {
        None => options,
        Some(keep_tombstones_millis) => options.ordering(Ordering::Revision { keep_tombstones_millis }),
    })
}

/// Attempts to write the note.
const ATTEMPTS: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    /// The note alone knows the options once the collection is gone.
    #[test]
    fn a_note_keeps_the_options_of_the_next_collection() {
        let by_revision = Ordering::Revision { keep_tombstones_millis: 7 };
        for (metric, ordering) in
            [(Metric::L2, Ordering::Log), (Metric::Cosine, by_revision), (Metric::InnerProduct, Ordering::Log)]
        {
            let options = CreateOptions::new(768).metric(metric).shards(4).ordering(ordering);
            assert_eq!(parse_anew(&anew_note(&options)), Some(options));
        }
        assert_eq!(parse_anew(&json!({ "dimension": 2, "metric": "other", "shards": 1 })), None);
    }
}
