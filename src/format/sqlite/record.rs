//! Varints and records: a header of serial types, and the values that they describe.
//!
//! | serial type | value |
//! |---|---|
//! | 0 | NULL |
//! | 1, 2, 3, 4, 5, 6 | integer of 1, 2, 3, 4, 6, 8 bytes, big-endian, two's complement |
//! | 7 | IEEE 754 number of 8 bytes, big-endian |
//! | 8, 9 | the integers 0 and 1 |
//! | N ≥ 12, even | (N - 12) / 2 bytes |
//! | N ≥ 13, odd | text of (N - 13) / 2 bytes, in the encoding of the database |
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used
    )
)]

/// One value of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// NULL.
    Null,
    /// An integer.
    Integer(i64),
    /// A floating point number.
    Real(f64),
    /// Text as it is stored, in the encoding of the database.
    Text(&'a [u8]),
    /// Bytes.
    Blob(&'a [u8]),
}

/// A varint and its length: up to eight bytes of seven bits, most significant first, and a ninth of eight.
/// `None` if the bytes end within it.
pub(super) fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0_u64;
    for (at, byte) in bytes.iter().take(9).enumerate() {
        let len = at.saturating_add(1);
        if len == 9 {
            return Some((value << 8 | u64::from(*byte), len));
        }
        value = value << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((value, len));
        }
    }
    None
}

/// The values of a record; their headers and bodies fill it exactly. The error says what was found instead.
pub(super) fn decode(record: &[u8]) -> Result<Vec<Value<'_>>, String> {
    let (header_len, first) = varint(record).ok_or("a record without header")?;
    let (header, mut body) = usize::try_from(header_len)
        .ok()
        .and_then(|len| record.split_at_checked(len))
        .ok_or_else(|| format!("a record of {} bytes with a header of {header_len}", record.len()))?;
    let mut types = header.get(first..).ok_or("a record whose header is shorter than its length")?;
    let mut values = Vec::new();
    while !types.is_empty() {
        let (serial, len) = varint(types).ok_or("a serial type that passes the header of its record")?;
        types = types.get(len..).unwrap_or_default();
        let size = match serial {
            0 | 8 | 9 => 0,
            1..=4 => serial,
            5 => 6,
            6 | 7 => 8,
            10 | 11 => return Err(format!("serial type {serial}, which is reserved")),
            _ => serial.saturating_sub(12) / 2,
        };
        let split = usize::try_from(size).ok().and_then(|size| body.split_at_checked(size));
        let (bytes, rest) =
            split.ok_or_else(|| format!("a value of {size} bytes where {} are left", body.len()))?;
        body = rest;
        values.push(match serial {
            0 => Value::Null,
            1..=6 => Value::Integer(integer(bytes)),
            7 => Value::Real(f64::from_bits(u64::from_be_bytes(bytes.try_into().unwrap_or_default()))),
            8 => Value::Integer(0),
            9 => Value::Integer(1),
            _ if serial % 2 == 0 => Value::Blob(bytes),
            _ => Value::Text(bytes),
        });
    }
    if body.is_empty() { Ok(values) } else { Err(format!("{} bytes after the last value", body.len())) }
}

/// A big-endian two's complement number of up to eight bytes.
fn integer(bytes: &[u8]) -> i64 {
    let is_negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
    let start = if is_negative { -1_i64 } else { 0 };
    bytes.iter().fold(start, |value, byte| value << 8 | i64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_have_one_to_nine_bytes() {
        for (bytes, want) in [
            (&[0x00][..], Some((0, 1))),
            (&[0x7f, 1], Some((127, 1))),
            (&[0x81, 0x00], Some((128, 2))),
            (&[0x82, 0x80, 0x01], Some((32769, 3))),
            (&[0xff; 9], Some((u64::MAX, 9))),
            (&[0x80; 9], Some((0x80, 9))),
            (&[0x80; 8], None),
            (&[], None),
        ] {
            assert_eq!(varint(bytes), want, "{bytes:x?}");
        }
    }

    #[test]
    fn every_serial_type_has_its_value() {
        let mut record = vec![14, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 15, 12];
        let mut want = vec![Value::Null];
        for (len, value) in [(1, -1), (2, -2), (3, 0x01_0203), (4, -0x0102_0304), (6, -7), (8, i64::MIN)] {
            record.extend(&i64::to_be_bytes(value)[8 - len..]);
            want.push(Value::Integer(value));
        }
        record.extend(1.5_f64.to_be_bytes());
        record.extend(b"abc");
        want.extend([Value::Real(1.5), Value::Integer(0), Value::Integer(1)]);
        want.extend([Value::Blob(b"ab"), Value::Text(b"c"), Value::Blob(b"")]);
        assert_eq!(decode(&record).unwrap(), want);
        for end in 0..record.len() {
            assert!(decode(&record[..end]).is_err(), "{end}");
        }
        record.push(0);
        assert_eq!(decode(&record).unwrap_err(), "1 bytes after the last value");
        assert!(decode(&[2, 10]).unwrap_err().contains("reserved"));
        assert!(decode(&[0x82, 0x00]).is_err());
    }
}
