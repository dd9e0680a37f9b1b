//! Manifests, registers, names, and any object as `inspect` sees it. A decoded object encodes again
//! to the same value, and an object that its own decoder refuses is never sound as a whole.
#![no_main]

use std::fmt::{Debug, Display};
use std::str::FromStr;

use bytes::Bytes;
use deltafold::Location;
use deltafold::format::{
    Claim, CollectionConfig, CollectionName, Envelope, FormatError, Head, Inspection, MAX_ENVELOPE_BYTES, Manifest,
    Nonce, ObjectKind, ObjectName, Position, Revision, Sequence, ShardId, Uid, Version, limits,
};
use deltafold::store::Key;
use deltafold_fuzz::memory::Bounded;
use deltafold_fuzz::{mutation, object, seeds};
use libfuzzer_sys::{Corpus, fuzz_mutator, fuzz_target};

/// The kinds that an input's first byte chooses from; the number behind them is a name.
const KINDS: [ObjectKind; 7] = ObjectKind::ALL;

#[global_allocator]
static MEMORY: Bounded<{ limits::MAX_MANIFEST_BYTES }> = Bounded;

fuzz_target!(init: seeds::write_if_asked(seeds), |input: &[u8]| -> Corpus {
    let Some((which, input)) = input.split_first() else { return Corpus::Reject };
    match (KINDS.get(usize::from(which % 8)), std::str::from_utf8(input)) {
        (Some(kind), _) => return mutation::kept(input.first(), check_object(object::from_input(*kind, input))),
        (None, Ok(text)) => check_names(text),
        (None, Err(_)) => {}
    }
    Corpus::Keep
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutation::mutated(data, size, max_size, seed)
});

fn seeds() -> Vec<Vec<u8>> {
    let place = |kind| KINDS.iter().position(|known| *known == kind).and_then(|place| u8::try_from(place).ok());
    let input = |object: Bytes| -> Vec<Vec<u8>> {
        let which = object::kind(&object).and_then(place).unwrap_or(0);
        object::to_inputs(&object).into_iter().map(|input| [&[which], &input[..]].concat()).collect()
    };
    let names = [
        Sequence::FIRST.to_string(),
        Position::from_bits(1 << 20 | 7).to_string(),
        Version::new(9).to_string(),
        ShardId::default().to_string(),
        Nonce::new(0xfeed).to_string(),
        Uid::new(1 << 100).to_string(),
        ObjectName::default().to_string(),
        Revision::new(1 << 90).to_string(),
        "debian.packages-12_x".to_owned(),
        "s3://bucket/prefix/of/it".to_owned(),
        "/var/lib/deltafold".to_owned(),
    ];
    let names = names.into_iter().map(|name| [&[7], name.as_bytes()].concat());
    seeds::golden().into_iter().chain(seeds::objects()).flat_map(input).chain(names).collect()
}

/// Whether the object is a manifest or a register.
fn check_object(object: Bytes) -> bool {
    let manifest = comes_back(&object, Manifest::decode, |manifest| {
        manifest.encode().expect("a decoded object can be encoded").to_bytes()
    });
    let head = comes_back(&object, Head::decode, Head::encode);
    let config = comes_back(&object, CollectionConfig::decode, CollectionConfig::encode);
    let claim = comes_back(&object, Claim::decode, Claim::encode);
    let kinds = [
        (ObjectKind::Manifest, manifest.is_some()),
        (ObjectKind::Head, head.is_some()),
        (ObjectKind::Collection, config.is_some()),
        (ObjectKind::Claim, claim.is_some()),
    ];
    let inspected = Inspection::of(object.clone());
    for (kind, decoded) in kinds {
        let fits = inspected.as_ref().is_ok_and(|inspection| inspection.envelope.kind() == kind);
        assert!(!decoded || fits, "what decodes as {kind} is one to `inspect`");
    }
    if let Some(manifest) = manifest {
        let head = manifest.head();
        assert_eq!((head.version, head.manifest), (manifest.version, manifest.nonce));
        assert_eq!(Head::decode(head.encode()).ok(), Some(head));
    }
    if let Ok(inspection) = inspected {
        // The first bytes are enough for an envelope, and its lengths are true.
        let prefix = object.get(..MAX_ENVELOPE_BYTES).unwrap_or(&object);
        assert_eq!(Envelope::parse(prefix).ok().as_ref(), Some(&inspection.envelope));
        assert_eq!(inspection.envelope.bytes(), object.len() as u64);
        assert_eq!(inspection.sections.len(), inspection.envelope.sections().len());
    }
    kinds.iter().any(|(_, decoded)| *decoded)
}

fn comes_back<T: PartialEq + Debug>(
    object: &Bytes,
    decode: impl Fn(Bytes) -> Result<T, FormatError>,
    encode: impl Fn(&T) -> Bytes,
) -> Option<T> {
    let value = match decode(object.clone()) {
        Ok(value) => value,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return None;
        }
    };
    let encoded = encode(&value);
    let again = decode(encoded.clone()).expect("an encoded object can be decoded");
    assert_eq!(again, value);
    assert_eq!(encode(&again), encoded, "one value has one encoding");
    assert_eq!(object::section(&encoded, 1), object::section(object, 1), "one value has one encoding");
    Some(value)
}

fn check_names(text: &str) {
    prints_as_read::<Sequence>(text);
    prints_as_read::<Position>(text);
    prints_as_read::<Version>(text);
    prints_as_read::<ShardId>(text);
    prints_as_read::<Nonce>(text);
    prints_as_read::<Uid>(text);
    prints_as_read::<ObjectName>(text);
    prints_as_read::<CollectionName>(text);
    // Leading zeros do not change a number.
    if let Ok(revision) = text.parse::<Revision>() {
        assert_eq!(revision.to_string().parse(), Ok(revision));
    }
    if let Ok(location) = text.parse::<Location>() {
        assert_eq!(
            location.to_string().parse::<Location>().map(|again| again.to_string()).ok(),
            Some(location.to_string())
        );
    }
    if let Some(key) = Key::new(text) {
        assert_eq!(key.as_str(), text);
    }
    // Every collection's name is valid as the first folder of a key.
    assert!(text.parse::<CollectionName>().is_err() || Key::new(format!("{text}/collection")).is_some());
}

fn prints_as_read<T: FromStr + Display>(text: &str) {
    if let Ok(name) = text.parse::<T>() {
        assert_eq!(name.to_string(), text);
    }
}
