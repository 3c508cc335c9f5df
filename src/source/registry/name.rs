//! Names of images in registries: `HOST[:PORT]/NAME[:TAG][@DIGEST]`, as docker reads them.
//!
//! The grammar is that of the distribution project's references. Without a host the image is one of
//! `docker.io`, without a folder there one of `docker.io/library`; without tag and digest it is `:latest`;
//! where both are written the digest counts.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use oci_client::{ParseError, Reference};

use crate::error::{Error, Result};
use crate::model::Sha256;
use crate::source::config::parse_digest;

/// What docker.io is called where people write it, and where its credentials are stored.
pub(super) const DOCKER_HUB: &str = "docker.io";

/// An image in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name {
    /// Host and, where one is written, port: `docker.io`, `localhost:5000`, `[::1]:5000`.
    pub(super) host: String,
    /// The repository: `library/debian`.
    pub(super) repository: String,
    /// Which of its images.
    pub(super) version: Version,
}

/// Which image of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Version {
    /// What this tag leads to now.
    Tag(String),
    /// This one.
    Digest(Sha256),
}

impl Name {
    /// # Errors
    /// `Config` for what is no name, `Unsupported` for digests of another algorithm than sha256.
    pub(super) fn parse(text: &str) -> Result<Self> {
        if text.starts_with("http://") || text.starts_with("https://") {
            return Err(Error::config("an address where the name of an image should be")
                .hint("leave `https://` out: registry:HOST[:PORT]/NAME[:TAG]"));
        }
        if !text.contains('/') {
            let name = text.split([':', '@']).next().unwrap_or_default();
            if name.contains('.') || name == "localhost" {
                return Err(Error::config(format!("`{text}` names a registry and no repository in it"))
                    .hint("name the image as HOST[:PORT]/NAME[:TAG]"));
            }
        }
        let (host, rest) = match text.split_once('/').filter(|(host, _)| host.starts_with('[')) {
            // The grammar of references knows no IPv6 addresses.
            Some((host, rest)) => (Some(ipv6_host(host)?), format!("localhost/{rest}")),
            None => (None, text.to_owned()),
        };
        let reference = Reference::try_from(rest.as_str()).map_err(|error| refuse(text, &error))?;
        let version = match (reference.digest(), reference.tag()) {
            (Some(digest), _) => Version::Digest(parse_digest(digest)?),
            (None, tag) => Version::Tag(tag.unwrap_or("latest").to_owned()),
        };
        let host = host.unwrap_or_else(|| reference.registry().to_ascii_lowercase());
        Ok(Name { host, repository: reference.repository().to_owned(), version })
    }

    /// Where the registry is, as host and port: docker.io answers elsewhere.
    pub(super) fn address(&self) -> &str {
        if self.host == DOCKER_HUB { "registry-1.docker.io" } else { &self.host }
    }

    /// The manifest's place below the repository.
    pub(super) fn reference(&self) -> String {
        match &self.version {
            Version::Tag(tag) => tag.clone(),
            Version::Digest(digest) => digest.to_string(),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.repository)?;
        match &self.version {
            Version::Tag(tag) => write!(f, ":{tag}"),
            Version::Digest(digest) => write!(f, "@{digest}"),
        }
    }
}

fn ipv6_host(host: &str) -> Result<String> {
    let parts = host.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let is_valid = parts.is_some_and(|(address, port)| {
        let port_is_valid =
            port.is_empty() || port.strip_prefix(':').is_some_and(|p| p.parse::<u16>().is_ok());
        port_is_valid && address.parse::<Ipv6Addr>().is_ok()
    });
    if is_valid {
        return Ok(host.to_ascii_lowercase());
    }
    Err(Error::config(format!("`{host}` is no IPv6 address in brackets with a port")))
}

fn refuse(text: &str, error: &ParseError) -> Error {
    let has_capitals = text
        .rsplit_once('/')
        .map_or(text, |(_, last)| last)
        .split([':', '@'])
        .next()
        .is_some_and(|name| name.chars().any(|c| c.is_ascii_uppercase()));
    let hint = match error {
        _ if has_capitals => "names of repositories are in lower case",
        ParseError::DigestInvalidFormat | ParseError::DigestInvalidLength | ParseError::DigestUnsupported => {
            "a digest is `sha256:` and 64 hexadecimal digits"
        }
        _ => "name the image as HOST[:PORT]/NAME[:TAG] or HOST[:PORT]/NAME@sha256:DIGEST",
    };
    Error::config(format!("`{text}` is no name of an image: {error}")).hint(hint)
}

/// Host and port of `HOST[:PORT]`.
pub(super) fn split_port(authority: &str) -> (&str, Option<&str>) {
    // The colons of an IPv6 address stand in brackets.
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

/// Whether a host (without port) is this machine itself: `localhost`, 127.0.0.0/8, `::1`.
pub(super) fn is_loopback(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    bare.eq_ignore_ascii_case("localhost")
        || bare.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
        || bare.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_filled_in_as_docker_does() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        for (text, want, address) in [
            ("debian", "docker.io/library/debian:latest", "registry-1.docker.io"),
            ("index.docker.io/a/b:c", "docker.io/a/b:c", "registry-1.docker.io"),
            ("localhost:5000/a", "localhost:5000/a:latest", "localhost:5000"),
            ("Example.com/a/b/c:V1", "example.com/a/b/c:V1", "example.com"),
            ("[::1]:5000/a:b", "[::1]:5000/a:b", "[::1]:5000"),
            (&format!("h.io/a:tag@{digest}"), &format!("h.io/a@{digest}"), "h.io"),
        ] {
            let name = Name::parse(text).unwrap();
            assert_eq!((name.to_string().as_str(), name.address()), (want, address), "{text}");
        }
    }

    #[test]
    fn what_is_no_name_is_refused_with_a_hint() {
        for text in [
            "",
            "h.io/",
            "h.io/A",
            "h.io",
            "localhost:5000",
            "https://h.io/a",
            "h.io/a:b c",
            "h.io/a@sha256:12",
            "[::g]/a",
            "h.io/a@md5:00",
        ] {
            let error = Name::parse(text).unwrap_err();
            assert!(error.hint_text().is_some() || text.starts_with('['), "{text}: {error}");
        }
    }

    #[test]
    fn loopback_hosts_are_told_from_those_that_look_alike() {
        for (authority, host, loopback) in [
            ("localhost:80", "localhost", true),
            ("127.9.8.7", "127.9.8.7", true),
            ("[::1]:5", "[::1]", true),
            ("[::1]", "[::1]", true),
            ("127.0.0.1.example.com", "127.0.0.1.example.com", false),
            ("localhost.example.com:1", "localhost.example.com", false),
            ("10.0.0.1", "10.0.0.1", false),
        ] {
            assert_eq!(split_port(authority).0, host);
            assert_eq!(is_loopback(host), loopback, "{host}");
        }
    }
}
