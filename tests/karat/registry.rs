//! Images in registries: a real registry with images that skopeo pushed, and a server that does not do what a
//! registry should.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use insta::{assert_snapshot, with_settings};
use karat::model::{Inventory, Sha256};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::making::{Layout, gzip, noise, tar_of, with, zstd};
use crate::tools::tool;

const DAY: &str = "2026-11-24";

// ---------------------------------------------------------------------------------------------------------
// karat

/// What a run came to.
struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Ran {
    fn shown(&self) -> String {
        format!(
            "exit code {}\n--- standard output\n{}--- standard error\n{}",
            self.code, self.stdout, self.stderr
        )
    }

    fn inventories(&self) -> Vec<Inventory> {
        let whole = serde_json::from_str(&self.stdout).map(|one| vec![one]);
        let read = whole.or_else(|_| self.stdout.lines().map(serde_json::from_str).collect());
        read.unwrap_or_else(|error| panic!("{error}: {}", self.shown()))
    }

    fn content_id(&self) -> Sha256 {
        assert_eq!(self.code, 0, "{}", self.shown());
        let inventories = self.inventories();
        assert_eq!(inventories.len(), 1, "{}", self.shown());
        assert!(!inventories[0].systems[0].packages.is_empty());
        inventories[0].content_id
    }
}

/// Runs `karat inventory`, with this folder as home and nothing else that the environment says.
fn inventory_at_home(home: &Path, args: &[&str], environment: &[(&str, &Path)]) -> Ran {
    let mut command = assert_cmd::Command::cargo_bin("karat").unwrap();
    command.current_dir(env!("CARGO_MANIFEST_DIR")).env_clear().env("HOME", home);
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.envs(environment.iter().copied());
    let output = command.args(["inventory", "--as-of", DAY]).args(args).output().unwrap();
    Ran {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn inventory(args: &[&str]) -> Ran {
    let home = TempDir::new().unwrap();
    inventory_at_home(home.path(), args, &[])
}

fn content_id(image: &str, more: &[&str]) -> Sha256 {
    let mut args = vec![image, "-o", "json"];
    args.extend(more);
    inventory(&args).content_id()
}

/// What was printed, without what differs from run to run.
fn assert_told(name: &str, ran: &Ran) {
    with_settings!({ filters => vec![
        (r"127\.0\.0\.\d+:\d+", "HOST"),
        (r"sha256:[0-9a-f]{64}", "sha256:DIGEST"),
        (r"sha256:[0-9a-f]{12}…", "sha256:DIGEST…"),
        (r"/tmp/[^/ ]+", "HOME"),
        (r"\b\d{5,7} bytes", "N bytes"),
        (r"after \d+ bytes", "after N bytes"),
        (r"bytes=\d+-", "bytes=N-"),
    ]}, { assert_snapshot!(format!("registry_{name}"), ran.shown()) });
}

// ---------------------------------------------------------------------------------------------------------
// A server that does as it is told

/// A request as it came.
#[derive(Debug, Clone)]
struct Asked {
    method: String,
    path: String,
    headers: BTreeMap<String, String>,
    body: String,
    /// How many came for this path before.
    before: usize,
}

impl Asked {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Where the bytes begin that are wanted.
    fn from(&self) -> Option<usize> {
        self.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }

    fn is_blob(&self) -> bool {
        self.path.contains("/blobs/")
    }
}

/// What a body is, and how it ends.
enum Body {
    Whole(Vec<u8>),
    /// So many bytes of it are sent and then the connection is closed.
    Cut(Vec<u8>, usize),
    /// So many bytes of it are sent and then nothing.
    Stalled(Vec<u8>, usize),
    /// This and then more for ever, in chunks.
    Endless(Vec<u8>),
    /// Not even a head.
    Nothing,
}

struct Reply {
    status: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Body,
}

impl Reply {
    fn of(status: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Reply { status, headers: Vec::new(), body: Body::Whole(body.into()) }
    }

    fn error(status: &'static str, code: &str, message: &str) -> Self {
        Reply::of(status, json!({ "errors": [{ "code": code, "message": message }] }).to_string())
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn ending(mut self, body: impl FnOnce(Vec<u8>) -> Body) -> Self {
        if let Body::Whole(bytes) = self.body {
            self.body = body(bytes);
        }
        self
    }

    fn send(self, stream: &mut TcpStream) -> io::Result<()> {
        let (body, sent) = match &self.body {
            Body::Whole(body) => (body, body.len()),
            Body::Cut(body, sent) | Body::Stalled(body, sent) => (body, *sent),
            Body::Endless(start) => {
                self.head(stream, "Transfer-Encoding: chunked")?;
                if !start.is_empty() {
                    stream.write_all(format!("{:x}\r\n", start.len()).as_bytes())?;
                    stream.write_all(start)?;
                    stream.write_all(b"\r\n")?;
                }
                loop {
                    stream.write_all(b"1000\r\n")?;
                    stream.write_all(&[b'x'; 0x1000])?;
                    stream.write_all(b"\r\n")?;
                }
            }
            Body::Nothing => return Ok(()),
        };
        self.head(stream, &format!("Content-Length: {}", body.len()))?;
        stream.write_all(&body[..sent.min(body.len())])?;
        if matches!(self.body, Body::Stalled(..)) {
            // Until the other side has had enough.
            let _ = stream.read(&mut [0]);
        }
        Ok(())
    }

    fn head(&self, stream: &mut TcpStream, length: &str) -> io::Result<()> {
        let mut head = format!("HTTP/1.1 {}\r\nConnection: close\r\n{length}\r\n", self.status);
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        stream.write_all(format!("{head}\r\n").as_bytes())
    }
}

/// A server on this machine, for as long as the tests run.
struct Server {
    address: String,
    log: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    fn start(ip: &str, answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((ip, 0)).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let log: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (answer, kept) = (Arc::new(answer), Arc::clone(&log));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, log) = (Arc::clone(&answer), Arc::clone(&kept));
                thread::spawn(move || serve(stream, &*answer, &log));
            }
        });
        Server { address, log }
    }

    fn image(&self) -> String {
        format!("registry:{}/team/app:1", self.address)
    }

    fn asked(&self) -> Vec<Asked> {
        self.log.lock().unwrap().clone()
    }

    /// What was asked for the blob that is larger than all others.
    fn layer_requests(&self, image: &Image) -> Vec<Asked> {
        let layer = image.layers[0].to_string();
        self.asked().into_iter().filter(|asked| asked.path.ends_with(&layer)).collect()
    }
}

