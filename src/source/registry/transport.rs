//! HTTP with registries: one request and what can go wrong with it, bounded in bytes, time and tries.
//!
//! A request waits at most `registry_stall_seconds` for each next byte. Redirects are followed here and not
//! by the HTTP client, because each has to be looked at: to another origin no credentials go along, and from
//! https to http none is followed. What may pass by itself (cut connections, 408, 429, 5xx) is a
//! [`Failure::Passing`]; [`Retries`] waits by a fixed schedule, or as long as `Retry-After` (RFC 9110, 10.2.3)
//! says, and gives up after so many tries that brought nothing.

use std::fs::File;
use std::future::Future;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use oci_client::errors::OciEnvelope;
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue, LOCATION,
    RANGE, RETRY_AFTER,
};
use reqwest::{Client, NoProxy, Proxy, Response, StatusCode, Url, redirect};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio::runtime::{Builder, Runtime};
use tokio::time::{sleep, timeout};

use super::RegistryOptions;
use super::name::{is_loopback, split_port};
use crate::bytes::size_of_len;
use crate::error::{Error, Result, ResultExt as _, quoted};
use crate::limits::{Ceiling, Limits};

/// The first wait before another try; each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// The longest wait that no registry asked for.
const LONGEST_WAIT: Duration = Duration::from_secs(8);
/// So much of an answer that refuses is read for its reason.
const REASON_BYTES: usize = 16 << 10;

/// Why something did not work.
pub(super) enum Failure {
    /// It will not work.
    Final(Error),
    /// It may work later; the registry may have said when.
    Passing(Error, Option<u64>),
}

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure::Final(error.into())
    }
}

impl Failure {
    pub(super) fn at(self, place: &str) -> Self {
        match self {
            Failure::Final(error) => Failure::Final(error.at(place)),
            Failure::Passing(error, wait) => Failure::Passing(error.at(place), wait),
        }
    }
}

/// What is tried, or why it failed.
pub(super) type Tried<T> = std::result::Result<T, Failure>;

/// Runs what waits for a registry on the calling thread; connections live on two threads of their own, which
/// all images share.
pub(super) fn wait_for<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    static RUNTIME: OnceLock<Option<Runtime>> = OnceLock::new();
    let start = || {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(2).thread_name("registry").enable_io().enable_time().build().ok()
    };
    match RUNTIME.get_or_init(start) {
        Some(runtime) => runtime.block_on(work),
        None => Err(io::Error::other("no threads could be started for connections").into()),
    }
}

/// The tries of one thing.
pub(super) struct Retries<'a> {
    limits: &'a Limits,
    made: u64,
    wait: Duration,
}

impl<'a> Retries<'a> {
    pub(super) fn new(limits: &'a Limits) -> Self {
        Retries { limits, made: 0, wait: FIRST_WAIT }
    }

    /// After a try that brought something.
    pub(super) fn renew(&mut self) {
        *self = Retries::new(self.limits);
    }

    /// Waits before the next try.
    ///
    /// # Errors
    /// If there is to be none: the failure's own error, or `Limit` for a wait that is too long.
    pub(super) async fn after(&mut self, failure: Failure) -> Result<()> {
        let (error, asked) = match failure {
            Failure::Final(error) => return Err(error),
            Failure::Passing(error, asked) => (error, asked),
        };
        self.made = self.made.saturating_add(1);
        if self.made >= self.limits.registry_attempts.max {
            let tries = if self.made == 1 { "once".to_owned() } else { format!("{} times", self.made) };
            return Err(error.hint(format!("tried {tries} in vain; try again later")));
        }
        let asked = asked.unwrap_or(0);
        self.limits.registry_wait_seconds.check(asked).at(|| error.to_string())?;
        sleep(self.wait.max(Duration::from_secs(asked))).await;
        self.wait = self.wait.saturating_mul(2).min(LONGEST_WAIT);
        Ok(())
    }
}

/// One request.
pub(super) struct Ask<'a> {
    pub(super) url: Url,
    pub(super) accept: &'a [&'a str],
    pub(super) authorization: Option<HeaderValue>,
    /// Bytes from here on are wanted; 0 is the whole.
    pub(super) from: u64,
    /// Sent by POST.
    pub(super) form: Option<String>,
    /// How long the answer may take, from first to last byte.
    pub(super) ceiling: Ceiling,
}

/// What came of a request: the head of an answer.
pub(super) struct Answer {
    pub(super) response: Response,
    /// Whether a redirect led to another origin, which knows nothing of the credentials.
    pub(super) is_elsewhere: bool,
}

impl Answer {
    pub(super) fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// A header as text.
    pub(super) fn header(&self, name: HeaderName) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }
}

