//! Credentials for registries, from docker's `config.json` and podman's `auth.json` (containers-auth.json(5)).
//!
//! Files are asked in order, and the first that knows the image's registry says who asks. In a file, the
//! longest key that is the image's host, or its host with leading parts of its repository, counts: first of
//! `credHelpers`, then `credsStore`, then `auths`, as docker does. Keys of `auths` may be whole addresses
//! (`https://index.docker.io/v1/`). A helper is the program `docker-credential-NAME`, asked by `get`.
//!
//! No message shows what a file or a helper said beyond the message of a helper that failed.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;

use super::RegistryOptions;
use super::name::{DOCKER_HUB, Name};
use crate::bytes::size_of_len;
use crate::error::{Error, Result, ResultExt as _, quoted};
use crate::limits::Limits;

/// How docker.io is called in docker's own files.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";
/// How often a helper that has said all is asked whether it has ended.
const HELPER_POLL: Duration = Duration::from_millis(10);

/// What a registry is told about who asks.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Secret {
    /// User and password.
    Login(String, String),
    /// A refresh token that is exchanged for access tokens.
    Identity(String),
    /// An access token as it is.
    Access(String),
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Credentials, and the file that had them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) secret: Secret,
    pub(super) file: PathBuf,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct AuthFile {
    auths: Option<BTreeMap<String, Option<Entry>>>,
    cred_helpers: Option<BTreeMap<String, String>>,
    creds_store: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "lowercase", default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperAnswer {
    username: String,
    secret: String,
}

/// The credentials for an image's registry; `None` if no file knows any.
///
/// # Errors
/// `NotFound` if the file that was named is absent, `Malformed` and `Io` for files that cannot be read, and for
/// helpers that do not do their work.
pub(super) fn find(name: &Name, options: &RegistryOptions, limits: &Limits) -> Result<Option<Credentials>> {
    for file in options.auth_files() {
        let found = in_file(file, name, options, limits).at(|| format!("auth file {}", file.display()))?;
        if let Some(secret) = found {
            return Ok(Some(Credentials { secret, file: file.clone() }));
        }
    }
    Ok(None)
}

fn in_file(path: &Path, name: &Name, options: &RegistryOptions, limits: &Limits) -> Result<Option<Secret>> {
    let bytes = match read(path, limits) {
        Ok(bytes) => bytes,
        Err(error) if is_absent(&error) && options.auth_file.is_none() => return Ok(None),
        Err(error) if is_absent(&error) => return Err(Error::not_found("no such file")),
        Err(error) => return Err(error.into()),
    };
    if bytes.trim_ascii().is_empty() {
        return Ok(None);
    }
    let file: AuthFile = parse(&bytes)?;
    let keys = keys(name);
    let helpers = file.cred_helpers.unwrap_or_default();
    let helper = keys
        .iter()
        .find_map(|key| helpers.iter().find(|(known, _)| normal(known) == *key))
        .map(|(_, helper)| helper)
        .or(file.creds_store.as_ref())
        .filter(|helper| !helper.is_empty());
    if let Some(helper) = helper
        && let Some(secret) = ask_helper(helper, name, options, limits)?
    {
        return Ok(Some(secret));
    }
    let auths = file.auths.unwrap_or_default();
    for key in &keys {
        for (_, entry) in auths.iter().filter(|(known, _)| normal(known) == *key) {
            if let Some(secret) = entry.as_ref().map_or(Ok(None), |entry| secret(entry, key))? {
                return Ok(Some(secret));
            }
        }
    }
    Ok(None)
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn read(path: &Path, limits: &Limits) -> io::Result<Vec<u8>> {
    let ceiling = limits.auth_file_bytes;
    let mut bytes = Vec::new();
    File::open(path)?.take(ceiling.max.saturating_add(1)).read_to_end(&mut bytes)?;
    ceiling.check(size_of_len(bytes.len())).map_err(Error::into_io)?;
    Ok(bytes)
}

/// Reads the file's JSON. The parser's own words are not passed on: they quote what they dislike.
fn parse<T: for<'a> Deserialize<'a>>(bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| {
        let what = match error.classify() {
            serde_json::error::Category::Data => "a value of the wrong type",
            serde_json::error::Category::Eof => "an end too early",
            _ => "no JSON",
        };
        let found = format!("{what} at line {} column {}", error.line(), error.column());
        Error::malformed("credentials", "JSON", None, found, "what docker and podman write")
            .hint("mend the file, or write it again with `docker login` or `podman login`")
    })
}

/// Under which keys credentials for this image may be stored, the most special first.
fn keys(name: &Name) -> Vec<String> {
    let whole = format!("{}/{}", name.host, name.repository);
    let mut keys = vec![whole.clone()];
    let mut rest = whole.as_str();
    while let Some((shorter, _)) = rest.rsplit_once('/') {
        keys.push(shorter.to_owned());
        rest = shorter;
    }
    keys
}

/// A key as it is compared: without scheme, an address without its path, docker.io by its one name.
fn normal(key: &str) -> String {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    let path = match bare {
        Some(address) => address.split('/').next().unwrap_or_default(),
        None => key.trim_end_matches('/'),
    };
    let (host, rest) = path.split_once('/').map_or((path, None), |(host, rest)| (host, Some(rest)));
    let host = host.to_ascii_lowercase();
    let host = match host.as_str() {
        "index.docker.io" | "registry-1.docker.io" => DOCKER_HUB.to_owned(),
        _ => host,
    };
    match rest {
        None | Some("v1" | "v2") => host,
        Some(rest) => format!("{host}/{rest}"),
    }
}

/// What an entry of `auths` holds; `None` if it is empty, as those are whose secret is in a store.
fn secret(entry: &Entry, key: &str) -> Result<Option<Secret>> {
    let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    if let Some(token) = filled(&entry.identitytoken) {
        return Ok(Some(Secret::Identity(token)));
    }
    if let Some(token) = filled(&entry.registrytoken) {
        return Ok(Some(Secret::Access(token)));
    }
    if let Some(auth) = filled(&entry.auth) {
        return login(&auth).map(Some).ok_or_else(|| {
            Error::malformed(
                "credentials",
                "auth",
                None,
                "something else",
                "user and password, joined by a colon, in base64",
            )
            .hint("write the file again with `docker login` or `podman login`")
            .at(format!("`{key}`"))
        });
    }
    match (filled(&entry.username), filled(&entry.password)) {
        (Some(user), Some(password)) => Ok(Some(Secret::Login(user, password))),
        _ => Ok(None),
    }
}

/// User and password of an `auth` member.
fn login(auth: &str) -> Option<Secret> {
    let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let bytes = GeneralPurpose::new(&base64::alphabet::STANDARD, lenient).decode(auth.trim()).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (user, password) = text.split_once(':')?;
    let password = password.trim_end_matches('\0');
    (!user.is_empty()).then(|| Secret::Login(user.to_owned(), password.to_owned()))
}

/// Asks a credential helper; `None` if it knows nothing.
fn ask_helper(
    helper: &str,
    name: &Name,
    options: &RegistryOptions,
    limits: &Limits,
) -> Result<Option<Secret>> {
    let program = format!("docker-credential-{helper}");
    let is_plain = helper.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    if !is_plain {
        return Err(Error::config(format!("{} is no name of a credential helper", quoted(helper))));
    }
    let found = options.helper_folders.iter().map(|folder| folder.join(&program)).find(|path| path.is_file());
    let Some(path) = found else {
        return Err(Error::not_found(format!("the credential helper `{program}` in PATH"))
            .hint("install it, or take it out of the file (credHelpers, credsStore)"));
    };
    let server = if name.host == DOCKER_HUB { DOCKER_HUB_KEY } else { &name.host };
    let place = || format!("credential helper `{program}`");
    let (output, succeeded) = run(&path, server, limits).at(place)?;
    if !succeeded {
        let said = String::from_utf8_lossy(&output);
        if said.contains("credentials not found") {
            return Ok(None);
        }
        return Err(Error::config(format!("it failed: {}", quoted(said.trim())))).at(place);
    }
    let answer: HelperAnswer = parse(&output).at(place)?;
    Ok(match answer.username.as_str() {
        "" => None,
        "<token>" => Some(Secret::Identity(answer.secret)),
        _ => Some(Secret::Login(answer.username, answer.secret)),
    })
}

/// Runs a helper: what it printed, and whether it succeeded.
fn run(path: &Path, server: &str, limits: &Limits) -> Result<(Vec<u8>, bool)> {
    let mut child = Command::new(path)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let ran = talk(&mut child, server, limits);
    if ran.is_err() {
        // It may have ended by itself.
        let _ = child.kill();
        let _ = child.wait();
    }
    ran
}

fn talk(child: &mut Child, server: &str, limits: &Limits) -> Result<(Vec<u8>, bool)> {
    let seconds = limits.credential_helper_seconds.max;
    let ceiling = limits.registry_answer_bytes;
    let slow = || {
        Error::from(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {seconds} seconds")))
            .hint(format!("if it asks for something, answer it once by `docker login`; or --limit credential_helper_seconds={}", seconds.saturating_mul(2)))
    };
    if let Some(mut stdin) = child.stdin.take() {
        match stdin.write_all(server.as_bytes()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error.into()),
            _ => {}
        }
    }
    let (send, receive) = channel();
    if let Some(stdout) = child.stdout.take() {
        thread::Builder::new().name("helper".into()).spawn(move || {
            let mut output = Vec::new();
            let read = stdout.take(ceiling.max.saturating_add(1)).read_to_end(&mut output);
            // Who asked may have given up.
            let _ = send.send(read.map(|_| output));
        })?;
    }
    let output = receive.recv_timeout(Duration::from_secs(seconds)).map_err(|_| slow())??;
    ceiling.check(size_of_len(output.len()))?;
    for _ in 0..seconds.saturating_mul(100).max(1) {
        if let Some(status) = child.try_wait()? {
            return Ok((output, status.success()));
        }
        thread::sleep(HELPER_POLL);
    }
    Err(slow())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn asked(json: &str, name: &str) -> Result<Option<Secret>> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.json");
        fs::write(&file, json).unwrap();
        for (helper, script) in [
            (
                "known",
                r#"read -r server; printf '{"ServerURL":"%s","Username":"u","Secret":"%s"}' "$server" "$server""#,
            ),
            ("token", r#"echo '{"Username":"<token>","Secret":"t"}'"#),
            ("none", "echo 'credentials not found in native keychain'; exit 1"),
            ("broken", "echo 'no keyring here'; exit 1"),
            ("slow", "exec sleep 60"),
            ("loud", "exec head -c 3000000 /dev/zero"),
        ] {
            let path = folder.path().join(format!("docker-credential-{helper}"));
            fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let options = RegistryOptions {
            auth_file: Some(file),
            helper_folders: vec![folder.path().to_owned()],
            ..RegistryOptions::default()
        };
        let mut limits = Limits::default();
        limits.set("credential_helper_seconds", 1).unwrap();
        Ok(find(&Name::parse(name).unwrap(), &options, &limits)?.map(|found| found.secret))
    }

    fn login_of(user: &str) -> Option<Secret> {
        Some(Secret::Login(user.into(), "p:w".into()))
    }

    /// An entry with this user.
    fn entry(user: &str) -> String {
        let auth = base64::engine::general_purpose::STANDARD.encode(format!("{user}:p:w"));
        format!(r#"{{"auth":"{auth}"}}"#)
    }

    #[test]
    fn the_most_special_key_counts() {
        let file = format!(
            r#"{{"auths":{{"h.io":{},"h.io/a":{},"h.io/a/b":{},"https://index.docker.io/v1/":{},"https://l.io/v2/":{},"e.io":{{}},"n.io":null}}}}"#,
            entry("host"),
            entry("folder"),
            entry("repository"),
            entry("hub"),
            entry("legacy")
        );
        for (name, want) in [
            ("h.io/a/b:c", login_of("repository")),
            ("h.io/a/c", login_of("folder")),
            ("h.io/ab", login_of("host")),
            ("H.io/ab", login_of("host")),
            ("h.io:443/a", None),
            ("debian", login_of("hub")),
            ("l.io/x", login_of("legacy")),
            ("e.io/x", None),
            ("n.io/x", None),
        ] {
            assert_eq!(asked(&file, name).unwrap(), want, "{name}");
        }
    }

    #[test]
    fn tokens_and_helpers_are_known() {
        let file = r#"{"auths":{"i.io":{"auth":"","identitytoken":"id"},"r.io":{"registrytoken":"re"},"u.io":{"username":"u","password":"p:w"}},
            "credHelpers":{"k.io":"known","t.io":"token","no.io":"none"}}"#;
        for (name, want) in [
            ("i.io/a", Some(Secret::Identity("id".into()))),
            ("r.io/a", Some(Secret::Access("re".into()))),
            ("u.io/a", login_of("u")),
            ("k.io/a", Some(Secret::Login("u".into(), "k.io".into()))),
            ("t.io/a", Some(Secret::Identity("t".into()))),
            ("no.io/a", None),
        ] {
            assert_eq!(asked(file, name).unwrap(), want, "{name}");
        }
        let store = format!(r#"{{"credsStore":"known","auths":{{"h.io":{}}}}}"#, entry("inline"));
        assert_eq!(asked(&store, "debian").unwrap(), Some(Secret::Login("u".into(), DOCKER_HUB_KEY.into())));
        let store = store.replace("known", "none");
        assert_eq!(asked(&store, "h.io/a").unwrap(), login_of("inline"));
    }

    #[test]
    fn what_is_wrong_is_told_without_secrets() {
        for (file, want) in [
            ("{", "an end too early"),
            (r#"{"auths":{"h.io":"hunter2"}}"#, "a value of the wrong type"),
            (r#"{"auths":{"h.io":{"auth":"hunter2!"}}}"#, "auth: something else"),
            (r#"{"auths":{"h.io":{"auth":"aHVudGVyMg=="}}}"#, "auth: something else"),
            (r#"{"credHelpers":{"h.io":"../evil"}}"#, "is no name of a credential helper"),
            (r#"{"credHelpers":{"h.io":"absent"}}"#, "`docker-credential-absent` in PATH"),
            (r#"{"credHelpers":{"h.io":"broken"}}"#, "it failed: `no keyring here`"),
            (r#"{"credHelpers":{"h.io":"slow"}}"#, "no answer within 1 seconds"),
            (r#"{"credHelpers":{"h.io":"loud"}}"#, "limit `registry_answer_bytes` passed"),
        ] {
            let error = asked(file, "h.io/a").unwrap_err();
            assert!(error.to_string().contains(want), "{file}: {error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
        assert_eq!(asked(" ", "h.io/a").unwrap(), None);
        assert!(!format!("{:?}", login_of("u")).contains("p:w"));
    }
}