fn serve(mut stream: TcpStream, answer: &dyn Fn(&Asked) -> Reply, log: &Mutex<Vec<Asked>>) {
    let Some(asked) = read_request(&stream, log) else { return };
    // Who asked may have gone.
    let _ = answer(&asked).send(&mut stream);
}

fn read_request(stream: &TcpStream, log: &Mutex<Vec<Asked>>) -> Option<Asked> {
    let mut lines = BufReader::new(stream);
    let mut line = String::new();
    lines.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        lines.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    lines.read_exact(&mut body).ok()?;
    let body = String::from_utf8(body).unwrap();
    let mut log = log.lock().unwrap();
    let before = log.iter().filter(|asked| asked.path == path).count();
    let asked = Asked { method, path, headers, body, before };
    log.push(asked.clone());
    Some(asked)
}

// ---------------------------------------------------------------------------------------------------------
// What it serves

const STATUS: &[u8] = b"Package: karat-probe\nStatus: install ok installed\nVersion: 1.2-3\nArchitecture: amd64\nMaintainer: Nobody <nobody@example.org>\nDescription: something to find\n\n";
const OS: &[u8] = b"ID=debian\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\n";

/// An image of two layers, the first the largest.
struct Image {
    folder: TempDir,
    manifest: Value,
    config: Sha256,
    layers: Vec<Sha256>,
}

impl Image {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let layout = Layout(folder.path());
        let lower = tar_of(&[("var/lib/dpkg/status", STATUS), ("noise", &noise(400_000))]);
        let upper = tar_of(&[("etc/os-release", OS), ("usr/lib/noise", &noise(2_000))]);
        let manifest = layout.image("amd64", &[(lower.clone(), gzip(&lower)), (upper.clone(), zstd(&upper))]);
        layout.finish(std::slice::from_ref(&manifest));
        let bytes = fs::read(blob_file(folder.path(), digest(&manifest))).unwrap();
        let document: Value = serde_json::from_slice(&bytes).unwrap();
        let layers = document["layers"].as_array().unwrap().iter().map(digest).collect();
        Image { config: digest(&document["config"]), layers, manifest, folder }
    }

    fn content_id(&self) -> Sha256 {
        content_id(&format!("oci-dir:{}", self.folder.path().display()), &[])
    }

    /// Starts a server that answers as a registry does where `otherwise` has nothing else to say.
    fn served(&self, otherwise: impl Fn(&Asked, Reply) -> Reply + Send + Sync + 'static) -> Server {
        self.served_at("127.0.0.1", otherwise)
    }

    fn served_at(
        &self,
        ip: &str,
        otherwise: impl Fn(&Asked, Reply) -> Reply + Send + Sync + 'static,
    ) -> Server {
        let (folder, root) = (self.folder.path().to_owned(), self.manifest.clone());
        Server::start(ip, move |asked| otherwise(asked, registry(&folder, &root, asked)))
    }

    fn layer(&self) -> Vec<u8> {
        fs::read(blob_file(self.folder.path(), self.layers[0])).unwrap()
    }
}

fn digest(descriptor: &Value) -> Sha256 {
    descriptor["digest"].as_str().unwrap().parse().unwrap()
}

fn blob_file(folder: &Path, digest: Sha256) -> PathBuf {
    folder.join("blobs/sha256").join(digest.hex())
}