/// Sends requests.
pub(super) struct Transport {
    client: Client,
    limits: Arc<Limits>,
    plain_http: Vec<String>,
    /// Whether anything ever answered: a host that does not exist is asked once only.
    contacted: AtomicBool,
}

impl Transport {
    /// # Errors
    /// `Config`, `NotFound` and `Malformed` for proxies and CA files that cannot be used.
    pub(super) fn new(options: &RegistryOptions, limits: Arc<Limits>) -> Result<Self> {
        let mut builder = Client::builder()
            .user_agent(concat!("karat/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .http1_only()
            .no_proxy()
            .connect_timeout(Duration::from_secs(limits.registry_stall_seconds.max))
            .tls_backend_preconfigured(tls(options, &limits)?);
        let none = format!("localhost,127.0.0.0/8,::1,{}", options.no_proxy.as_deref().unwrap_or_default());
        let none = || NoProxy::from_string(&none);
        let refuse = |scheme: &str| {
            let text = format!("the proxy for {scheme} is no address");
            Error::config(text).hint("HTTP_PROXY and HTTPS_PROXY are addresses such as http://proxy:3128")
        };
        if let Some(proxy) = &options.https_proxy {
            builder = builder.proxy(Proxy::https(proxy).map_err(|_| refuse("https"))?.no_proxy(none()));
        }
        if let Some(proxy) = &options.http_proxy {
            builder = builder.proxy(Proxy::http(proxy).map_err(|_| refuse("http"))?.no_proxy(none()));
        }
        let client =
            builder.build().map_err(|error| Error::config(format!("TLS: {}", root_cause(&error))))?;
        let plain_http = options.plain_http.iter().map(|host| host.to_ascii_lowercase()).collect();
        Ok(Transport { client, limits, plain_http, contacted: AtomicBool::new(false) })
    }

    /// Whether the user allowed plain http to this host.
    pub(super) fn is_plain_by_flag(&self, authority: &str) -> bool {
        let (host, _) = split_port(authority);
        self.plain_http.iter().any(|allowed| allowed == authority || allowed == host)
    }

    /// Whether credentials and names may go to this address.
    pub(super) fn check_scheme(&self, url: &Url, from: Option<&Url>) -> Result<()> {
        let is_downgrade = from.is_some_and(|from| from.scheme() == "https");
        let may_be_plain = || {
            let host = url.host_str().unwrap_or_default();
            self.is_plain_by_flag(&authority(url)) || (is_loopback(host) && !is_downgrade)
        };
        let names_a_user = !url.username().is_empty() || url.password().is_some();
        match url.scheme() {
            _ if url.host_str().is_none() || names_a_user => {
                Err(Error::config(format!("no address that can be asked: `{}`", shown(url))))
            }
            "https" => Ok(()),
            "http" if may_be_plain() => Ok(()),
            scheme => Err(Error::config(format!("{scheme} to `{}` is not allowed", shown(url)))
                .hint("plain http is for this machine itself, and for hosts named by --plain-http HOST")),
        }
    }

    /// The head of the answer, behind at most `registry_redirects` redirects (of GETs only).
    pub(super) async fn send(&self, ask: Ask<'_>) -> Tried<Answer> {
        let origin = ask.url.origin();
        let mut url = ask.url.clone();
        let mut is_elsewhere = false;
        for hops in 0..=self.limits.registry_redirects.max {
            let response =
                self.send_once(&ask, &url, is_elsewhere).await.map_err(|f| f.at(&authority(&url)))?;
            let Some(location) = location(&response).filter(|_| ask.form.is_none()) else {
                return Ok(Answer { response, is_elsewhere });
            };
            self.limits.registry_redirects.check(hops.saturating_add(1)).at(|| authority(&ask.url))?;
            let next = url.join(location).map_err(|_| {
                Error::malformed("registry", "Location", None, quoted(location), "an address")
                    .at(authority(&url))
            })?;
            self.check_scheme(&next, Some(&url)).at(|| format!("redirected by {}", authority(&url)))?;
            is_elsewhere |= next.origin() != origin;
            url = next;
        }
        Err(self
            .limits
            .registry_redirects
            .passed(self.limits.registry_redirects.max.saturating_add(1))
            .into())
    }

    async fn send_once(&self, ask: &Ask<'_>, url: &Url, is_elsewhere: bool) -> Tried<Response> {
        let mut request = match &ask.form {
            None => self.client.get(url.clone()),
            Some(form) => self
                .client
                .post(url.clone())
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(form.clone()),
        };
        request = request.header(ACCEPT_ENCODING, "identity").timeout(Duration::from_secs(ask.ceiling.max));
        if !ask.accept.is_empty() {
            request = request.header(ACCEPT, ask.accept.join(", "));
        }
        if ask.from > 0 {
            request = request.header(RANGE, format!("bytes={}-", ask.from));
        }
        if let Some(authorization) = ask.authorization.as_ref().filter(|_| !is_elsewhere) {
            request = request.header(AUTHORIZATION, authorization);
        }
        let response = self.in_time(request.send()).await?;
        self.contacted.store(true, Ordering::Relaxed);
        Ok(response)
    }

    /// The next part of an answer; `None` at its end.
    pub(super) async fn next(&self, response: &mut Response) -> Tried<Option<impl AsRef<[u8]> + use<>>> {
        self.in_time(response.chunk()).await
    }

    /// A whole answer of at most so many bytes.
    pub(super) async fn body(&self, mut response: Response, ceiling: Ceiling) -> Tried<Vec<u8>> {
        let place = authority(response.url());
        if let Some(length) = response.content_length() {
            ceiling.check(length).at(|| place.clone())?;
        }
        let mut body = Vec::new();
        while let Some(part) = self.next(&mut response).await.map_err(|failure| failure.at(&place))? {
            body.extend_from_slice(part.as_ref());
            if size_of_len(body.len()) > ceiling.max {
                // How much more came by chance with it says nothing.
                return Err(ceiling.passed(ceiling.max.saturating_add(1)).at(place).into());
            }
        }
        Ok(body)
    }

    async fn in_time<T>(&self, work: impl Future<Output = reqwest::Result<T>>) -> Tried<T> {
        let ceiling = self.limits.registry_stall_seconds;
        match timeout(Duration::from_secs(ceiling.max), work).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(self.failure(error)),
            Err(_) => Err(Failure::Passing(stalled(ceiling), None)),
        }
    }

    /// An error of the HTTP client in words, without the address: its query may hold a signature.
    fn failure(&self, error: reqwest::Error) -> Failure {
        let error = error.without_url();
        if error.is_timeout() {
            if error.is_connect() {
                return Failure::Passing(stalled(self.limits.registry_stall_seconds), None);
            }
            let late = io::Error::new(io::ErrorKind::TimedOut, "the answer did not end in time");
            let hint = "slow connections need higher limits: registry_answer_seconds, registry_layer_seconds";
            return Failure::Passing(Error::from(late).hint(hint), None);
        }
        let cause = root_cause(&error);
        if let Some(tls) = tls_error(&error) {
            return Failure::Final(Error::from(io::Error::other(format!("TLS: {tls}"))).hint(
                "a registry with a CA of its own needs --registry-ca FILE; one without TLS needs --plain-http HOST",
            ));
        }
        let failed = Error::from(io::Error::other(cause));
        if error.is_connect() {
            let failed = failed.hint(
                "is the name of the registry right, and can this machine reach it? (HTTPS_PROXY names a proxy)",
            );
            return match self.contacted.load(Ordering::Relaxed) {
                true => Failure::Passing(failed, None),
                false => Failure::Final(failed),
            };
        }
        Failure::Passing(failed, None)
    }

    /// What an answer that is none of those that were wanted means.
    pub(super) async fn refusal(&self, answer: Answer) -> Failure {
        let (status, place) = (answer.status(), authority(answer.response.url()));
        let wait = retry_after(answer.response.headers());
        let reason = self.reason(answer).await;
        let error = Error::from(io::Error::other(format!("the registry answers {status}{reason}"))).at(place);
        match status.as_u16() {
            408 | 429 | 500 | 502 | 503 | 504 => Failure::Passing(error, wait),
            _ => Failure::Final(error),
        }
    }

    /// What the body of an answer gives as reason, as `: CODE: message`; empty if nothing.
    pub(super) async fn reason(&self, mut answer: Answer) -> String {
        let mut body = Vec::new();
        while body.len() < REASON_BYTES {
            match self.next(&mut answer.response).await {
                Ok(Some(part)) => body.extend_from_slice(part.as_ref()),
                _ => break,
            }
        }
        let Ok(envelope) = serde_json::from_slice::<OciEnvelope>(&body) else { return String::new() };
        let told = envelope.errors.iter().take(3).map(|error| {
            let code = serde_json::to_value(&error.code).ok();
            let code = code.as_ref().and_then(|code| code.as_str()).unwrap_or("?");
            let text =
                if error.message.is_empty() { code.to_owned() } else { format!("{code}: {}", error.message) };
            format!(": {}", quoted(text).trim_matches('`'))
        });
        told.collect()
    }
}

fn stalled(ceiling: Ceiling) -> Error {
    let text = format!("nothing came for {} seconds", ceiling.max);
    Error::from(io::Error::new(io::ErrorKind::TimedOut, text)).hint(format!(
        "if the registry is slow, wait longer: --limit {}={}",
        ceiling.name,
        ceiling.max.saturating_mul(2)
    ))
}

/// Where a redirect leads.
fn location(response: &Response) -> Option<&str> {
    let is_redirect = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    response.headers().get(LOCATION).filter(|_| is_redirect)?.to_str().ok()
}

/// How many seconds an answer asks to wait. A date counts from the answer's own.
fn retry_after(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(seconds);
    }
    let date = |text: &str| jiff::fmt::rfc2822::parse(text).ok().map(|time| time.timestamp().as_second());
    let seconds = date(text)?.checked_sub(date(headers.get(DATE)?.to_str().ok()?)?)?;
    Some(u64::try_from(seconds).unwrap_or(0))
}

