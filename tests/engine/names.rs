//! Collections by name.

use std::sync::Arc;

use deltafold::store::{Key, Memory, Store};
use deltafold::{Collection, CreateOptions, ErrorKind};

/// Story: a store lists 1,000 objects a page. Collections behind the first page were missing from
/// the list.
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

/// The format counts shards up to 4,096.
#[tokio::test]
async fn a_collection_has_1_to_4_096_shards() {
    let store = Arc::new(Memory::new());
    let create = async |name: &str, shards| {
        let options = CreateOptions::new(2).shards(shards);
        Collection::create(store.clone(), &name.parse().unwrap(), &options).await.map(drop)
    };
    for shards in [0, 4_097] {
        assert_eq!(create("refused", shards).await.unwrap_err().kind(), ErrorKind::InvalidInput, "{shards}");
    }
    create("most", 4_096).await.unwrap();
}
