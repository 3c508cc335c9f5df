//! What a system is: distribution, release, architecture.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::Error;

/// Canonical distribution id, release and architecture; prints as `debian/12/amd64`. The release is the major
/// for Debian, RHEL kin, Fedora and Amazon, `major.SP` for SLE, `x.y` for Ubuntu and Alpine; a system that has
/// none (rolling, testing) has its code name or `rolling`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Platform {
    /// The `ID` of os-release.
    pub os: String,
    /// The release as compared.
    pub release: String,
    /// In the words of the distribution: `amd64`, `arm64`, …
    pub arch: String,
}

impl Platform {
    /// The same release on any architecture: `debian/12`.
    #[must_use]
    pub fn release_id(&self) -> String {
        format!("{}/{}", self.os, self.release)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.os, self.release, self.arch)
    }
}

impl FromStr for Platform {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text.split('/').collect::<Vec<_>>()[..] {
            [os, release, arch] if ![os, release, arch].contains(&"") => {
                Ok(Platform { os: os.into(), release: release.into(), arch: arch.into() })
            }
            _ => Err(Error::malformed(
                "platform",
                "value",
                None,
                format!("`{text}`"),
                "for instance debian/12/amd64",
            )),
        }
    }
}

impl Serialize for Platform {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Platform {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Platform {
    fn schema_name() -> Cow<'static, str> {
        "Platform".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^[^/]+/[^/]+/[^/]+$", "description": "distribution, release, architecture: debian/12/amd64" })
    }
}
