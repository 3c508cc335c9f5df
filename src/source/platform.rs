//! Platforms in the words of the OCI image index: `linux/arm64/v8`.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;

/// Operating system, architecture and, where it matters, variant of a container image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct OciPlatform {
    /// `linux`.
    pub os: String,
    /// In Go's words: `amd64`, `arm64`, `arm`, …
    pub arch: String,
    /// `v7`, `v8`, …
    pub variant: Option<String>,
}

impl OciPlatform {
    /// The variant, with the one that is meant where none is written.
    fn full_variant(&self) -> &str {
        match (self.variant.as_deref().unwrap_or(""), self.arch.as_str()) {
            ("", "arm") => "v7",
            ("", "arm64") | ("8", "arm64") => "v8",
            ("", "amd64") => "v1",
            (variant, _) => variant,
        }
    }

    /// How well `offered` serves where this is wanted: `None` not at all, higher is better.
    #[must_use]
    pub fn rank(&self, offered: &OciPlatform) -> Option<u32> {
        if self.os != offered.os || self.arch != offered.arch {
            return None;
        }
        let (wanted, offered) = (self.full_variant(), offered.full_variant());
        if wanted == offered {
            return Some(u32::MAX);
        }
        // A machine runs what was built for an older variant, and never what was built for a newer one.
        let number = |variant: &str| variant.strip_prefix('v').and_then(|digits| digits.parse::<u32>().ok());
        match (number(wanted), number(offered)) {
            (Some(wanted), Some(offered)) => (offered < wanted).then_some(offered),
            _ => None,
        }
    }
}

impl fmt::Display for OciPlatform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.arch)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

impl FromStr for OciPlatform {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parts: Vec<&str> = text.split('/').collect();
        let (os, arch, variant) = match parts[..] {
            [os, arch] => (os, arch, None),
            [os, arch, variant] => (os, arch, Some(variant)),
            _ => ("", "", None),
        };
        if [os, arch, variant.unwrap_or("v")].contains(&"") {
            return Err(Error::malformed(
                "platform",
                "value",
                None,
                format!("`{text}`"),
                "for instance linux/amd64 or linux/arm/v7",
            ));
        }
        Ok(OciPlatform { os: os.into(), arch: arch.into(), variant: variant.map(str::to_owned) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_are_ranked() {
        for (wanted, offered, runs) in [
            ("linux/amd64", "linux/amd64", true),
            ("linux/amd64", "linux/amd64/v3", false),
            ("linux/amd64/v3", "linux/amd64", true),
            ("linux/arm64", "linux/arm64/v8", true),
            ("linux/arm", "linux/arm/v7", true),
            ("linux/arm", "linux/arm/v5", true),
            ("linux/arm/v6", "linux/arm/v7", false),
            ("linux/amd64", "windows/amd64", false),
            ("linux/amd64", "linux/arm64", false),
        ] {
            let rank = wanted.parse::<OciPlatform>().unwrap().rank(&offered.parse().unwrap());
            assert_eq!(rank.is_some(), runs, "{wanted} {offered}");
        }
        let arm: OciPlatform = "linux/arm".parse().unwrap();
        assert!(arm.rank(&"linux/arm/v6".parse().unwrap()) > arm.rank(&"linux/arm/v5".parse().unwrap()));
        for text in ["linux", "linux/", "a/b/c/d", "linux/arm/"] {
            assert!(text.parse::<OciPlatform>().is_err(), "{text}");
        }
    }
}
