//! Items: what a stream is a sequence of (spec `pxar.md` §2).

use super::error::DecodeError;

/// Length of an item's header: type and size, both u64, little endian.
pub(super) const HEADER_BYTES: usize = 16;

/// Longest name of a file, target of a symbolic link, or path of a hard link (spec §8).
pub(super) const NAME_BYTES_MAX: usize = 4096;

/// Longest prelude that is taken; the format has no limit. A thousand lists of patterns fit.
const PRELUDE_BYTES_MAX: u64 = 16 << 20;

/// What an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    FormatVersion,
    Prelude,
    Entry,
    /// As before 2020: read, never written.
    OldEntry,
    FileName,
    Symlink,
    HardLink,
    Device,
    Xattr,
    AclUser,
    AclGroup,
    AclGroupObj,
    AclDefault,
    AclDefaultUser,
    AclDefaultGroup,
    Fcaps,
    ProjectId,
    Payload,
    PayloadRef,
    Goodbye,
    PayloadStart,
    PayloadTail,
}

/// Kind, its number on disk, and the shortest and longest content.
const TABLE: [(Kind, u64, u64, u64); 22] = [
    (Kind::FormatVersion, 0x730f_6c75_df16_a40d, 8, 8),
    (Kind::Prelude, 0xe309_d79d_9f7b_771b, 0, PRELUDE_BYTES_MAX),
    (Kind::Entry, 0xd595_6474_e588_acef, 40, 40),
    (Kind::OldEntry, 0x11da_850a_1c1c_ceff, 32, 32),
    (Kind::FileName, 0x1670_1121_0639_17b3, 2, NAME_BYTES_MAX as u64 + 1),
    (Kind::Symlink, 0x27f9_71e7_dbf5_dc5f, 1, NAME_BYTES_MAX as u64 + 1),
    (Kind::HardLink, 0x5126_9c84_22bd_7275, 10, NAME_BYTES_MAX as u64 + 9),
    (Kind::Device, 0x9fc9_e906_586d_5ce9, 16, 16),
    (Kind::Xattr, 0x0dab_0229_b57d_cd03, 2, 255 + 65536),
    (Kind::AclUser, 0x2ce8_540a_457d_55b8, 16, 16),
    (Kind::AclGroup, 0x136e_3ece_b04c_03ab, 16, 16),
    (Kind::AclGroupObj, 0x1086_8031_e958_2876, 8, 8),
    (Kind::AclDefault, 0xbbbb_1341_5a68_96f5, 32, 32),
    (Kind::AclDefaultUser, 0xc893_57b4_0532_cd1f, 16, 16),
    (Kind::AclDefaultGroup, 0xf90a_8a58_1603_8ffe, 16, 16),
    (Kind::Fcaps, 0x2da9_dd9d_b5f7_fb67, 0, 255 + 65536),
    (Kind::ProjectId, 0xe075_40e8_2f7d_1cbb, 8, 8),
    (Kind::Payload, 0x2814_7a1b_0b7c_1a25, 0, u64::MAX),
    (Kind::PayloadRef, 0x419d_3d6b_c4ba_977e, 16, 16),
    (Kind::Goodbye, 0x2fec_4fa6_42d5_731d, 24, u64::MAX),
    (Kind::PayloadStart, 0x834c_68c2_194a_4ed2, 0, 0),
    (Kind::PayloadTail, 0x6c72_b78b_984c_81b5, 0, 0),
];

impl Kind {
    fn row(self) -> &'static (Self, u64, u64, u64) {
        let row = TABLE.iter().find(|row| row.0 == self);
        row.expect("invariant: every kind is in the table, which a test checks")
    }
}

/// The header of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    /// Bytes behind the header.
    pub(super) content_len: u64,
}

impl Header {
    /// Reads the header that stands at `at` in the stream.
    pub(super) fn parse(bytes: &[u8; HEADER_BYTES], at: u64) -> Result<Self, DecodeError> {
        let code = u64_at(bytes, 0);
        let size = u64_at(bytes, 8);
        let row = TABLE.iter().find(|row| row.1 == code);
        let (kind, _, min, max) = row.ok_or(DecodeError::UnknownItem { at, code })?;
        let content_len = size.checked_sub(HEADER_BYTES as u64).filter(|len| (min..=max).contains(&len));
        let content_len = content_len.ok_or(DecodeError::ItemSize { at, size })?;
        Ok(Self { kind: *kind, content_len })
    }

    pub(super) fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&self.kind.row().1.to_le_bytes());
        bytes[8..].copy_from_slice(&(self.content_len + HEADER_BYTES as u64).to_le_bytes());
        bytes
    }
}

/// Appends an item with this content.
pub(super) fn put(out: &mut Vec<u8>, kind: Kind, content: &[&[u8]]) {
    let content_len = content.iter().map(|part| part.len() as u64).sum();
    out.extend(Header { kind, content_len }.to_bytes());
    for part in content {
        out.extend_from_slice(part);
    }
}

/// Reads the number at `offset`, which the caller knows to be there.
pub(super) fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    let bytes = bytes[offset..offset + 8].try_into();
    u64::from_le_bytes(bytes.expect("invariant: the range has eight bytes"))
}

/// Reads the number at `offset`, which the caller knows to be there.
pub(super) fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    let bytes = bytes[offset..offset + 4].try_into();
    u32::from_le_bytes(bytes.expect("invariant: the range has four bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_written() {
        for (kind, code, min, max) in TABLE {
            for content_len in [min, max.min(u64::MAX - 16)] {
                let header = Header { kind, content_len };
                let bytes = header.to_bytes();
                assert_eq!(bytes[..8], code.to_le_bytes());
                assert_eq!(Header::parse(&bytes, 0).unwrap(), header);
            }
        }
    }

    #[test]
    fn unknown_items_and_wrong_sizes_are_errors() {
        let mut bytes = Header { kind: Kind::Entry, content_len: 40 }.to_bytes();
        for size in [0, 15, 16, 55, 57, u64::MAX] {
            bytes[8..].copy_from_slice(&size.to_le_bytes());
            assert!(
                matches!(Header::parse(&bytes, 7), Err(DecodeError::ItemSize { at: 7, size: s }) if s == size)
            );
        }
        bytes[0] ^= 1;
        assert!(matches!(Header::parse(&bytes, 7), Err(DecodeError::UnknownItem { at: 7, .. })));
    }
}