/// Host and port of an address, for messages and to compare.
pub(super) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// An address without what may be secret.
fn shown(url: &Url) -> String {
    format!("{}://{}{}", url.scheme(), authority(url), url.path())
}

fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// What TLS has against a connection.
fn tls_error(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    if let Some(tls) = error.downcast_ref::<rustls::Error>() {
        return Some(tls.to_string());
    }
    // An I/O error names as its source what lies behind the error in it.
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => tls_error(inner),
        None => tls_error(error.source()?),
    }
}

/// Who is believed: the CAs of Mozilla's programme, those of this system, and those that the user names.
fn tls(options: &RegistryOptions, limits: &Limits) -> Result<ClientConfig> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(bundle) = options.ca_bundles.iter().find(|file| file.is_file()) {
        // What of the system's bundle cannot be read is not believed; registries that need it fail, and say so.
        roots.add_parsable_certificates(certificates(bundle, limits).unwrap_or_default());
    }
    for file in &options.ca_files {
        let place = || format!("CA file {}", file.display());
        let found = certificates(file, limits).at(place)?;
        if found.is_empty() {
            return Err(Error::malformed("PEM", "certificates", None, "none", "at least one").at(place()));
        }
        for certificate in found {
            roots.add(certificate).map_err(|error| unreadable(&error.to_string()).at(place()))?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::config(format!("TLS: {error}")))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn unreadable(why: &str) -> Error {
    Error::malformed("PEM", "certificate", None, why, "an X.509 certificate")
}

/// The certificates of a PEM file.
fn certificates(file: &Path, limits: &Limits) -> Result<Vec<CertificateDer<'static>>> {
    let mut pem = Vec::new();
    File::open(file)?.take(limits.ca_file_bytes.max.saturating_add(1)).read_to_end(&mut pem)?;
    limits.ca_file_bytes.check(size_of_len(pem.len()))?;
    let certificates = CertificateDer::pem_slice_iter(&pem);
    certificates.map(|certificate| certificate.map_err(|error| unreadable(&error.to_string()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_told_in_seconds_or_by_date() {
        for (headers, want) in [
            (&[("retry-after", "7")][..], Some(7)),
            (
                &[
                    ("retry-after", "Tue, 24 Nov 2026 08:00:30 GMT"),
                    ("date", "Tue, 24 Nov 2026 08:00:00 GMT"),
                ],
                Some(30),
            ),
            (
                &[
                    ("retry-after", "Tue, 24 Nov 2026 07:00:30 GMT"),
                    ("date", "Tue, 24 Nov 2026 08:00:00 GMT"),
                ],
                Some(0),
            ),
            (&[("retry-after", "Tue, 24 Nov 2026 08:00:30 GMT")], None),
            (&[("retry-after", "soon")], None),
            (&[], None),
        ] {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.insert(*name, HeaderValue::from_static(value));
            }
            assert_eq!(retry_after(&map), want, "{headers:?}");
        }
    }

    #[test]
    fn plain_http_stays_on_this_machine() {
        let options = RegistryOptions {
            plain_http: vec!["Plain.example:80".into(), "other".into()],
            ..Default::default()
        };
        let transport = Transport::new(&options, Arc::default()).unwrap();
        let url = |text: &str| Url::parse(text).unwrap();
        for (to, from, allowed) in [
            ("https://a.example/", None, true),
            ("http://a.example/", None, false),
            ("http://127.0.0.1:5000/", None, true),
            ("http://[::1]/", None, true),
            ("http://localhost/", Some("http://localhost:1/"), true),
            ("http://localhost/", Some("https://a.example/"), false),
            ("http://other:99/", Some("https://a.example/"), true),
            ("http://plain.example:8080/", None, false),
            ("https://user@a.example/", None, false),
            ("https://:password@a.example/", None, false),
            ("ftp://a.example/", None, false),
            ("file:///etc/passwd", None, false),
        ] {
            let from = from.map(url);
            assert_eq!(transport.check_scheme(&url(to), from.as_ref()).is_ok(), allowed, "{to} {from:?}");
        }
    }
}
