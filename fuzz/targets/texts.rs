//! An input cut into the texts of its ops. Nothing panics, every text lies within the input in its
//! order, the size of the reader's buffer changes nothing, and JSON Lines stay JSON Lines.
#![no_main]

use std::io::BufReader;

use deltafold::jsonl::{Layout, OpText, OpTexts, known_format, parse_op};
use deltafold_fuzz::memory::Bounded;
use deltafold_fuzz::seeds;
use libfuzzer_sys::fuzz_target;

#[global_allocator]
static MEMORY: Bounded<{ 4 << 20 }> = Bounded;

fuzz_target!(init: seeds::write_if_asked(seeds), |input: &[u8]| check(input));

fn seeds() -> Vec<Vec<u8>> {
    let (a, b) = (r#"{"op":"put","id":"a","embedding":[1,2]}"#, r#"{"op":"delete","id":"{[,\"b"}"#);
    [
        format!("{a}\n{b}\n"),
        format!("\u{feff}\n{a}\r\n{b}\x1a"),
        format!("[{a},\n{b}]"),
        format!("{a}{b}"),
        format!("\x1e{a}\n\x1e{b}\n"),
        "{\n  \"op\": \"delete\",\n  \"id\": \"a\"\n}\n{\n}\n".to_owned(),
        format!("[{a},NaN,{b},]"),
        "id,embedding\n".to_owned(),
    ]
    .map(String::into_bytes)
    .to_vec()
}

fn check(input: &[u8]) {
    let _ = known_format(input);
    let (layout, texts, error) = cut(input, 4_096);
    assert_eq!(cut(input, 1), (layout, texts.clone(), error.clone()));
    let mut rest = input;
    for (at, text) in &texts {
        let start = rest.windows(text.len().max(1)).position(|window| window == text).expect("it stands in the input");
        rest = &rest[start + text.len()..];
        if let Err(error) = parse_op(text, at.number) {
            assert!((1..=text.len() + 1).contains(&error.column()), "{error}");
        }
    }
    // Everything whose lines are ops is JSON Lines.
    let lines: Vec<&[u8]> = input.split_inclusive(|byte| *byte == b'\n').collect();
    if !lines.is_empty() && lines.iter().all(|line| parse_op(line, 1).is_ok()) {
        let found: Vec<&[u8]> = texts.iter().map(|(_, text)| text.as_slice()).collect();
        assert_eq!((layout, found, error), (Layout::Lines, lines, None));
    }
}

type Cut = (Layout, Vec<(OpText, Vec<u8>)>, Option<String>);

fn cut(input: &[u8], buffer: usize) -> Cut {
    let mut texts = OpTexts::new(BufReader::with_capacity(buffer, input), 1 << 16);
    let mut found = Vec::new();
    loop {
        let mut text = Vec::new();
        match texts.read_into(&mut text) {
            Ok(Some(at)) => found.push((at, text)),
            Ok(None) => return (texts.layout(), found, None),
            Err(error) => return (texts.layout(), found, Some(error.to_string())),
        }
    }
}
