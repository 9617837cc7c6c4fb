//! The records of the format, as bytes.

use super::SECTOR;

/// The extension record that announces Rock Ridge, as RRIP 1.09 wants its text.
const ROCK_RIDGE: [&str; 3] = [
    "RRIP_1991A",
    "THE ROCK RIDGE INTERCHANGE PROTOCOL PROVIDES SUPPORT FOR POSIX FILE SYSTEM SEMANTICS",
    "PLEASE CONTACT DISC PUBLISHER FOR SPECIFICATION SOURCE.  SEE PUBLISHER IDENTIFIER IN PRIMARY \
     VOLUME DESCRIPTOR FOR CONTACT INFORMATION.",
];

/// The PX entry: mode, links, owner, group; all belongs to root.
pub(super) fn posix(mode: u32) -> Vec<u8> {
    let mut own = b"PX\x24\x01".to_vec();
    for value in [u64::from(mode), 1, 0, 0] {
        own.extend_from_slice(&both32(value));
    }
    own
}

pub(super) fn extension_record() -> Vec<u8> {
    let [id, description, source] = ROCK_RIDGE;
    let mut er = b"ER".to_vec();
    er.push(low8(8 + id.len() + description.len() + source.len()));
    er.extend_from_slice(&[
        1,
        low8(id.len()),
        low8(description.len()),
        low8(source.len()),
        1,
    ]);
    for text in ROCK_RIDGE {
        er.extend_from_slice(text.as_bytes());
    }
    er
}

/// A directory record, padded to an even length.
pub(super) fn record(name: &[u8], sector: u64, size: u64, flags: u8, own: &[u8]) -> Vec<u8> {
    let mut r = vec![0, 0];
    r.extend_from_slice(&both32(sector));
    r.extend_from_slice(&both32(size));
    // 1 January 2000, so that the same content makes the same image.
    r.extend_from_slice(&[100, 1, 1, 0, 0, 0, 0]);
    r.extend_from_slice(&[flags, 0, 0]);
    r.extend_from_slice(&both16(1));
    r.push(low8(name.len()));
    r.extend_from_slice(name);
    if name.len().is_multiple_of(2) {
        r.push(0);
    }
    r.extend_from_slice(own);
    if r.len() % 2 == 1 {
        r.push(0);
    }
    r[0] = low8(r.len());
    r
}

pub(super) fn both32(value: u64) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&low32(value).to_le_bytes());
    bytes[4..].copy_from_slice(&low32(value).to_be_bytes());
    bytes
}

pub(super) fn both16(value: u16) -> [u8; 4] {
    let ([a, b], [c, d]) = (value.to_le_bytes(), value.to_be_bytes());
    [a, b, c, d]
}

// The layout has checked that sectors and sizes fit in 32 bits, folders in 16, names and records in 8.
pub(super) fn low32(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

pub(super) fn low16(value: usize) -> u16 {
    u16::try_from(value).unwrap_or(u16::MAX)
}

pub(super) fn low8(value: usize) -> u8 {
    u8::try_from(value).unwrap_or(u8::MAX)
}

pub(super) fn sectors_as_bytes(sectors: u64) -> usize {
    usize::try_from(sectors * SECTOR).unwrap_or(usize::MAX)
}
