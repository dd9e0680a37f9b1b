//! JSON Lines. A line is an op or an error that points into it. An op that was read, written and
//! read again is the same op.
#![no_main]

use deltafold::format::{Action, Op, OpRules};
use deltafold::jsonl::{Fields, parse_op, parse_op_for, write_op, write_record};
use deltafold_fuzz::memory::Bounded;
use deltafold_fuzz::seeds;
use libfuzzer_sys::fuzz_target;

#[global_allocator]
static MEMORY: Bounded<{ 1 << 20 }> = Bounded;

fuzz_target!(init: seeds::write_if_asked(seeds), |line: &[u8]| check(line));

fn seeds() -> Vec<Vec<u8>> {
    let written = |op: &Op| {
        let mut line = Vec::new();
        write_op(&mut line, op);
        line
    };
    let (base, updates) = seeds::ops(60);
    let mut seeds: Vec<Vec<u8>> = base.iter().chain(&updates).map(written).collect();
    let by_hand = [
        r#"{"op":"put","id":"a","embedding":[0.1,-2e-3,3,0.25],"metadata":{"lang":"en","tags":["x","y"]},"document":"text"}"#,
        r#"{"op":"add","id":"\u00e9\ud83d\ude00","metadata":{"b":true,"bs":[true,false],"f":-0.0,"fs":[1.5,1e300],"i":-9223372036854775808,"is":[1,2]}}"#,
        r#" {"op":"upsert","id":"a","embedding":null,"metadata":{"lang":"de","tags":null,"none":[]},"document":null} "#,
        r#"{"op":"patch","id":"a","revision":"340282366920938463463374607431768211455"}"#,
        r#"{"op":"delete","id":"a","revision":7,"metadata":null}"#,
    ];
    seeds.extend(by_hand.map(|line| line.as_bytes().to_vec()));
    seeds
}

fn check(line: &[u8]) {
    let op = match parse_op(line, 7) {
        Ok(op) => op,
        Err(error) => {
            assert!(
                error.line() == 7 && (1..=line.len() + 1).contains(&error.column()),
                "{error} in {} bytes",
                line.len()
            );
            return;
        }
    };
    let written = written(&op);
    assert!(!written.contains(&b'\n'));
    let again = parse_op(&written, 1).expect("written bytes can be read");
    assert_eq!(again, op);
    // `==` treats -0.0 and 0.0 as equal; their texts differ.
    assert_eq!(self::written(&again), written);
    if let Action::Put(record) = &op.action {
        let mut line = Vec::new();
        write_record(&mut line, &op.id, record, Fields::default());
        let line = [br#"{"op":"put","#, line.get(1..).unwrap_or_default()].concat();
        assert_eq!(parse_op(&line, 1), Ok(Op { revision: None, ..op.clone() }));
    }
    let dimension =
        op.action.embedding().map_or(seeds::DIMENSION, |embedding| u32::try_from(embedding.len()).unwrap_or(0));
    for rules in [OpRules::log(dimension), OpRules::revision(dimension), OpRules::log(1)] {
        match parse_op_for(line, 7, rules) {
            Ok(taken) => assert!(taken == op && op.validate(rules).is_ok()),
            Err(error) => {
                assert!(op.validate(rules).is_err() && (1..=line.len() + 1).contains(&error.column()), "{error}");
            }
        }
    }
}

fn written(op: &Op) -> Vec<u8> {
    let mut line = Vec::new();
    write_op(&mut line, op);
    line
}