/// An honest registry of one image that knows ranges.
fn registry(folder: &Path, root: &Value, asked: &Asked) -> Reply {
    let Some(rest) = asked.path.strip_prefix("/v2/team/app/") else {
        let is_ping = asked.path == "/v2/";
        return if is_ping { Reply::of("200 OK", "{}") } else { Reply::of("404 Not Found", "") };
    };
    if rest.starts_with("tags/list") {
        return Reply::of("200 OK", json!({ "name": "team/app", "tags": ["1", "1.1"] }).to_string());
    }
    let (kind, name) = rest.split_once('/').unwrap();
    let name = if name == "1" { root["digest"].as_str().unwrap() } else { name };
    let bytes = name.parse().ok().and_then(|digest| fs::read(blob_file(folder, digest)).ok());
    match (kind, bytes) {
        ("manifests", Some(bytes)) => {
            let document: Value = serde_json::from_slice(&bytes).unwrap_or_default();
            let kind = if document["manifests"].is_array() { "index" } else { "manifest" };
            let media_type = format!("application/vnd.oci.image.{kind}.v1+json");
            Reply::of("200 OK", bytes).with("Docker-Content-Digest", name).with("Content-Type", media_type)
        }
        ("manifests", None) => Reply::error("404 Not Found", "MANIFEST_UNKNOWN", "manifest unknown"),
        (_, Some(bytes)) => match asked.from() {
            Some(from) => {
                let range = format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
                Reply::of("206 Partial Content", &bytes[from..]).with("Content-Range", range)
            }
            None => Reply::of("200 OK", bytes),
        },
        (_, None) => Reply::error("404 Not Found", "BLOB_UNKNOWN", "blob unknown to registry"),
    }
}

// ---------------------------------------------------------------------------------------------------------
// What passes by itself

#[test]
fn an_image_is_read_layer_by_layer() {
    let image = Image::new();
    let server = image.served(|_, honest| honest);
    let ran = inventory(&[&server.image(), "-o", "json"]);
    assert_eq!(ran.content_id(), image.content_id());
    let read = &ran.inventories()[0];
    assert_eq!(read.image.reference, server.image());
    assert_eq!(read.image.kind.prefix(), "registry");
    assert_eq!(read.image.digest.unwrap(), digest(&image.manifest));
    assert_eq!(read.image.os_arch.as_deref(), Some("linux/amd64"));
    // Each blob once, and from its start.
    let blobs: Vec<_> = server.asked().into_iter().filter(Asked::is_blob).collect();
    assert_eq!(blobs.len(), 3, "{blobs:?}");
    assert!(blobs.iter().all(|asked| asked.before == 0 && asked.from().is_none()));
    let by_digest = format!("registry:{}/team/app:other@{}", server.address, digest(&image.manifest));
    assert_eq!(content_id(&by_digest, &["--threads", "4"]), image.content_id());
}

#[test]
fn a_layer_that_is_cut_off_goes_on_where_it_ended() {
    let image = Image::new();
    let size = image.layer().len();
    let want = image.content_id();
    for knows_ranges in [true, false] {
        for cut in [0, 1, 6, 511, 512, 513, 100_000, size - 1] {
            let layer = image.layers[0].to_string();
            let server = image.served(move |asked, honest| {
                if !asked.path.ends_with(&layer) {
                    return honest;
                }
                let reply = match knows_ranges {
                    true => honest,
                    false => Reply::of("200 OK", whole(honest, asked)),
                };
                match asked.before {
                    0 => reply.ending(|bytes| Body::Cut(bytes, cut)),
                    _ => reply,
                }
            });
            // Without ranges the beginning has to come again.
            assert_eq!(content_id(&server.image(), &[]), want, "{knows_ranges} {cut}");
            let asked = server.layer_requests(&image);
            let from: Vec<_> = asked.iter().map(|asked| asked.from().unwrap_or(0)).collect();
            assert_eq!(from, [0, cut], "{knows_ranges}");
        }
    }

    /// The whole blob, whatever was asked for.
    fn whole(reply: Reply, asked: &Asked) -> Vec<u8> {
        let Body::Whole(rest) = reply.body else { panic!() };
        match asked.from() {
            // What lies before is skipped, and need not be right to be skipped.
            Some(from) => [vec![0; from], rest].concat(),
            None => rest,
        }
    }
}

#[test]
fn a_second_visit_streams_again() {
    let mut image = Image::new();
    let mut builder = tar::Builder::new(tar_of_status());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    builder.append_link(&mut header, "var/lib/dpkg", "../../srv/dpkg").unwrap();
    let tar = builder.into_inner().unwrap();
    let layout = Layout(image.folder.path());
    image.manifest = layout.image("amd64", &[(tar.clone(), gzip(&tar))]);
    layout.finish(std::slice::from_ref(&image.manifest));
    image.layers = vec![Sha256::of(&gzip(&tar))];
    let server = image.served(|_, honest| honest);
    assert_eq!(content_id(&server.image(), &[]), image.content_id());
    let from: Vec<_> = server.layer_requests(&image).iter().map(Asked::from).collect();
    assert_eq!(from, [None, None], "the walk, and a visit of what the link leads to");

    /// The start of a tar: a database of packages that is not where it should be, and much beside it.
    fn tar_of_status() -> Vec<u8> {
        let mut tar = tar_of(&[
            ("etc/os-release", OS),
            ("srv/dpkg/", b""),
            ("srv/dpkg/status", STATUS),
            ("noise", &noise(200_000)),
            ("var/lib/", b""),
        ]);
        tar.truncate(tar.len() - 1024);
        tar
    }
}

