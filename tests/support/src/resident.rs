//! The resident memory of a mapping, as the kernel counts it.

/// The resident bytes of the mapping that holds some bytes.
pub fn resident(bytes: &[u8]) -> usize {
    let at = bytes.as_ptr().addr();
    let text = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let mut lines = text.lines().skip_while(|line| {
        let range = line.split(' ').next().and_then(|range| range.split_once('-'));
        let number = |text| usize::from_str_radix(text, 16);
        !range.is_some_and(|(start, end)| matches!((number(start), number(end)), (Ok(s), Ok(e)) if s <= at && at < e))
    });
    let line = lines.find_map(|line| line.strip_prefix("Rss:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}
