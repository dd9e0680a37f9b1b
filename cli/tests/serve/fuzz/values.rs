//! Hostile values, written as they stand in a body.

use deltafold_testing::random::Random;

/// JSON, and text that only looks like it.
const RAW: &[&[u8]] = &[
    b"null",
    b"true",
    b"0",
    b"-1",
    b"0.5",
    b"-0.0",
    b"1e-400",
    b"1e38",
    b"1e39",
    b"1e308",
    b"1e999",
    b"-1e999",
    b"NaN",
    b"Infinity",
    b"-Infinity",
    b"9223372036854775807",
    b"9223372036854775808",
    b"18446744073709551615",
    b"18446744073709551616",
    b"-9223372036854775809",
    b"01",
    b"0x10",
    b"1.",
    b"[]",
    b"{}",
    b"[null]",
    b"[[]]",
    b"[[[1]]]",
    b"{\"\":null}",
    b"{\"a\":1,\"a\":[2]}",
    b"{\"#uri\":\"x\"}",
    b"{\"$and\":[]}",
    b"{\"$or\":[{\"n\":1}]}",
    b"{\"$where\":\"1\"}",
    b"{\"n\":{\"$gt\":\"x\"}}",
    b"{\"n\":{\"$in\":[1,\"x\"]}}",
    b"{\"n\":{\"$eq\":1,\"$ne\":2}}",
    b"{\"#document\":{\"$regex\":\"(\"}}",
    b"{\"#document\":{\"$regex\":\"((((a{1,100}){1,100}){1,100}){1,100}){1,100}\"}}",
    b"{\"#document\":{\"$regex\":\"(a+)+$\"}}",
    b"{\"$regex\":\"\\\\p{L}{1000}{1000}\"}",
    b"{\"$contains\":\"\"}",
    b"{\"$not_contains\":null}",
    b"{\"#type\":\"sparse_vector\",\"indices\":[1],\"values\":[]}",
    b"{\"#type\":\"sparse_vector\",\"indices\":[-1],\"values\":[1e308]}",
    b"{\"#type\":\"other\"}",
    b"\"\"",
    b"\" \"",
    b"\"..\"",
    b"\"../../../etc/passwd\"",
    b"\"a/b\"",
    b"\"%2e%2e%2f\"",
    b"\"\\u0000\"",
    b"\"\\ud800\"",
    b"\"\\udfff\\ud800\"",
    b"\"\\uffff\"",
    b"\"\\u202e\\u0301\"",
    b"\"\xff\xfe\"",
    b"\"\xc0\x80\"",
    b"\"\xed\xa0\x80\"",
    b"\"line\nbreak\"",
    b"\"\\x41\"",
    b"\"AAAA\"",
    b"\"AAAAAA==\"",
    b"\"AADAfwAAgD8=\"",
    b"\"AACAfwAAgD8=\"",
    b"\"=\"",
    b"\"AAAAAAAAgD8\"",
    b"'single'",
    b"undefined",
    b"/* comment */ 1",
    b"\"victim\"",
    b"\"id-0\"",
    b"\"$eq\"",
    b"\"#document\"",
    b"{\"hnsw\":{\"space\":\"none\"}}",
    b"{\"hnsw\":{\"ef_search\":-1}}",
    b"{\"hnsw:space\":7}",
    b"{\"deltafold:shards\":0}",
    b"{\"deltafold:shards\":99999}",
    b"{\"deltafold:shards\":\"many\"}",
];

/// A hostile value. Few are long, and none is longer than 400 KiB.
pub(crate) fn hostile(random: &mut Random) -> Vec<u8> {
    if !random.once_in(6) {
        return RAW[random.index(RAW.len())].to_vec();
    }
    let many = [40, 130, 1_030, 20_000, 70_000][random.index(5)];
    let list = |element: &str| [b"[".to_vec(), vec![element; many].join(",").into_bytes(), b"]".to_vec()].concat();
    match random.below(12) {
        0 => [b"[".repeat(many), b"]".repeat(many)].concat(),
        1 => b"[".repeat(many),
        2 => [b"{\"a\":".repeat(many), b"1".to_vec(), b"}".repeat(many)].concat(),
        3 => [b"{\"$and\":[".repeat(many), b"{\"n\":1}".to_vec(), b"]}".repeat(many)].concat(),
        4 => [b"{\"$not\":".repeat(many), b"{\"n\":1}".to_vec(), b"}".repeat(many)].concat(),
        5 => list("0"),
        6 => list("\"\""),
        7 => list("{}"),
        8 => [b"\"".to_vec(), b"x".repeat(many), b"\"".to_vec()].concat(),
        9 => b"9".repeat(many),
        10 => [b"0.".to_vec(), b"1".repeat(many), b"e-5".to_vec()].concat(),
        _ => {
            let members: Vec<String> = (0..many.min(20_000)).map(|n| format!("\"k{n}\":{n}")).collect();
            format!("{{{}}}", members.join(",")).into_bytes()
        }
    }
}