#[test]
fn what_passes_is_tried_again() {
    let image = Image::new();
    let want = image.content_id();
    type Trouble = fn(&Asked, Reply) -> Reply;
    let troubles: [(&str, Trouble); 5] = [
        ("500 twice", |asked, honest| match asked.before {
            0 | 1 => Reply::error("500 Internal Server Error", "UNKNOWN", "unknown error"),
            _ => honest,
        }),
        ("429 with a wait", |asked, honest| match asked.before {
            0 => {
                Reply::error("429 Too Many Requests", "TOOMANYREQUESTS", "slow down").with("Retry-After", "1")
            }
            _ => honest,
        }),
        ("no answer", |asked, mut honest| {
            if asked.before == 0 && asked.path != "/v2/" {
                honest.body = Body::Nothing;
            }
            honest
        }),
        ("a stalled answer", |asked, honest| match asked.before {
            0 if asked.is_blob() => honest.ending(|bytes| {
                let half = bytes.len() / 2;
                Body::Stalled(bytes, half)
            }),
            _ => honest,
        }),
        ("a cut manifest", |asked, honest| match asked.before {
            0 if !asked.is_blob() && asked.path != "/v2/" => honest.ending(|bytes| Body::Cut(bytes, 20)),
            _ => honest,
        }),
    ];
    for (name, trouble) in troubles {
        let server = image.served(trouble);
        let found = content_id(&server.image(), &["--limit", "registry_stall_seconds=1", "--threads", "2"]);
        assert_eq!(found, want, "{name}");
    }
}

// ---------------------------------------------------------------------------------------------------------
// Who may know what

/// Writes docker's file of credentials for a host.
fn docker_login(home: &Path, host: &str, entry: &Value) {
    fs::create_dir_all(home.join(".docker")).unwrap();
    let file = json!({ "auths": { host: entry } });
    fs::write(home.join(".docker/config.json"), file.to_string()).unwrap();
}

fn login() -> Value {
    json!({ "auth": STANDARD.encode("robot:s3cret") })
}

#[test]
fn credentials_go_to_the_registry_alone() {
    let image = Image::new();
    let elsewhere = image.served_at("127.0.0.2", |_, honest| honest);
    let away = elsewhere.address.clone();
    let expected = format!("Basic {}", STANDARD.encode("robot:s3cret"));
    let server = image.served(move |asked, honest| match asked.header("authorization") {
        Some(found) if found == expected => match asked.is_blob() {
            // As registries do whose blobs lie in an object store: the signature is in the query.
            true => Reply::of("307 Temporary Redirect", "")
                .with("Location", format!("http://{away}{}?signature=hidden", asked.path)),
            false => honest,
        },
        _ => Reply::error("401 Unauthorized", "UNAUTHORIZED", "authentication required")
            .with("WWW-Authenticate", "Basic realm=\"test\""),
    });
    let home = TempDir::new().unwrap();
    docker_login(home.path(), &server.address, &login());
    // The other server knows no query: it answers 404 to each.
    let ran = inventory_at_home(home.path(), &[&server.image()], &[]);
    assert_eq!(ran.code, 3, "{}", ran.shown());
    assert!(!ran.shown().contains("hidden") && !ran.shown().contains("s3cret"), "{}", ran.shown());
    assert!(elsewhere.asked().iter().all(|asked| asked.path.contains("signature=hidden")));

    let away = elsewhere.address.clone();
    let expected = format!("Basic {}", STANDARD.encode("robot:s3cret"));
    let server = image.served(move |asked, honest| match asked.header("authorization") {
        Some(found) if found == expected && asked.is_blob() => {
            Reply::of("302 Found", "").with("Location", format!("http://{away}{}", asked.path))
        }
        Some(found) if found == expected => honest,
        _ => Reply::of("401 Unauthorized", "").with("WWW-Authenticate", "Basic realm=\"test\""),
    });
    docker_login(home.path(), &server.address, &login());
    let ran = inventory_at_home(home.path(), &[&server.image(), "-o", "json"], &[]);
    assert_eq!(ran.content_id(), image.content_id());
    let asked = elsewhere.asked();
    assert!(asked.len() > 3);
    assert!(asked.iter().all(|asked| asked.header("authorization").is_none()), "{asked:?}");
}

/// A registry that wants tokens of its own token server, and takes each for so many requests.
fn token_registry(image: &Image, uses: usize) -> Server {
    let address: Arc<Mutex<String>> = Arc::default();
    let given = Mutex::new((0, 0));
    let known = Arc::clone(&address);
    let server = image.served(move |asked, honest| {
        let mut given = given.lock().unwrap();
        if asked.path.starts_with("/token") {
            *given = (given.0 + 1, uses);
            return Reply::of("200 OK", json!({ "token": format!("token-{}", given.0) }).to_string());
        }
        let is_good = asked.header("authorization") == Some(&format!("Bearer token-{}", given.0));
        if asked.path != "/v2/" && is_good && given.1 > 0 {
            given.1 -= 1;
            return honest;
        }
        let realm = format!("http://{}/token", known.lock().unwrap());
        Reply::error("401 Unauthorized", "UNAUTHORIZED", "authentication required").with(
            "WWW-Authenticate",
            format!(
                "Bearer realm=\"{realm}\",service=\"the registry\",scope=\"repository:team/app:pull,push\""
            ),
        )
    });
    *address.lock().unwrap() = server.address.clone();
    server
}

