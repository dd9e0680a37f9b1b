//! The settings of `serve`, from the environment.

use super::variables::Variables;
use crate::memory::MemoryLimit;
use crate::serve::{Access, ServeOptions, Tokens};
use crate::store::s3::parse_bytes;

/// The service hands over at most this much of a request, its JSON included.
const MAX_BODY: usize = 6 << 20;
/// Records of a batch, as clients are told: those of 1,536 dimensions still fit into a request.
const MAX_BATCH: u32 = 500;
/// A log with this many segments is folded early.
const FOLD_SEGMENTS: u32 = 64;
/// Each may take half as much again as its memory limit, a quarter of the function's.
const OPEN_COLLECTIONS: u32 = 2;
/// Most bytes of copies of parts, unless the settings say more.
const MAX_CACHE: u64 = 10 << 30;

/// The clients that the function lets in, besides the check of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Auth {
    /// Those whose signature the service has checked.
    Iam,
    /// Those with a token.
    Tokens,
    /// Everyone who knows the URL.
    Open,
}

#[derive(Debug)]
pub(super) struct ServeSettings {
    pub(super) auth: Auth,
    pub(super) options: ServeOptions,
    /// The function that folds. Without one, the schedule alone has logs folded.
    pub(super) compact_function: Option<String>,
    /// A log with this many segments is folded early.
    pub(super) fold_segments: u64,
    /// Most bytes of copies of parts in the function's temporary storage; 0 for none.
    pub(super) cache: u64,
}

impl ServeSettings {
    /// Reads the variables.
    pub(super) fn read<F: Fn(&str) -> Option<String>>(variables: &mut Variables<F>, memory: MemoryLimit) -> Self {
        let tokens = variables.get("DELTAFOLD_TOKENS");
        let is_given = tokens.is_some();
        let tokens = tokens.map(|text| Tokens::parse(&text.replace(';', "\n")));
        let tokens = tokens.and_then(|tokens| variables.accept("DELTAFOLD_TOKENS", tokens));
        let auth = match variables.get("DELTAFOLD_AUTH").as_deref().map(str::trim) {
            None if is_given => Auth::Tokens,
            None | Some("iam") => Auth::Iam,
            Some("tokens") => Auth::Tokens,
            Some("none") => Auth::Open,
            Some(other) => {
                variables.refuse(format!("DELTAFOLD_AUTH is `{other}`; it must be `iam`, `tokens` or `none`"));
                Auth::Iam
            }
        };
        match (auth, is_given) {
            (Auth::Tokens, false) => {
                variables.refuse("DELTAFOLD_TOKENS is not set; it lists the tokens of clients, one a line");
            }
            (Auth::Open, true) => {
                variables.refuse("DELTAFOLD_AUTH is `none`, and DELTAFOLD_TOKENS lists tokens; unset one of them");
            }
            _ => {}
        }
        let compact = match variables.get("DELTAFOLD_COMPACT").as_deref().map(str::trim) {
            None | Some("false") => false,
            Some("true") => true,
            Some(other) => {
                variables.refuse(format!("DELTAFOLD_COMPACT is `{other}`; it must be `true` or `false`"));
                false
            }
        };
        let cache = match variables.get("DELTAFOLD_CACHE") {
            None => room(),
            Some(text) => parse_bytes(text.trim()).unwrap_or_else(|| {
                variables.refuse(format!("DELTAFOLD_CACHE is `{text}`, which is not a size; write it as in `400MiB`"));
                0
            }),
        };
        let open = variables.number("DELTAFOLD_OPEN_COLLECTIONS", OPEN_COLLECTIONS);
        let options = ServeOptions::default()
            .access(tokens.map_or(Access::Open, Access::Tokens))
            .compact(compact)
            .memory(memory)
            .open_collections(usize::try_from(open).unwrap_or(usize::MAX))
            .max_body(MAX_BODY)
            .max_batch(MAX_BATCH);
        Self {
            auth,
            options,
            compact_function: variables.get("DELTAFOLD_COMPACT_FUNCTION"),
            fold_segments: variables.number("DELTAFOLD_FOLD_SEGMENTS", FOLD_SEGMENTS).into(),
            cache,
        }
    }
}

/// Three quarters of the temporary storage. Readers keep long logs in the rest.
fn room() -> u64 {
    let whole =
        rustix::fs::statvfs(std::env::temp_dir()).map_or(0, |found| found.f_blocks.saturating_mul(found.f_frsize));
    (whole / 4 * 3).min(MAX_CACHE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(given: &[(&str, &str)]) -> Result<ServeSettings, String> {
        let find = |name: &str| given.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned());
        let mut variables = Variables::new(find);
        let settings = ServeSettings::read(&mut variables, MemoryLimit::default());
        variables.mistakes().map_or(Ok(settings), Err)
    }

    #[test]
    fn clients_need_a_signature_unless_settings_say_otherwise() {
        let auth = |variables: &[(&str, &str)]| {
            let settings = read(variables).unwrap();
            (settings.auth, matches!(settings.options.access, Access::Tokens(_)))
        };
        let tokens = ("DELTAFOLD_TOKENS", "a read-only;b\nc tenant=t");
        assert_eq!(auth(&[]), (Auth::Iam, false));
        assert_eq!(auth(&[("DELTAFOLD_AUTH", "iam")]), (Auth::Iam, false));
        assert_eq!(auth(&[tokens]), (Auth::Tokens, true));
        assert_eq!(auth(&[("DELTAFOLD_AUTH", "iam"), tokens]), (Auth::Iam, true));
        assert_eq!(auth(&[("DELTAFOLD_AUTH", "none")]), (Auth::Open, false));
        let refused = |variables: &[(&str, &str)]| read(variables).unwrap_err();
        assert!(refused(&[("DELTAFOLD_AUTH", "tokens")]).contains("DELTAFOLD_TOKENS is not set"));
        assert!(refused(&[("DELTAFOLD_AUTH", "none"), tokens]).contains("unset one"));
        assert!(refused(&[("DELTAFOLD_AUTH", "open")]).contains("`iam`, `tokens` or `none`"));
        let said = refused(&[("DELTAFOLD_TOKENS", "s3cret nonsense")]);
        assert!(said.contains("line 1") && !said.contains("s3cret"), "{said}");
    }

    #[test]
    fn sizes_and_switches_are_read() {
        assert_eq!(read(&[("DELTAFOLD_CACHE", "400MiB")]).unwrap().cache, 400 << 20);
        assert_eq!(read(&[("DELTAFOLD_CACHE", "0")]).unwrap().cache, 0);
        assert!(read(&[]).unwrap().cache > 0, "the temporary storage has room");
        assert!(!read(&[]).unwrap().options.compact);
        assert!(read(&[("DELTAFOLD_COMPACT", "true")]).unwrap().options.compact);
        for wrong in [("DELTAFOLD_CACHE", "much"), ("DELTAFOLD_COMPACT", "yes")] {
            assert!(read(&[wrong]).unwrap_err().contains(wrong.0));
        }
    }
}
