//! Plain encoding: little-endian numbers, strings and lists with a length before them.
//! `format/SPEC.md`, section "Plain encoding".
//!
//! One value has one encoding, and a decoder accepts no other. So all readers accept the same
//! bytes, and a hash over the bytes is a hash over the value.

use crate::error::FormatError;

/// Appends values.
#[derive(Debug, Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn i64(&mut self, value: i64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn u128(&mut self, value: u128) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn f64(&mut self, value: f64) {
        self.u64(value.to_bits());
    }

    pub(crate) fn bool(&mut self, value: bool) {
        self.u8(u8::from(value));
    }

    /// A length or a count. A length above `u32` exceeds every limit, so a saturated one is
    /// refused, too.
    pub(crate) fn count(&mut self, count: usize) {
        self.u32(u32::try_from(count).unwrap_or(u32::MAX));
    }

    pub(crate) fn string(&mut self, text: &str) {
        self.count(text.len());
        self.0.extend_from_slice(text.as_bytes());
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Overwrites the `u32` at `at`, which was written before.
    pub(crate) fn set_count(&mut self, at: usize, count: usize) {
        let bytes = u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes();
        if let Some(place) = self.0.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
            *place = bytes;
        }
    }

    pub(crate) fn since(&self, at: usize) -> &[u8] {
        self.0.get(at..).unwrap_or_default()
    }

    pub(crate) fn into_vec(self) -> Vec<u8> {
        self.0
    }
}

/// Takes values off the front of a section.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Cursor<'a> {
    /// Reads `bytes`, which errors call `what`.
    pub(crate) fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { rest: bytes, what }
    }

    pub(crate) fn invalid(&self, reason: impl Into<std::borrow::Cow<'static, str>>) -> FormatError {
        FormatError::invalid(self.what, reason)
    }

    fn ends_early(&self) -> FormatError {
        self.invalid("it ends in the middle of a value")
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Result<&'a [u8], FormatError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or_else(|| self.ends_early())?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or_else(|| self.ends_early())?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, FormatError> {
        self.array().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, FormatError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, FormatError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, FormatError> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn i64(&mut self) -> Result<i64, FormatError> {
        self.array().map(i64::from_le_bytes)
    }

    pub(crate) fn u128(&mut self) -> Result<u128, FormatError> {
        self.array().map(u128::from_le_bytes)
    }

    /// Any bits. The caller decides whether the number may be infinite.
    pub(crate) fn f64(&mut self) -> Result<f64, FormatError> {
        self.u64().map(f64::from_bits)
    }

    pub(crate) fn bool(&mut self) -> Result<bool, FormatError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(self.invalid(format!("{other} is neither 0 nor 1"))),
        }
    }

    /// A count of items that take at least `each` bytes. It never exceeds the count that the bytes
    /// left could hold, so allocating for it is safe.
    pub(crate) fn count(&mut self, each: usize) -> Result<usize, FormatError> {
        let count = self.u32()? as usize;
        if count > self.rest.len() / each.max(1) {
            return Err(self.invalid(format!("it counts {count} entries, and its bytes end before them")));
        }
        Ok(count)
    }

    pub(crate) fn string(&mut self) -> Result<&'a str, FormatError> {
        let len = self.count(1)?;
        let bytes = self.bytes(len)?;
        str::from_utf8(bytes).map_err(|_| self.invalid("a text is not UTF-8"))
    }

    pub(crate) fn list<T>(
        &mut self,
        each: usize,
        mut item: impl FnMut(&mut Self) -> Result<T, FormatError>,
    ) -> Result<Vec<T>, FormatError> {
        let count = self.count(each)?;
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(item(self)?);
        }
        Ok(items)
    }

    /// The next `len` bytes as a cursor of their own.
    pub(crate) fn nested(&mut self) -> Result<Self, FormatError> {
        let len = self.count(1)?;
        Ok(Self { rest: self.bytes(len)?, what: self.what })
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Checks that all bytes were read.
    pub(crate) fn finish(self) -> Result<(), FormatError> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(self.invalid(format!("{} bytes follow its end", self.rest.len())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_round_trip_and_trailing_bytes_are_refused() {
        let mut writer = Writer::default();
        writer.u16(7);
        writer.f64(-0.0);
        writer.bool(true);
        writer.string("é");
        let bytes = writer.into_vec();
        let mut cursor = Cursor::new(&bytes, "test");
        assert_eq!(cursor.u16().unwrap(), 7);
        assert_eq!(cursor.f64().unwrap().to_bits(), (-0.0f64).to_bits());
        assert!(cursor.bool().unwrap());
        assert!(cursor.clone().finish().is_err());
        assert_eq!(cursor.string().unwrap(), "é");
        assert!(cursor.finish().is_ok());
    }

    #[test]
    fn a_count_beyond_the_bytes_left_is_refused_unallocated() {
        let bytes = u32::MAX.to_le_bytes();
        assert!(Cursor::new(&bytes, "test").list(1, Cursor::u8).is_err());
        assert!(Cursor::new(&bytes, "test").count(0).is_err());
        let three = [3, 0, 0, 0, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9];
        assert_eq!(Cursor::new(&three, "test").count(4).unwrap(), 3);
        assert!(Cursor::new(&three[..15], "test").count(4).is_err(), "room for two and a part of the third");
        assert!(Cursor::new(&[2], "test").bool().is_err());
        assert!(Cursor::new(&[1, 0, 0, 0, 0xFF], "test").string().is_err());
    }
}
