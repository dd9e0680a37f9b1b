//! Collections by name.

use std::sync::Arc;

use deltafold::store::{Key, Memory, Store};
use deltafold::{Collection, CreateOptions};

/// A store lists 1,000 objects a page. Collections behind the first page were not named.
#[tokio::test]
async fn all_collections_are_listed_however_many_objects_there_are() {
    let store = Arc::new(Memory::new());
    for name in ["a", "b", "c"] {
        Collection::create(store.clone(), &name.parse().unwrap(), &CreateOptions::new(2)).await.unwrap();
        for number in 0..1_200 {
            let key = Key::new(format!("{name}/0000/other/{number:04}")).unwrap();
            store.create(&key, vec![bytes::Bytes::new()]).await.unwrap();
        }
    }
    let names = Collection::list(&*store).await.unwrap();
    assert_eq!(names.iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
}
