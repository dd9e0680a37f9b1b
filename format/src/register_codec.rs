//! The bytes of registers: `format/SPEC.md`, section "Registers".

use bytes::Bytes;

use crate::codec::{Cursor, Writer};
use crate::envelope::{Compress, EnvelopeReader, EnvelopeWriter, ObjectKind};
use crate::error::FormatError;
use crate::limits::{MAX_DIMENSION, MAX_REGION_NAME, MAX_REGISTER_BYTES, MAX_SHARDS, MAX_TABLE_NAME};
use crate::name::{Sequence, Version};
use crate::register::{Claim, CollectionConfig, Head, HeadPlace, Metric, Ordering};

/// The only section of a register.
const FIELDS: u16 = 1;
/// The number of [`HeadPlace::DynamoDb`].
const DYNAMODB: u8 = 1;

fn encode(kind: ObjectKind, write: impl FnOnce(&mut Writer)) -> Bytes {
    let mut out = Writer::with_capacity(64);
    write(&mut out);
    EnvelopeWriter::new(kind).section(FIELDS, out.into_vec(), Compress::Never).finish().to_bytes()
}

fn decode<T>(
    object: Bytes,
    kind: ObjectKind,
    read: impl FnOnce(&mut Cursor<'_>) -> Result<T, FormatError>,
) -> Result<T, FormatError> {
    let fields = EnvelopeReader::open(object, kind)?.verified_raw_section(FIELDS, kind.name(), MAX_REGISTER_BYTES)?;
    let mut from = Cursor::new(&fields, kind.name());
    let value = read(&mut from)?;
    from.finish()?;
    Ok(value)
}

impl Head {
    /// The object.
    pub fn encode(&self) -> Bytes {
        encode(ObjectKind::Head, |out| {
            out.uid(self.collection);
            out.version(self.version);
            out.nonce(self.manifest);
            out.sequence(self.folded);
            out.sequence(self.truncated);
            out.version(self.sweep_floor);
        })
    }

    /// Reads and checks the object.
    ///
    /// # Errors
    /// Any [`FormatErrorKind`](crate::FormatErrorKind). `Invalid`, too, if `truncated` is 0 or more
    /// than one above `folded`, or if `sweep_floor` is above `version`. The same if version 0 is
    /// not that of an empty shard.
    pub fn decode(object: Bytes) -> Result<Self, FormatError> {
        decode(object, ObjectKind::Head, |from| {
            let head = Self {
                collection: from.uid()?,
                version: from.version()?,
                manifest: from.nonce()?,
                folded: from.sequence()?,
                truncated: from.sequence()?,
                sweep_floor: from.version()?,
            };
            if head.truncated == Sequence::ZERO || head.truncated.prev() > head.folded {
                return Err(from.invalid("its log start lies behind slots that are not folded"));
            }
            if head.sweep_floor > head.version {
                return Err(from.invalid("its sweep floor is above its version"));
            }
            if head.version == Version::ZERO && head != Self::empty(head.collection) {
                return Err(from.invalid("version 0 must be the empty shard's"));
            }
            Ok(head)
        })
    }
}

fn head_place(from: &mut Cursor<'_>) -> Result<HeadPlace, FormatError> {
    let kind = from.u8()?;
    if kind != DYNAMODB {
        return Err(from.invalid(format!("the place of the heads has the unknown kind {kind}")));
    }
    let (table, region) = (from.string()?, from.string()?);
    if !(1..=MAX_TABLE_NAME).contains(&table.len()) || !(1..=MAX_REGION_NAME).contains(&region.len()) {
        return Err(from.invalid("the name of its table or region is empty or too long"));
    }
    Ok(HeadPlace::DynamoDb { table: table.to_owned(), region: region.to_owned() })
}

impl CollectionConfig {
    /// The object.
    pub fn encode(&self) -> Bytes {
        encode(ObjectKind::Collection, |out| self.write(out))
    }

    /// Reads and checks the object.
    ///
    /// # Errors
    /// Any [`FormatErrorKind`](crate::FormatErrorKind). `Invalid`, too, if the dimension or the
    /// number of shards is out of range.
    pub fn decode(object: Bytes) -> Result<Self, FormatError> {
        decode(object, ObjectKind::Collection, Self::read)
    }

    /// Writes the fields.
    pub(crate) fn write(&self, out: &mut Writer) {
        out.uid(self.uid);
        out.u32(self.dimension);
        out.u16(self.shards);
        out.u8(match self.metric {
            Metric::L2 => 1,
            Metric::Cosine => 2,
            Metric::InnerProduct => 3,
        });
        out.u8(match self.ordering {
            Ordering::Log => 1,
            Ordering::Revision { .. } => 2,
        });
        out.timestamp(self.created);
        out.u64(self.rotation);
        if let Ordering::Revision { keep_tombstones_millis } = self.ordering {
            out.u64(keep_tombstones_millis);
        }
        // Heads in the store are encoded as no field at all.
        if let HeadPlace::DynamoDb { table, region } = &self.heads {
            out.u8(DYNAMODB);
            out.string(table);
            out.string(region);
        }
    }

    /// Reads and checks the fields.
    pub(crate) fn read(from: &mut Cursor<'_>) -> Result<Self, FormatError> {
        let (uid, dimension, shards) = (from.uid()?, from.u32()?, from.u16()?);
        if !(1..=MAX_DIMENSION).contains(&(dimension as usize)) || !(1..=MAX_SHARDS).contains(&shards) {
            return Err(from.invalid("its dimension or its number of shards is out of range"));
        }
        let metric = match from.u8()? {
            1 => Metric::L2,
            2 => Metric::Cosine,
            3 => Metric::InnerProduct,
            other => return Err(from.invalid(format!("the metric has the unknown number {other}"))),
        };
        let by_revision = match from.u8()? {
            1 => false,
            2 => true,
            other => return Err(from.invalid(format!("the ordering has the unknown number {other}"))),
        };
        let (created, rotation) = (from.timestamp()?, from.u64()?);
        let ordering =
            if by_revision { Ordering::Revision { keep_tombstones_millis: from.u64()? } } else { Ordering::Log };
        let heads = if from.rest().is_empty() { HeadPlace::Store } else { head_place(from)? };
        Ok(Self { uid, dimension, metric, shards, ordering, created, heads, rotation })
    }
}

impl Claim {
    /// The object.
    pub fn encode(&self) -> Bytes {
        encode(ObjectKind::Claim, |out| {
            out.uid(self.collection);
            out.uid(self.claimant);
            out.version(self.version);
            out.u64(self.beat);
        })
    }

    /// Reads and checks the object.
    ///
    /// # Errors
    /// Any [`FormatErrorKind`](crate::FormatErrorKind).
    pub fn decode(object: Bytes) -> Result<Self, FormatError> {
        decode(object, ObjectKind::Claim, |from| {
            Ok(Self { collection: from.uid()?, claimant: from.uid()?, version: from.version()?, beat: from.u64()? })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::FormatErrorKind as Kind;
    use crate::name::{Nonce, Timestamp, Uid};
    use crate::testing::with_section;

    fn head() -> Head {
        Head {
            collection: Uid::new(1 << 100),
            version: Version::new(9),
            manifest: Nonce::new(7),
            folded: Sequence::new(20).unwrap(),
            truncated: Sequence::new(21).unwrap(),
            sweep_floor: Version::new(9),
        }
    }

    fn config(metric: Metric, ordering: Ordering) -> CollectionConfig {
        let created = Timestamp::from_millis(-1);
        let heads = HeadPlace::Store;
        CollectionConfig {
            uid: Uid::new(5),
            dimension: 65_536,
            metric,
            shards: 4_096,
            ordering,
            created,
            heads,
            rotation: u64::MAX - 1,
        }
    }

    #[test]
    fn registers_come_back() {
        for head in [head(), Head::empty(Uid::new(3))] {
            assert_eq!(Head::decode(head.encode()).unwrap(), head);
        }
        for metric in [Metric::L2, Metric::Cosine, Metric::InnerProduct] {
            for ordering in [Ordering::Log, Ordering::Revision { keep_tombstones_millis: u64::MAX }] {
                let config = config(metric, ordering);
                assert_eq!(CollectionConfig::decode(config.encode()).unwrap(), config);
            }
        }
        let claim = Claim { collection: Uid::new(1), claimant: Uid::new(2), version: Version::new(3), beat: u64::MAX };
        assert_eq!(Claim::decode(claim.encode()).unwrap(), claim);
        let found = Head::decode(claim.encode()).unwrap_err().kind();
        assert_eq!(found, Kind::WrongKind { expected: ObjectKind::Head, found: ObjectKind::Claim });
    }

    #[test]
    fn a_head_that_contradicts_itself_is_refused() {
        let refused = |head: Head| assert_eq!(Head::decode(head.encode()).unwrap_err().kind(), Kind::Invalid);
        refused(Head { truncated: Sequence::ZERO, ..head() });
        refused(Head { truncated: Sequence::new(22).unwrap(), ..head() });
        refused(Head { sweep_floor: Version::new(10), ..head() });
        refused(Head { manifest: Nonce::new(1), ..Head::empty(Uid::new(3)) });
        let longer = with_section(&head().encode(), FIELDS, &|bytes| bytes.push(0));
        assert_eq!(Head::decode(longer).unwrap_err().kind(), Kind::Invalid);
    }

    #[test]
    fn a_configuration_says_where_its_heads_are() {
        let named = |table: &str, region: &str| CollectionConfig {
            heads: HeadPlace::DynamoDb { table: table.to_owned(), region: region.to_owned() },
            ..config(Metric::L2, Ordering::Log)
        };
        let config = named("deltafold-heads", "eu-west-1");
        assert_eq!(CollectionConfig::decode(config.encode()).unwrap(), config);
        let refused = |object| assert_eq!(CollectionConfig::decode(object).unwrap_err().kind(), Kind::Invalid);
        for (table, region) in [("", "r"), ("t", ""), (&"t".repeat(256), "r"), ("t", &"r".repeat(65))] {
            refused(named(table, region).encode());
        }
        let fields = config.encode();
        refused(with_section(&fields, FIELDS, &|bytes| bytes[40] = 2));
        refused(with_section(&fields, FIELDS, &|bytes| bytes.push(0)));
        refused(with_section(&fields, FIELDS, &|bytes| bytes.truncate(48)));
    }

    #[test]
    fn a_configuration_out_of_range_is_refused() {
        let object = config(Metric::L2, Ordering::Log).encode();
        for (at, with) in [
            (16, [0; 4]),
            (16, [1, 0, 1, 0]),
            (20, [0, 0, 1, 1]),
            (20, [1, 16, 1, 1]),
            (20, [1, 0, 0, 1]),
            (20, [1, 0, 1, 3]),
        ] {
            let forged = with_section(&object, FIELDS, &|bytes| bytes[at..at + 4].copy_from_slice(&with));
            assert_eq!(CollectionConfig::decode(forged).unwrap_err().kind(), Kind::Invalid, "{with:?} at {at}");
        }
    }
}
