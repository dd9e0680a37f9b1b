//! Texts in Base64, as Kinesis and some queue clients carry them, plain or as gzip.

use std::io::Read as _;

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

/// The longest text that gzip may unpack to. A message has at most 1 MiB.
const MAX_UNPACKED: u64 = 32 << 20;
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// The first bytes of a record that Kinesis' producer library has aggregated.
const AGGREGATED: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];

fn engine() -> GeneralPurpose {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(&base64::alphabet::STANDARD, config)
}

/// The text of a body that is Base64 of JSON. `None` if it is anything else.
pub(super) fn body(text: &str) -> Option<Result<String, String>> {
    let packed: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let bytes = engine().decode(packed).ok()?;
    let is_json = bytes.trim_ascii_start().first().is_some_and(|first| matches!(first, b'{' | b'[' | b'"'));
    (is_json || bytes.starts_with(&GZIP)).then(|| plain(bytes, "the Base64 text"))
}

/// The text of a record of a Kinesis stream.
pub(super) fn record(data: &str) -> Result<String, String> {
    let bytes =
        engine().decode(data).map_err(|error| format!("the `data` of the Kinesis record is no Base64: {error}"))?;
    if bytes.starts_with(&AGGREGATED) {
        return Err("the Kinesis record is an aggregate of many, made by the producer library; switch its aggregation off (`AggregationEnabled`), or deaggregate before".to_owned());
    }
    plain(bytes, "the Kinesis record")
}

fn plain(bytes: Vec<u8>, what: &str) -> Result<String, String> {
    let bytes = if bytes.starts_with(&GZIP) {
        let mut plain = Vec::new();
        let mut decoder = flate2::read::MultiGzDecoder::new(&bytes[..]).take(MAX_UNPACKED + 1);
        decoder.read_to_end(&mut plain).map_err(|error| format!("{what} is damaged gzip: {error}"))?;
        if plain.len() as u64 > MAX_UNPACKED {
            return Err(format!("{what} unpacks to more than {MAX_UNPACKED} bytes; put so much into an object"));
        }
        plain
    } else {
        bytes
    };
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        format!("{what} is not UTF-8 text from byte {at} on; send ops as JSON")
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn encoded(bytes: &[u8]) -> String {
        base64::engine::general_purpose::STANDARD.encode(bytes)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn base64_of_json_is_told_from_other_text() {
        assert_eq!(body(&encoded(b" {}")), Some(Ok(" {}".to_owned())));
        assert_eq!(body(encoded(b"{} ").trim_end_matches('=')), Some(Ok("{} ".to_owned())), "without padding");
        assert_eq!(body(&encoded(&gzip(b"[1]"))), Some(Ok("[1]".to_owned())));
        for other in ["nonsense", "abcd", "", "{}", "not base64!"] {
            assert_eq!(body(other), None, "{other}");
        }
    }

    #[test]
    fn gzip_is_unpacked_up_to_a_limit_and_damage_is_named() {
        let packed = gzip(&vec![b' '; MAX_UNPACKED as usize + 1]);
        assert!(record(&encoded(&packed)).unwrap_err().contains("more than"));
        let packed = gzip(b"{\"op\":\"delete\",\"id\":\"a\"}");
        assert!(record(&encoded(&packed[..packed.len() - 3])).unwrap_err().contains("damaged gzip"));
        assert!(record(&encoded(b"ab\xff")).unwrap_err().contains("from byte 2 on"));
        assert!(record("?").unwrap_err().contains("no Base64"));
        assert!(record(&encoded(&AGGREGATED)).unwrap_err().contains("aggregation"));
    }
}
