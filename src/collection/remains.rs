//! Judges the objects that lie under a name whose register is missing.

use crate::drop_note;
use crate::error::Result;
use crate::layout::Layout;
use crate::retry;
use crate::store::{Key, Store};

/// The origin of the objects under a name without a register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Remains {
    /// Nothing, or the heads of an unfinished `create`.
    Free,
    /// An unfinished drop. One of the objects left, if any.
    Dropping(Option<Key>),
    /// A collection whose register is lost. One of its objects.
    Lost(Key),
    /// Objects of stale writers, which slept through a drop. One of them.
    Leftover(Key),
}

/// Looks at the first 1,000 objects. One LIST and one GET.
pub(super) async fn remains(store: &dyn Store, layout: &Layout) -> Result<Remains> {
    let prefix = layout.prefix();
    let found = retry::transient(|| store.list_after(&prefix, None, 1_000)).await?;
    let keys: Vec<&Key> = found.iter().map(|listed| &listed.key).collect();
    if drop_note::is_dropping(store, layout.name(), None).await? {
        return Ok(Remains::Dropping(keys.first().map(|key| (*key).clone())));
    }
    Ok(judge(&keys))
}

/// A manifest, a head beside other objects, or two segments prove a collection. A writer that slept
/// through a drop leaves, as a rule, one segment or parts.
fn judge(keys: &[&Key]) -> Remains {
    let is_head = |key: &&&Key| key.as_str().ends_with("/head");
    let is = |folder: &'static str| move |key: &&&Key| key.as_str().contains(folder);
    let Some(other) = keys.iter().find(|key| !is_head(key)) else { return Remains::Free };
    let head = keys.iter().find(is_head);
    let manifest = keys.iter().find(is("/manifest/"));
    let segment = keys.iter().filter(is("/log/")).nth(1);
    match manifest.or(head).or(segment) {
        Some(key) => Remains::Lost((*key).clone()),
        None => Remains::Leftover((*other).clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leftovers_are_told_from_lost_registers() {
        let judged = |names: &[&str]| {
            let keys: Vec<Key> = names.iter().map(|name| Key::new(format!("c/0000/{name}")).unwrap()).collect();
            judge(&keys.iter().collect::<Vec<_>>())
        };
        let key = |name: &str| Key::new(format!("c/0000/{name}")).unwrap();
        assert_eq!(judged(&[]), Remains::Free);
        assert_eq!(judged(&["head"]), Remains::Free, "a create that was broken off");
        assert_eq!(judged(&["head", "log/1"]), Remains::Lost(key("head")));
        assert_eq!(judged(&["claim", "log/1", "manifest/1-1"]), Remains::Lost(key("manifest/1-1")));
        assert_eq!(judged(&["log/1", "log/2"]), Remains::Lost(key("log/2")));
        assert_eq!(judged(&["log/7"]), Remains::Leftover(key("log/7")), "a writer that slept through a drop");
        assert_eq!(judged(&["claim", "part/1-1.meta"]), Remains::Leftover(key("claim")));
    }
}
