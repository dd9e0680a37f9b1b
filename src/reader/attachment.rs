//! A slot in a snapshot for a value that a higher layer derives from it.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;

use crate::error::{Error, Result};

type Erased = Arc<dyn Any + Send + Sync>;

/// One value derived from a snapshot at its first use. The next snapshot gets the value, too, so
/// that its own can be made from it.
#[derive(Default)]
pub(crate) struct Attachment {
    value: Mutex<Arc<OnceCell<Erased>>>,
    older: Mutex<Option<Erased>>,
}

impl Attachment {
    /// An empty one, with the newest value of `older`.
    pub(super) fn following(older: &Self) -> Self {
        let known = older.value().get().cloned().or_else(|| older.predecessor().clone());
        Self { value: Mutex::default(), older: Mutex::new(known) }
    }

    /// The value. `make` gets the value of an earlier snapshot, if there is one. A call that fails
    /// or is dropped leaves nothing behind.
    pub(crate) async fn get_or_try_init<T, F>(&self, make: impl FnOnce(Option<Arc<T>>) -> F) -> Result<Arc<T>>
    where
        T: Any + Send + Sync,
        F: Future<Output = Result<T>>,
    {
        let value = self.value();
        let made = value.get_or_try_init(|| async {
            let older = self.predecessor().take().and_then(|older| older.downcast().ok());
            Ok::<Erased, Error>(Arc::new(make(older).await?))
        });
        let value = made.await?.clone();
        value.downcast().map_err(|_| unreachable!("one floor alone attaches values, of one type"))
    }

    /// The value, if it was made.
    pub(crate) fn get<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.value().get().cloned().and_then(|value| value.downcast().ok())
    }

    /// Drops the value, and that of earlier snapshots. The next use makes it anew.
    pub(crate) fn clear(&self) {
        *self.value.lock().unwrap_or_else(PoisonError::into_inner) = Arc::default();
        *self.predecessor() = None;
    }

    fn value(&self) -> Arc<OnceCell<Erased>> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn predecessor(&self) -> std::sync::MutexGuard<'_, Option<Erased>> {
        // Each change is a single assignment, so a panic elsewhere leaves it whole.
        self.older.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attachment").field("made", &self.value().initialized()).finish_non_exhaustive()
    }
}
