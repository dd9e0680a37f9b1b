//! Files that settings name: certificates, mappings. The program reads them whole, up to a limit.

use std::fs::File;
use std::io::Read as _;

/// Reads a file that should hold `what`. Refuses pipes, which could block for ever, and devices,
/// which never end.
pub(crate) fn read_file(path: &str, what: &str, limit: u64) -> Result<Vec<u8>, String> {
    let failed = |error: std::io::Error| format!("cannot read {what} from `{path}`: {error}");
    let meta = std::fs::metadata(path).map_err(failed)?;
    if !meta.is_file() {
        return Err(format!("cannot read {what} from `{path}`: it is not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes)).map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(format!("cannot read {what} from `{path}`: it is larger than {limit} bytes; name the right file"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_up_to_a_limit_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        std::fs::write(path("a"), b"12345").unwrap();
        assert_eq!(read_file(&path("a"), "it", 5), Ok(b"12345".to_vec()));
        let refused = |path: &str, words: &str| {
            let said = read_file(path, "it", 4).unwrap_err();
            assert!(said.contains(words) && said.contains(path), "{said}");
        };
        refused(&path("a"), "larger than 4 bytes");
        refused(&path("none"), "cannot read it");
        refused(&folder.path().display().to_string(), "not a regular file");
        #[cfg(target_os = "linux")]
        refused("/dev/zero", "not a regular file");
    }
}
