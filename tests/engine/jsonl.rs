//! JSON Lines read back the ops that were printed, and the real data reads as its makers meant it.

use std::collections::BTreeMap;

use deltafold::format::{Action, Change, Op, Patch, Record, Value};
use deltafold::jsonl::{Fields, parse_op, write_op, write_record};
use deltafold_testing::canonical;
use deltafold_testing::data::DataSet;
use proptest::prelude::*;

/// The plainest model of a collection.
fn apply(state: &mut BTreeMap<String, Record>, op: Op) {
    match op.action {
        Action::Put(record) => drop(state.insert(op.id, record)),
        Action::Add(record) => drop(state.entry(op.id).or_insert(record)),
        Action::Upsert(patch) => {
            let old = state.remove(&op.id).unwrap_or_default();
            state.insert(op.id, patch.apply(old));
        }
        Action::Patch(patch) => {
            if let Some(old) = state.remove(&op.id) {
                state.insert(op.id, patch.apply(old));
            }
        }
        Action::Delete => drop(state.remove(&op.id)),
    }
}

fn reads_as_expected(data: &DataSet) {
    let mut state = BTreeMap::new();
    data.base().chain(data.updates()).for_each(|op| apply(&mut state, op));
    assert_eq!(state.len() as u64, data.expected_records());
    let sha256 = canonical::sha256(state.iter().map(|(id, record)| (id.as_str(), record)));
    assert_eq!(sha256, data.expected_sha256());
}

#[test]
fn the_demo_data_reads_as_expected() {
    reads_as_expected(&DataSet::demo());
}

#[test]
fn the_whole_data_reads_as_expected() {
    if let Some(data) = DataSet::whole() {
        reads_as_expected(&data);
    }
}

fn finite() -> impl Strategy<Value = f64> {
    use proptest::num::f64::{NEGATIVE, NORMAL, POSITIVE, SUBNORMAL, ZERO};
    POSITIVE | NEGATIVE | NORMAL | SUBNORMAL | ZERO
}

fn embedding() -> impl Strategy<Value = Vec<f32>> {
    use proptest::num::f32::{NEGATIVE, NORMAL, POSITIVE, SUBNORMAL, ZERO};
    proptest::collection::vec(POSITIVE | NEGATIVE | NORMAL | SUBNORMAL | ZERO, 0..8)
}

fn value() -> impl Strategy<Value = Value> {
    use proptest::collection::vec;
    prop_oneof![
        any::<String>().prop_map(Value::String),
        any::<i64>().prop_map(Value::I64),
        finite().prop_map(Value::F64),
        any::<bool>().prop_map(Value::Bool),
        vec(any::<String>(), 0..4).prop_map(Value::Strings),
        vec(any::<i64>(), 1..4).prop_map(Value::I64s),
        vec(finite(), 1..4).prop_map(Value::F64s),
        vec(any::<bool>(), 1..4).prop_map(Value::Bools),
    ]
}

fn record() -> impl Strategy<Value = Record> {
    let metadata = proptest::collection::btree_map(any::<String>(), value(), 0..4);
    (proptest::option::of(embedding()), metadata, proptest::option::of(any::<String>()))
        .prop_map(|(embedding, metadata, document)| Record { embedding, metadata, document })
}

fn change<T: std::fmt::Debug + Clone>(value: impl Strategy<Value = T>) -> impl Strategy<Value = Change<T>> {
    prop_oneof![Just(Change::Keep), Just(Change::Clear), value.prop_map(Change::Set)]
}

fn patch() -> impl Strategy<Value = Patch> {
    let metadata = proptest::collection::btree_map(any::<String>(), proptest::option::of(value()), 0..4);
    (change(embedding()), metadata, change(any::<String>())).prop_map(|(embedding, metadata, document)| Patch {
        embedding,
        metadata,
        document,
    })
}

fn op() -> impl Strategy<Value = Op> {
    let action = prop_oneof![
        record().prop_map(Action::Put),
        record().prop_map(Action::Add),
        patch().prop_map(Action::Upsert),
        patch().prop_map(Action::Patch),
        Just(Action::Delete),
    ];
    (any::<String>(), action, proptest::option::of(any::<u128>())).prop_map(|(id, action, revision)| Op {
        id,
        action,
        revision: revision.map(deltafold::format::Revision::new),
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_printed_op_reads_back(op in op()) {
        let mut line = Vec::new();
        write_op(&mut line, &op);
        prop_assert!(!line.contains(&b'\n'));
        let read = parse_op(&line, 1).unwrap();
        prop_assert_eq!(&read, &op);
        // `==` holds -0.0 and 0.0 for one; bits do not.
        if let (Some(read), Some(written)) = (read.action.embedding(), op.action.embedding()) {
            let bits = |numbers: &[f32]| numbers.iter().map(|number| number.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(read), bits(written));
        }
    }

    #[test]
    fn a_printed_record_reads_back_as_a_put(id in any::<String>(), record in record()) {
        let mut line = Vec::new();
        write_record(&mut line, &id, &record, Fields::default());
        let line = [br#"{"op":"put","#, &line[1..]].concat();
        prop_assert_eq!(parse_op(&line, 1).unwrap(), Op::put(id, record));
    }

    #[test]
    fn any_bytes_are_an_op_or_an_error(line in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse_op(&line, 1);
    }

    #[test]
    fn a_damaged_line_is_an_op_or_an_error_within_the_line(op in op(), at in any::<proptest::sample::Index>(), byte in any::<u8>()) {
        let mut line = Vec::new();
        write_op(&mut line, &op);
        *at.get_mut(&mut line) = byte;
        if let Err(error) = parse_op(&line, 1) {
            prop_assert!((1..=line.len() + 1).contains(&error.column()), "{error} in {}", line.len());
        }
    }
}