#[test]
fn tokens_are_asked_for_and_renewed() {
    let image = Image::new();
    let want = image.content_id();
    let wanted = "scope=repository%3Ateam%2Fapp%3Apull&service=the+registry";
    for uses in [100, 1] {
        let server = token_registry(&image, uses);
        assert_eq!(content_id(&server.image(), &["--threads", "1"]), want);
        let tokens: Vec<_> = server.asked().into_iter().filter(|a| a.path.starts_with("/token")).collect();
        assert!(tokens.iter().all(|asked| asked.path == format!("/token?{wanted}")), "{tokens:?}");
        assert!(tokens.iter().all(|asked| asked.header("authorization").is_none()));
        assert_eq!(tokens.len() > 1, uses == 1);
    }
    let home = TempDir::new().unwrap();
    for (entry, login, form) in [
        (login(), Some(format!("Basic {}", STANDARD.encode("robot:s3cret"))), None),
        (
            json!({ "identitytoken": "an identity" }),
            None,
            Some(format!("{wanted}&grant_type=refresh_token&refresh_token=an+identity&client_id=karat")),
        ),
    ] {
        let server = token_registry(&image, 100);
        docker_login(home.path(), &server.address, &entry);
        let ran = inventory_at_home(home.path(), &[&server.image(), "-o", "json"], &[]);
        assert_eq!(ran.content_id(), want);
        let asked = server.asked();
        let token = asked.iter().find(|asked| asked.path.starts_with("/token")).unwrap();
        assert_eq!(token.method, if form.is_some() { "POST" } else { "GET" });
        assert_eq!(token.header("authorization").map(str::to_owned), login);
        assert_eq!(token.body, form.unwrap_or_default());
    }
}

#[test]
fn platforms_are_chosen_and_others_not_asked_for() {
    let mut image = Image::new();
    let layout = Layout(image.folder.path());
    let platform = |arch: &str| json!({ "os": "linux", "architecture": arch });
    let tar = tar_of(&[("etc/os-release", OS), ("var/lib/dpkg/status", STATUS)]);
    let layers = [(tar.clone(), tar)];
    let arm = with(layout.image("arm64", &layers), "platform", platform("arm64"));
    let s390x = with(layout.image("s390x", &layers), "platform", platform("s390x"));
    let amd = with(image.manifest.clone(), "platform", platform("amd64"));
    let attestation = with(
        layout.image("amd64", &layers),
        "platform",
        json!({ "os": "unknown", "architecture": "unknown" }),
    );
    let want = image.content_id();
    let nested = layout.index_of(&[attestation, s390x.clone(), amd]);
    image.manifest = layout.index_of(&[arm.clone(), nested]);
    let server = image.served(|_, honest| honest);
    assert_eq!(content_id(&server.image(), &["--platform", "linux/amd64"]), want);
    let manifests = server.asked().into_iter().filter(|asked| asked.path.contains("/manifests/")).count();
    assert_eq!(manifests, 3, "the index, the one in it, and the image: {:?}", server.asked());
    let arm64 = content_id(&server.image(), &["--platform", "linux/arm64"]);
    let ran = inventory(&[&server.image(), "--all-platforms", "-o", "json"]);
    let all: BTreeMap<_, _> =
        ran.inventories().into_iter().map(|i| (i.image.reference.clone(), i.content_id)).collect();
    assert_eq!(all.len(), 3, "{}", ran.shown());
    assert_eq!(all[&format!("{}#linux/amd64", server.image())], want);
    assert_eq!(all[&format!("{}#linux/arm64", server.image())], arm64);
    assert_eq!(content_id(&format!("{}#linux/arm64", server.image()), &[]), arm64);
    assert_told("platform", &inventory(&[&server.image(), "--platform", "linux/riscv64"]));
    // What is named and absent is a gap, and never another platform.
    fs::remove_file(blob_file(image.folder.path(), digest(&arm))).unwrap();
    assert_told("platform_absent", &inventory(&[&server.image(), "--platform", "linux/arm64"]));
}

// ---------------------------------------------------------------------------------------------------------
// What is told

