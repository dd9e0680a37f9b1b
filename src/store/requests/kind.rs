//! The kinds of requests.

use std::fmt;

/// Kinds of requests, as a bill lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum RequestKind {
    /// A whole object, or a range of one.
    Get,
    /// An object, unless it is unchanged.
    GetUnless,
    /// A new object.
    Create,
    /// A replaced register.
    Replace,
    /// The start of a large object's upload.
    UploadStart,
    /// A part of such an upload.
    UploadPart,
    /// The request that makes it an object.
    UploadComplete,
    /// The abort of an upload.
    UploadAbort,
    /// A page of unfinished uploads.
    UploadList,
    /// A page of names.
    List,
    /// A batch of up to 1,000 removals.
    Delete,
    /// The store's clock.
    Clock,
    /// A read of a register in a table.
    RegisterRead,
    /// A write of a register in a table.
    RegisterWrite,
    /// A list of the registers of a table.
    RegisterList,
}

impl RequestKind {
    /// All kinds.
    pub const ALL: [Self; 15] = [
        Self::Get,
        Self::GetUnless,
        Self::Create,
        Self::Replace,
        Self::UploadStart,
        Self::UploadPart,
        Self::UploadComplete,
        Self::UploadAbort,
        Self::UploadList,
        Self::List,
        Self::Delete,
        Self::Clock,
        Self::RegisterRead,
        Self::RegisterWrite,
        Self::RegisterList,
    ];

    /// Its name in metrics, traces and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::GetUnless => "get_unless",
            Self::Create => "create",
            Self::Replace => "replace",
            Self::UploadStart => "upload_start",
            Self::UploadPart => "upload_part",
            Self::UploadComplete => "upload_complete",
            Self::UploadAbort => "upload_abort",
            Self::UploadList => "upload_list",
            Self::List => "list",
            Self::Delete => "delete",
            Self::Clock => "clock",
            Self::RegisterRead => "register_read",
            Self::RegisterWrite => "register_write",
            Self::RegisterList => "register_list",
        }
    }
}

impl fmt::Display for RequestKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_names_of_their_own() {
        let names: std::collections::BTreeSet<_> = RequestKind::ALL.map(RequestKind::name).into();
        assert_eq!(names.len(), RequestKind::ALL.len());
    }
}
