//! Heads, collection registers and claims.

use deltafold_format::{
    Claim, CollectionConfig, FormatErrorKind as Kind, Head, HeadPlace, Metric, Nonce, ObjectKind, Ordering, Uid,
    Version,
};

use crate::kept::{flipped, forge, golden, survives, with_raw_section};
use crate::{COLLECTION, sequence, times};

fn head() -> Head {
    Head {
        collection: COLLECTION,
        version: Version::new(9),
        manifest: Nonce::new(0xfeed_beef),
        folded: sequence(70),
        truncated: sequence(65),
        sweep_floor: Version::new(8),
    }
}

pub(crate) fn collection() -> CollectionConfig {
    CollectionConfig {
        uid: COLLECTION,
        dimension: 3,
        metric: Metric::Cosine,
        shards: 4,
        ordering: Ordering::Log,
        created: times().first,
        heads: HeadPlace::Store,
        rotation: 0x0f1e_2d3c_4b5a_6978,
    }
}

fn claim() -> Claim {
    Claim { collection: COLLECTION, claimant: Uid::new(77), version: Version::new(9), beat: 5 }
}

#[test]
fn head_v1() {
    let object = golden("head", || head().encode());
    survives(&object, ObjectKind::Head, &head(), Head::decode);
    let twin = golden("head.newer", || forge(&object, 10, &2u16.to_le_bytes()));
    assert_eq!(Head::decode(twin).unwrap_err().kind(), Kind::NewerFormat { found: 2 });
}

#[test]
fn collection_v1() {
    let object = golden("collection", || collection().encode());
    survives(&object, ObjectKind::Collection, &collection(), CollectionConfig::decode);
    let heads = HeadPlace::DynamoDb { table: "deltafold-heads".to_owned(), region: "eu-west-1".to_owned() };
    let elsewhere = CollectionConfig { heads, ..collection() };
    let object_elsewhere = golden("collection-heads-in-dynamodb", || elsewhere.encode());
    survives(&object_elsewhere, ObjectKind::Collection, &elsewhere, CollectionConfig::decode);
    let twin = golden("collection.truncated", || object.slice(..object.len() - 1));
    assert_eq!(CollectionConfig::decode(twin).unwrap_err().kind(), Kind::Truncated);
}

#[test]
fn collection_by_revision_v1() {
    let ordering = Ordering::Revision { keep_tombstones_millis: 1_209_600_000 };
    let heads = HeadPlace::DynamoDb { table: "deltafold-heads".to_owned(), region: "eu-west-1".to_owned() };
    let config = CollectionConfig { ordering, heads, ..collection() };
    let object = golden("collection-revision", || config.encode());
    survives(&object, ObjectKind::Collection, &config, CollectionConfig::decode);
    // The ordering's number is right and nothing says how long tombstones are kept.
    let twin = golden("collection-revision.invalid", || {
        let mut fields = collection().encode()[64..].to_vec();
        fields[23] = 2;
        with_raw_section(ObjectKind::Collection, &fields)
    });
    assert_eq!(CollectionConfig::decode(twin).unwrap_err().kind(), Kind::Invalid);
}

#[test]
fn claim_v1() {
    let object = golden("claim", || claim().encode());
    survives(&object, ObjectKind::Claim, &claim(), Claim::decode);
    let twin = golden("claim.not-deltafold", || flipped(&object, 0));
    assert_eq!(Claim::decode(twin).unwrap_err().kind(), Kind::NotDeltafold);
}
