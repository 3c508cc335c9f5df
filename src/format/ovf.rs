//! The descriptor of an appliance: which files hold its disks (DMTF DSP0243, OVF 1 and 2).
//!
//! Element and attribute names are compared without their namespace prefix, since writers choose it freely.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use crate::bytes::size_of_len;
use crate::error::{Error, Result};
use crate::limits::Limits;

/// One disk of an appliance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OvfDisk {
    /// `ovf:diskId`.
    pub id: String,
    /// The file that holds it, by `ovf:href`; `None` for an empty disk.
    pub file: Option<OvfFile>,
}

/// A file of an appliance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OvfFile {
    /// `ovf:href`: a name relative to the descriptor, or a URL.
    pub href: String,
    /// `ovf:compression`, if it is not `identity`.
    pub compression: Option<String>,
    /// Whether it is cut into pieces (`ovf:chunkSize`).
    pub is_chunked: bool,
}

/// The disks of an appliance, in the order of its `DiskSection`.
///
/// # Errors
/// `Malformed` if it is no XML, has no `Envelope`, or a disk refers to a file that is not listed; `Limit` for
/// more than `disk_extents` files.
pub fn decode(text: &[u8], limits: &Limits) -> Result<Vec<OvfDisk>> {
    let wrong =
        |at: u64, found: String, allowed: &str| Error::malformed("OVF", "descriptor", at, found, allowed);
    let text = std::str::from_utf8(text).map_err(|error| {
        wrong(size_of_len(error.valid_up_to()), "bytes that are no UTF-8".into(), "UTF-8")
    })?;
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
    let (mut has_envelope, mut files, mut disks) = (false, Vec::new(), Vec::new());
    loop {
        let at = reader.buffer_position();
        let event = reader.read_event().map_err(|error| wrong(at, error.to_string(), "XML"))?;
        let element = match &event {
            Event::Eof => break,
            Event::Start(element) | Event::Empty(element) => element,
            _ => continue,
        };
        match element.local_name().as_ref() {
            "Envelope" => has_envelope = true,
            "File" => {
                let compression = attribute(element, "compression").filter(|own| own != "identity");
                let file = OvfFile {
                    href: attribute(element, "href").unwrap_or_default(),
                    compression,
                    is_chunked: attribute(element, "chunkSize").is_some(),
                };
                files.push((attribute(element, "id").unwrap_or_default(), file));
            }
            "Disk" => {
                let reference = attribute(element, "fileRef").filter(|own| !own.is_empty());
                disks.push((attribute(element, "diskId").unwrap_or_default(), reference, at));
            }
            _ => {}
        }
        let count = files.len().saturating_add(disks.len());
        limits.disk_extents.check(size_of_len(count))?;
    }
    if !has_envelope {
        return Err(wrong(0, "no element `Envelope`".into(), "the descriptor of an appliance"));
    }
    let join = |(id, reference, at): (String, Option<String>, u64)| {
        let file = match reference {
            None => None,
            Some(reference) => {
                let found = files.iter().find(|(own, _)| *own == reference).map(|(_, file)| file.clone());
                let missing =
                    || wrong(at, format!("fileRef `{reference}`"), "the id of a file of References");
                Some(found.ok_or_else(missing)?)
            }
        };
        Ok(OvfDisk { id, file })
    };
    disks.into_iter().map(join).collect()
}

/// An attribute's value, whatever the prefix of its name.
fn attribute(element: &BytesStart<'_>, name: &str) -> Option<String> {
    let found = element.attributes().flatten().find(|own| own.key.local_name().as_ref() == name)?;
    quick_xml::escape::unescape(&found.value).ok().map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"<?xml version="1.0"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1">
  <References>
    <File ovf:href="a &amp; b.vmdk" ovf:id="file1" ovf:size="68"/>
    <File ovf:href="c.vmdk" ovf:id="file2" ovf:compression="gzip" ovf:chunkSize="7"></File>
  </References>
  <DiskSection><Info>Disks</Info>
    <Disk ovf:capacity="16" ovf:diskId="vmdisk1" ovf:fileRef="file1"/>
    <Disk ovf:capacity="16" ovf:diskId="vmdisk2" ovf:fileRef="file2"/>
    <Disk ovf:capacity="8" ovf:diskId="scratch"/>
  </DiskSection>
</Envelope>"#;

    #[test]
    fn disks_are_joined_to_their_files() {
        let disks = decode(TEXT.as_bytes(), &Limits::default()).unwrap();
        let told: Vec<_> = disks
            .iter()
            .map(|disk| {
                let file = disk.file.as_ref();
                (disk.id.as_str(), file.map(|f| (f.href.as_str(), f.compression.as_deref(), f.is_chunked)))
            })
            .collect();
        assert_eq!(
            told,
            [
                ("vmdisk1", Some(("a & b.vmdk", None, false))),
                ("vmdisk2", Some(("c.vmdk", Some("gzip"), true))),
                ("scratch", None)
            ]
        );
    }

    #[test]
    fn what_is_no_descriptor_is_refused() {
        for text in ["", "<a/>", "<Envelope", "<Envelope></a>", &TEXT.replace("ovf:id=\"file1\"", "")] {
            assert!(decode(text.as_bytes(), &Limits::default()).is_err(), "{text}");
        }
        for end in 0..TEXT.len() {
            let _ = decode(&TEXT.as_bytes()[..end], &Limits::default());
        }
    }
}