#[test]
fn names_that_lead_to_no_image_are_errors() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_told("unreachable", &inventory(&[&format!("registry:{closed}/team/app")]));
    for (name, image) in [
        ("name_capitals", "registry:localhost:1/Team/App"),
        ("name_host_alone", "registry:localhost:1"),
        ("name_address", "registry:https://localhost:1/app"),
        ("name_digest", "registry:localhost:1/app@sha256:1234"),
        ("name_empty", "registry:"),
    ] {
        assert_told(name, &inventory(&[image]));
    }
    let image = Image::new();
    type Refusal = fn(&Asked) -> Reply;
    let refusals: [(&str, Refusal, &[&str]); 12] = [
        (
            "unauthorized",
            |_| {
                Reply::error("401 Unauthorized", "UNAUTHORIZED", "authentication required")
                    .with("WWW-Authenticate", "Basic realm=\"test\"")
            },
            &[],
        ),
        (
            "forbidden",
            |_| Reply::error("403 Forbidden", "DENIED", "requested access to the resource is denied"),
            &[],
        ),
        (
            "no_repository",
            |_| Reply::error("404 Not Found", "NAME_UNKNOWN", "repository name not known to registry"),
            &[],
        ),
        (
            "no_tag",
            |asked| match asked.path.contains("/tags/") {
                true => Reply::of("200 OK", r#"{"name":"team/app","tags":["2","latest"]}"#),
                false => Reply::error("404 Not Found", "MANIFEST_UNKNOWN", "manifest unknown"),
            },
            &[],
        ),
        (
            "unavailable",
            |_| Reply::of("503 Service Unavailable", "<html>maintenance"),
            &["registry_attempts=2"],
        ),
        ("long_wait", |_| Reply::of("429 Too Many Requests", "").with("Retry-After", "3600"), &[]),
        (
            "stalled",
            |asked| match asked.path.as_str() {
                "/v2/" => Reply::of("200 OK", ""),
                _ => Reply::of("200 OK", "{}").ending(|bytes| Body::Stalled(bytes, 1)),
            },
            &["registry_stall_seconds=2", "registry_attempts=1"],
        ),
        (
            "redirected_for_ever",
            |asked| Reply::of("302 Found", "").with("Location", format!("{}x", asked.path)),
            &[],
        ),
        (
            "redirected_to_plain_http",
            |_| Reply::of("302 Found", "").with("Location", "http://registry.example/v2/?token=hidden"),
            &[],
        ),
        (
            "token_garbage",
            |asked| match asked.path.starts_with("/token") {
                true => Reply::of("200 OK", "<html>"),
                false => challenge(asked),
            },
            &[],
        ),
        (
            "token_endless",
            |asked| match asked.path.starts_with("/token") {
                true => Reply::of("200 OK", "").ending(Body::Endless),
                false => challenge(asked),
            },
            &[],
        ),
        ("error_endless", |_| Reply::of("418 I'm a teapot", "").ending(Body::Endless), &[]),
    ];
    for (name, refusal, limits) in refusals {
        let server = image.served(move |asked, _| refusal(asked));
        let server_image = server.image();
        let mut args = vec![server_image.as_str()];
        args.extend(limits.iter().flat_map(|limit| ["--limit", limit]));
        let ran = inventory(&args);
        assert_eq!(ran.code, 2, "{name}: {}", ran.shown());
        assert!(!ran.shown().contains("hidden"), "{}", ran.shown());
        assert_told(name, &ran);
    }

    fn challenge(asked: &Asked) -> Reply {
        let host = asked.header("host").unwrap();
        Reply::of("401 Unauthorized", "")
            .with("WWW-Authenticate", format!("Bearer realm=\"http://{host}/token\",service=\"s\""))
    }
}

