//! The final path of an export, and the temporary one beside it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::{Format, unwritten};
use crate::error::Failure;

/// A file, or a folder of files, that is to be.
pub(crate) struct Target {
    path: PathBuf,
    partial: PathBuf,
    is_folder: bool,
    format: Format,
    overwrite: bool,
}

impl Target {
    /// A file whose ending says its format, unless `format` does. Or a folder, with a `format`.
    pub(crate) fn new(path: PathBuf, is_folder: bool, format: Option<&str>, overwrite: bool) -> Result<Self, String> {
        let Some(name) = path.file_name() else {
            return Err(format!("`{}` names no file and no folder", path.display()));
        };
        let format = match (format, path.extension().and_then(|ending| ending.to_str())) {
            (Some(format), _) => format,
            (None, Some(ending)) if !is_folder => ending,
            (None, _) => {
                let text = format!("format: `{}` does not tell it", path.display());
                return Err(format!("{text}; choose `jsonl`, `parquet` or `arrow`"));
            }
        };
        let format = Format::of(format)?;
        let mut partial = name.to_owned();
        partial.push(".partial");
        Ok(Self { partial: path.with_file_name(partial), path, is_folder, format, overwrite })
    }

    pub(crate) fn format(&self) -> Format {
        self.format
    }

    pub(crate) fn is_folder(&self) -> bool {
        self.is_folder
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Refuses a path that is taken, and makes room under the temporary one.
    pub(crate) fn begin(&self) -> Result<(), Failure> {
        let path = self.path.display();
        let is_taken = if self.is_folder {
            let is_empty = fs::read_dir(&self.path).is_ok_and(|mut entries| entries.next().is_none());
            self.path.exists() && !is_empty
        } else {
            self.path.exists() && (!self.overwrite || self.path.is_dir())
        };
        if is_taken {
            let help = match (self.is_folder, self.path.is_dir()) {
                (true, _) => "name a new or empty folder",
                (false, true) => "name a file, or give `folder=`",
                (false, false) => "name another file, or give `overwrite=True`",
            };
            return Err(Failure::Input(format!("`{path}` exists already; {help}")));
        }
        if let Some(parent) = parent(&self.path) {
            fs::create_dir_all(parent).map_err(|error| unwritten(&self.path, &error))?;
        }
        if self.is_folder {
            self.clear().map_err(|error| unwritten(&self.partial, &error))?;
            fs::create_dir(&self.partial).map_err(|error| unwritten(&self.partial, &error))?;
        }
        Ok(())
    }

    /// Removes what an interrupted export left, and nothing else.
    fn clear(&self) -> io::Result<()> {
        if !self.partial.is_dir() {
            return Ok(());
        }
        for entry in fs::read_dir(&self.partial)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if !name.starts_with("part-") {
                return Err(io::Error::other(format!("`{name}` in it is not part of an export; move it away")));
            }
            fs::remove_file(path)?;
        }
        fs::remove_dir(&self.partial)
    }

    /// The path of a file while it is written.
    pub(crate) fn file(&self, number: usize) -> PathBuf {
        if self.is_folder {
            return self.partial.join(format!("part-{number:05}.{}", self.format.ending()));
        }
        self.partial.clone()
    }

    /// Gives the final name, durably.
    pub(crate) fn finish(&self) -> Result<(), Failure> {
        let renamed = || {
            if self.is_folder {
                sync_folder(&self.partial)?;
            }
            fs::rename(&self.partial, &self.path)?;
            sync_folder(parent(&self.path).unwrap_or(Path::new(".")))
        };
        renamed().map_err(|error| unwritten(&self.path, &error))
    }
}

/// The folder of a path, unless it is the present one.
fn parent(path: &Path) -> Option<&Path> {
    path.parent().filter(|parent| !parent.as_os_str().is_empty())
}

/// Makes the names in a folder durable, where the system can.
fn sync_folder(path: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}
