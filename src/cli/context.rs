//! What every command needs: the store, collections in it, and where to print.

use std::path::Path;
use std::sync::Arc;

use deltafold::Collection;
use deltafold::format::CollectionName;
use deltafold::store::{Dir, Store};

use super::args::Global;
use super::exit::{Exit, Failure, Outcome};
use super::output::Output;

/// The surroundings of a command.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) output: Output,
    location: String,
}

impl Context {
    pub(crate) fn new(global: &Global) -> Self {
        Self { output: Output { json: global.json }, location: global.store.clone() }
    }

    /// The `--store` option that finds this store again, with a space behind it; nothing where it is the default.
    pub(crate) fn store_option(&self) -> String {
        if self.location == "./deltafold-data" || std::env::var_os("DELTAFOLD_STORE").is_some() {
            String::new()
        } else {
            format!("--store {} ", quoted(&self.location))
        }
    }

    /// The store, made where it is not there yet.
    pub(crate) async fn new_store(&self) -> Outcome<Arc<dyn Store>> {
        let path = self.path()?.to_owned();
        Ok(Arc::new(Dir::open(path)?))
    }

    /// The store, which must be there: a mistyped path is no empty store.
    pub(crate) async fn store(&self) -> Outcome<Arc<dyn Store>> {
        let path = self.path()?;
        if !path.is_dir() {
            let problem = format!("there is no store in `{}`", path.display());
            return Err(Failure::new(Exit::NotFound, problem)
                .help("name it with `--store` or DELTAFOLD_STORE; `deltafold create` and `deltafold demo` make one"));
        }
        self.new_store().await
    }

    /// A collection of the store.
    pub(crate) async fn collection(&self, name: &CollectionName) -> Outcome<Collection> {
        Ok(Collection::open(self.store().await?, name).await?)
    }

    fn path(&self) -> Outcome<&Path> {
        match self.location.split_once(':') {
            Some(("dir", path)) if !path.is_empty() => Ok(Path::new(path)),
            // `C:\data` is a path.
            Some((scheme, _)) if scheme.len() > 1 && !scheme.contains(['/', '.']) => {
                let problem = format!("`{}` is no store that this program knows", self.location);
                Err(Failure::new(Exit::Usage, problem).help("use `dir:PATH` or a path"))
            }
            _ => Ok(Path::new(&self.location)),
        }
    }
}

/// `text` as a shell reads it back.
pub(crate) fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,+@%=".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(store: &str) -> Option<String> {
        let context = Context { output: Output { json: false }, location: store.to_owned() };
        context.path().ok().map(|path| path.display().to_string())
    }

    #[test]
    fn stores_are_paths_with_or_without_a_scheme() {
        for (store, expected) in [
            ("dir:/a/b", Some("/a/b")),
            ("dir:b", Some("b")),
            ("./x:y", Some("./x:y")),
            ("plain", Some("plain")),
            ("s3://bucket", None),
            ("memory:", None),
        ] {
            assert_eq!(path(store).as_deref(), expected, "{store}");
        }
    }

    #[test]
    fn a_shell_reads_quoted_text_back() {
        assert_eq!(quoted("a/b-1.jsonl"), "a/b-1.jsonl");
        assert_eq!(quoted("it's here"), r"'it'\''s here'");
        assert_eq!(quoted(""), "''");
    }
}