#[test]
fn credentials_that_cannot_be_read_are_errors() {
    let image = Image::new();
    let server = image
        .served(|_, _| Reply::of("401 Unauthorized", "").with("WWW-Authenticate", "Basic realm=\"test\""));
    let home = TempDir::new().unwrap();
    docker_login(home.path(), &server.address, &login());
    assert_told("refused", &inventory_at_home(home.path(), &[&server.image()], &[]));
    fs::write(home.path().join(".docker/config.json"), r#"{"auths": {"h": "s3cret"}}"#).unwrap();
    let ran = inventory_at_home(home.path(), &[&server.image()], &[]);
    assert!(!ran.shown().contains("s3cret"));
    assert_told("auth_file_broken", &ran);
    let absent = home.path().join("absent.json");
    let ran = inventory_at_home(home.path(), &[&server.image()], &[("REGISTRY_AUTH_FILE", &absent)]);
    assert_told("auth_file_absent", &ran);
    let ran =
        inventory_at_home(home.path(), &[&server.image(), "--registry-ca", absent.to_str().unwrap()], &[]);
    assert_told("ca_file_absent", &ran);
}

#[test]
fn what_breaks_behind_the_manifest_is_a_gap() {
    let image = Image::new();
    let (manifest, config, layer) = (digest(&image.manifest), image.config, image.layers[0]);
    type Lie = fn(&Asked, Reply) -> Reply;
    // Where the lie is told: at this digest (or tag), else honest.
    let lies: [(&str, String, Lie, &[&str]); 21] = [
        ("manifest_garbage", "1".into(), |_, _| Reply::of("200 OK", "<html>"), &[]),
        ("manifest_other", manifest.to_string(), |_, _| Reply::of("200 OK", "{}"), &[]),
        (
            "manifest_digest",
            "1".into(),
            |_, honest| {
                let Body::Whole(bytes) = honest.body else { panic!() };
                Reply::of("200 OK", bytes).with("Docker-Content-Digest", Sha256::of(b"another").to_string())
            },
            &[],
        ),
        (
            "manifest_digest_garbage",
            "1".into(),
            |_, honest| {
                let Body::Whole(bytes) = honest.body else { panic!() };
                Reply::of("200 OK", bytes).with("Docker-Content-Digest", "sha256:xyz")
            },
            &[],
        ),
        ("manifest_endless", "1".into(), |_, honest| honest.ending(Body::Endless), &[]),
        (
            "manifest_schema_1",
            "1".into(),
            |_, _| Reply::of("200 OK", r#"{"schemaVersion":1,"fsLayers":[]}"#),
            &[],
        ),
        (
            "config_other",
            config.to_string(),
            |_, honest| honest.ending(|bytes| Body::Whole(bytes.to_ascii_uppercase())),
            &[],
        ),
        (
            "config_short",
            config.to_string(),
            |_, honest| honest.ending(|bytes| Body::Whole(bytes[1..].to_vec())),
            &[],
        ),
        (
            "config_absent",
            config.to_string(),
            |_, _| Reply::error("404 Not Found", "BLOB_UNKNOWN", "blob unknown to registry"),
            &[],
        ),
        (
            "layer_other",
            layer.to_string(),
            |_, honest| {
                honest.ending(|mut bytes| {
                    bytes[200_000] ^= 1;
                    Body::Whole(bytes)
                })
            },
            &[],
        ),
        (
            "layer_digest",
            layer.to_string(),
            // The time in the gzip header: it inflates to the same.
            |_, honest| {
                honest.ending(|mut bytes| {
                    bytes[4] ^= 1;
                    Body::Whole(bytes)
                })
            },
            &[],
        ),
        (
            "layer_short",
            layer.to_string(),
            |_, honest| honest.ending(|bytes| Body::Whole(bytes[..100_000].to_vec())),
            &[],
        ),
        (
            "layer_long",
            layer.to_string(),
            |_, honest| honest.ending(|bytes| Body::Whole([bytes, vec![0]].concat())),
            &[],
        ),
        ("layer_endless", layer.to_string(), |_, honest| honest.ending(Body::Endless), &[]),
        (
            "layer_absent",
            layer.to_string(),
            |_, _| Reply::error("404 Not Found", "BLOB_UNKNOWN", "blob unknown to registry"),
            &[],
        ),
        ("layer_denied", layer.to_string(), |_, _| Reply::error("403 Forbidden", "DENIED", "no"), &[]),
        (
            "layer_stalled",
            layer.to_string(),
            |_, honest| honest.ending(|bytes| Body::Stalled(bytes, 100_000)),
            &["registry_stall_seconds=2", "registry_attempts=1"],
        ),
        (
            "layer_cut_for_ever",
            layer.to_string(),
            |asked, honest| match asked.before {
                0 => honest.ending(|bytes| Body::Cut(bytes, 100_000)),
                _ => honest.ending(|bytes| Body::Cut(bytes, 0)),
            },
            &["registry_attempts=3"],
        ),
        (
            "layer_cut_often",
            layer.to_string(),
            |_, honest| honest.ending(|bytes| Body::Cut(bytes, 1000)),
            &["registry_resumes=2"],
        ),
        (
            "layer_range_lie",
            layer.to_string(),
            |asked, honest| match asked.before {
                0 => honest.ending(|bytes| Body::Cut(bytes, 100_000)),
                _ => Reply::of("206 Partial Content", "x").with("Content-Range", "bytes 7-7/8"),
            },
            &[],
        ),
        (
            "layer_range_refused",
            layer.to_string(),
            |asked, honest| match asked.before {
                0 => honest.ending(|bytes| Body::Cut(bytes, 100_000)),
                _ => Reply::of("416 Range Not Satisfiable", ""),
            },
            &[],
        ),
    ];
    for (name, place, lie, limits) in lies {
        let by_digest = (name == "manifest_other").then(|| format!("@{manifest}"));
        let server = image.served(move |asked, honest| match asked.path.ends_with(&format!("/{place}")) {
            true => lie(asked, honest),
            false => honest,
        });
        let reference = format!("registry:{}/team/app{}", server.address, by_digest.unwrap_or(":1".into()));
        let mut args = vec![reference.as_str()];
        args.extend(limits.iter().flat_map(|limit| ["--limit", limit]));
        let ran = inventory(&args);
        assert_eq!(ran.code, 3, "{name}: {}", ran.shown());
        assert!(!ran.stdout.contains("karat-probe"), "nothing of the layer is believed: {}", ran.shown());
        assert_told(name, &ran);
    }
}

// ---------------------------------------------------------------------------------------------------------
// A real registry

/// Debian's docker-registry on this machine, until it is dropped.
struct Registry {
    address: String,
    folder: TempDir,
    process: Child,
}

impl Registry {
    /// `None` if it or skopeo is not installed. `more` goes into its configuration.
    fn start(more: impl FnOnce(&Path) -> (String, String)) -> Option<Self> {
        let program = tool("docker-registry")?;
        tool("skopeo")?;
        let folder = TempDir::new().unwrap();
        let (http, rest) = more(folder.path());
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let config = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {address}\n{http}{rest}",
            folder.path().join("storage").display(),
        );
        let file = folder.path().join("config.yml");
        fs::write(&file, config).unwrap();
        let process = Command::new(program)
            .arg("serve")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        for _ in 0..600 {
            if TcpStream::connect(&address).is_ok() {
                break;
            }
            thread::sleep(Duration::from_millis(50));
        }
        Some(Registry { address, folder, process })
    }

    /// Copies an image into it.
    fn push(&self, from: &str, name: &str, more: &[&str]) {
        let to = format!("docker://{}/{name}", self.address);
        let output = Command::new("skopeo")
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args(["copy", "--insecure-policy", "--dest-tls-verify=false", "--quiet"])
            .args(more)
            .args([from, &to])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn raw_manifest(&self, name: &str) -> String {
        let output = Command::new("skopeo")
            .args(["inspect", "--tls-verify=false", "--raw", &format!("docker://{}/{name}", self.address)])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    fn image(&self, name: &str) -> String {
        format!("registry:{}/{name}", self.address)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_real_registry_gives_what_was_pushed() {
    let Some(registry) = Registry::start(|_| Default::default()) else { return };
    let drifted = "fixtures/images/debian-12-drifted.oci.tar";
    let current = "fixtures/images/debian-12-current.docker.tar";
    // First what is to be compressed in another way: skopeo takes what the registry has.
    let compress = ["--format", "oci", "--dest-compress-format", "zstd"];
    registry.push(&format!("docker-archive:{current}"), "gold/current", &compress);
    let manifest = registry.raw_manifest("gold/current");
    assert!(manifest.contains("tar+zstd"), "{manifest}");
    registry.push(&format!("oci-archive:{drifted}"), "gold/drifted:1", &[]);
    for (name, file) in [("gold/drifted:1", drifted), ("gold/current", current)] {
        assert_eq!(content_id(&registry.image(name), &[]), content_id(file, &[]), "{name}");
    }
    let multi = "fixtures/images/multi-platform-nested.oci";
    registry.push(&format!("oci:{multi}"), "gold/multi", &["--all"]);
    for platform in ["linux/amd64", "linux/arm64"] {
        let more = ["--platform", platform];
        assert_eq!(content_id(&registry.image("gold/multi"), &more), content_id(multi, &more), "{platform}");
    }
    let all = inventory(&[&registry.image("gold/multi"), "--all-platforms", "-o", "json"]);
    assert_eq!(
        all.inventories().len(),
        inventory(&[multi, "--all-platforms", "-o", "json"]).inventories().len()
    );
    assert_told("real_no_tag", &inventory(&[&registry.image("gold/current:2")]));
    assert_told("real_no_repository", &inventory(&[&registry.image("gold/absent")]));
}

#[test]
fn a_real_registry_wants_a_login() {
    let Some(htpasswd) = tool("htpasswd") else { return };
    let users = Command::new(htpasswd).args(["-Bbn", "robot", "s3cret"]).output().unwrap().stdout;
    let registry = Registry::start(|folder| {
        fs::write(folder.join("users"), &users).unwrap();
        let users = folder.join("users");
        (String::new(), format!("auth:\n  htpasswd:\n    realm: test\n    path: {}\n", users.display()))
    });
    let Some(registry) = registry else { return };
    let drifted = "fixtures/images/debian-12-drifted.oci.tar";
    registry.push(&format!("oci-archive:{drifted}"), "gold/drifted", &["--dest-creds", "robot:s3cret"]);
    let image = registry.image("gold/drifted");
    assert_told("real_no_login", &inventory(&[&image]));
    // podman's file, named by each of the ways.
    let home = registry.folder.path().join("home");
    let file = home.join("containers/auth.json");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, json!({ "auths": { format!("{}/gold", registry.address): login() } }).to_string())
        .unwrap();
    let want = content_id(drifted, &[]);
    for environment in
        [("REGISTRY_AUTH_FILE", file.as_path()), ("XDG_RUNTIME_DIR", &home), ("XDG_CONFIG_HOME", &home)]
    {
        let ran = inventory_at_home(&home, &[&image, "-o", "json"], &[environment]);
        assert_eq!(ran.content_id(), want, "{environment:?}");
    }
    let ran =
        inventory_at_home(&home, &[&image, "-o", "json", "--registry-auth", file.to_str().unwrap()], &[]);
    assert_eq!(ran.content_id(), want);
}

#[test]
fn a_real_registry_shows_a_certificate() {
    let Some(openssl) = tool("openssl") else { return };
    let registry = Registry::start(|folder| {
        let (key, certificate) = (folder.join("key.pem"), folder.join("ca.pem"));
        let made = Command::new(openssl)
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=karat test"])
            .args(["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"])
            .args([Path::new("-keyout"), &key, Path::new("-out"), &certificate])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let tls = format!("  tls:\n    certificate: {}\n    key: {}\n", certificate.display(), key.display());
        (tls, String::new())
    });
    let Some(registry) = registry else { return };
    let drifted = "fixtures/images/debian-12-drifted.oci.tar";
    registry.push(&format!("oci-archive:{drifted}"), "gold/drifted", &[]);
    let image = registry.image("gold/drifted");
    assert_told("real_unknown_ca", &inventory(&[&image]));
    let ca = registry.folder.path().join("ca.pem");
    assert_eq!(content_id(&image, &["--registry-ca", ca.to_str().unwrap()]), content_id(drifted, &[]));
}
