//! One repository of a registry: requests of the OCI distribution specification 1.1 (end-2, end-3, end-8a),
//! authorised as it asks (docker's token authentication and its OAuth 2 variant, or HTTP Basic).
//!
//! Credentials are looked up when the registry asks for them. They go to the registry itself and to the token
//! server that it names, over https (or where plain http is allowed), and nowhere else. The token is asked for
//! this repository and `pull` alone. It is not held against a clock: when the registry no longer takes it, a
//! new one is asked for.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use base64::Engine as _;
use http_auth::parser::ChallengeParser;
use oci_client::client::TagResponse;
use oci_client::manifest::{
    IMAGE_MANIFEST_LIST_MEDIA_TYPE, IMAGE_MANIFEST_MEDIA_TYPE, OCI_IMAGE_INDEX_MEDIA_TYPE,
    OCI_IMAGE_MEDIA_TYPE,
};
use oci_client::token_cache::RegistryToken;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{StatusCode, Url};

use super::RegistryOptions;
use super::credentials::{self, Credentials, Secret};
use super::name::{Name, Version, is_loopback, split_port};
use super::transport::{Answer, Ask, Failure, Retries, Transport, Tried, wait_for};
use crate::error::{Error, Result, ResultExt as _, quoted};
use crate::limits::{Ceiling, Limits};
use crate::model::Sha256;

const MANIFESTS: &[&str] = &[
    OCI_IMAGE_INDEX_MEDIA_TYPE,
    OCI_IMAGE_MEDIA_TYPE,
    IMAGE_MANIFEST_LIST_MEDIA_TYPE,
    IMAGE_MANIFEST_MEDIA_TYPE,
];
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// A manifest as it came.
pub(super) struct Fetched {
    pub(super) media_type: Option<String>,
    /// The digest that the registry says it has.
    pub(super) digest: Option<String>,
    /// Its bytes, or why they cannot be believed.
    pub(super) bytes: Result<Vec<u8>>,
}

/// What a registry wants to know before it answers.
enum Challenge {
    Bearer { realm: String, service: Option<String> },
    Basic,
}

/// A conversation about one repository.
pub(super) struct Session {
    pub(super) name: Name,
    pub(super) limits: Arc<Limits>,
    pub(super) transport: Transport,
    options: Arc<RegistryOptions>,
    /// The registry's address, once it is known whether it speaks TLS.
    base: OnceLock<Url>,
    credentials: OnceLock<Option<Credentials>>,
    authorization: Mutex<Option<HeaderValue>>,
    manifests: AtomicU64,
}

impl Session {
    /// # Errors
    /// As [`Transport::new`].
    pub(super) fn new(name: Name, options: Arc<RegistryOptions>, limits: Arc<Limits>) -> Result<Self> {
        Ok(Session {
            transport: Transport::new(&options, Arc::clone(&limits))?,
            name,
            limits,
            options,
            base: OnceLock::new(),
            credentials: OnceLock::new(),
            authorization: Mutex::default(),
            manifests: AtomicU64::new(0),
        })
    }

    /// The manifest or index that the name leads to.
    ///
    /// # Errors
    /// If the name leads to none: the registry cannot be reached or refuses.
    pub(super) fn root(&self) -> Result<Fetched> {
        self.fetch(&self.name.reference(), true)
    }

    /// The manifest or index of this digest, as another one names it.
    ///
    /// # Errors
    /// If it is not to be had.
    pub(super) fn manifest(&self, digest: Sha256) -> Result<Vec<u8>> {
        let count = self.manifests.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        self.limits.registry_manifests.check(count)?;
        self.fetch(&digest.to_string(), false)?.bytes
    }

    fn fetch(&self, reference: &str, is_root: bool) -> Result<Fetched> {
        wait_for(async {
            let mut retries = Retries::new(&self.limits);
            loop {
                match self.try_manifest(reference, is_root).await {
                    Ok(fetched) => return Ok(fetched),
                    Err(failure) => retries.after(failure).await?,
                }
            }
        })
    }

    async fn try_manifest(&self, reference: &str, is_root: bool) -> Tried<Fetched> {
        let base = self.base().await?;
        let url = self.url(&base, "manifests", reference)?;
        let answer = self.get(url, MANIFESTS, 0, self.limits.registry_answer_seconds).await?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND if is_root => return Err(Failure::Final(self.not_found(answer).await)),
            StatusCode::NOT_FOUND => {
                // Not `NotFound`: an archive may lack the images of other platforms, and a registry may not.
                let found = "404 Not Found";
                let error =
                    Error::malformed("registry", "manifest", None, found, "the one that its index names");
                return Err(Failure::Final(error.at(&self.name.host)));
            }
            _ => return Err(self.transport.refusal(answer).await),
        }
        let media_type = answer.header(CONTENT_TYPE).and_then(|text| text.split(';').next());
        let media_type = media_type.map(|text| text.trim().to_owned());
        let digest = answer.header(CONTENT_DIGEST).map(str::to_owned);
        let bytes = match self.transport.body(answer.response, self.limits.manifest_bytes).await {
            Ok(bytes) => Ok(bytes),
            Err(Failure::Final(error)) => Err(error),
            Err(passing) => return Err(passing),
        };
        Ok(Fetched { media_type, digest, bytes })
    }

    /// The bytes of a blob from `from` on, as the head of an answer.
    pub(super) async fn try_blob(&self, digest: Sha256, from: u64) -> Tried<Answer> {
        let base = self.base().await?;
        let url = self.url(&base, "blobs", &digest.to_string())?;
        let answer = self.get(url, &[], from, self.limits.registry_layer_seconds).await?;
        match answer.status() {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => Ok(answer),
            _ => Err(self.transport.refusal(answer).await),
        }
    }

    fn url(&self, base: &Url, kind: &str, reference: &str) -> Result<Url> {
        let path = format!("/v2/{}/{kind}/{reference}", self.name.repository);
        base.join(&path).map_err(|_| Error::config(format!("`{path}` makes no address")))
    }

    /// The registry's address. One on this machine is asked by plain http first, and by https if it does not
    /// speak that; any other by https alone, unless the user allowed plain http.
    async fn base(&self) -> Tried<Url> {
        if let Some(base) = self.base.get() {
            return Ok(base.clone());
        }
        let address = self.name.address();
        let url = |scheme: &str| {
            let text = format!("{scheme}://{address}/");
            Url::parse(&text).map_err(|_| Error::config(format!("`{address}` is no address")))
        };
        let (host, _) = split_port(address);
        let base = match (self.transport.is_plain_by_flag(address), is_loopback(host)) {
            (true, _) => url("http")?,
            (false, false) => url("https")?,
            (false, true) => match self.speaks(&url("http")?).await {
                Ok(true) => url("http")?,
                Ok(false) => url("https")?,
                Err(failure) => match self.speaks(&url("https")?).await {
                    Ok(_) => url("https")?,
                    Err(_) => return Err(failure),
                },
            },
        };
        Ok(self.base.get_or_init(|| base).clone())
    }

    /// Whether a server takes requests by this scheme: a TLS server answers 400 to plain http.
    async fn speaks(&self, base: &Url) -> Tried<bool> {
        let url = base.join("/v2/").map_err(|_| Error::config("`/v2/` makes no address"))?;
        let ceiling = self.limits.registry_answer_seconds;
        let ask = Ask { url, accept: &[], authorization: None, from: 0, form: None, ceiling };
        Ok(self.transport.send(ask).await?.status() != StatusCode::BAD_REQUEST)
    }

    /// One request, authorised, and again after the registry has said how it wants it to be.
    async fn get(&self, url: Url, accept: &[&str], from: u64, ceiling: Ceiling) -> Tried<Answer> {
        let ask = || Ask {
            url: url.clone(),
            accept,
            authorization: self.authorization.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            from,
            form: None,
            ceiling,
        };
        let mut answer = self.transport.send(ask()).await?;
        if answer.status() == StatusCode::UNAUTHORIZED && !answer.is_elsewhere {
            let headers = answer.response.headers().clone();
            let reason = self.transport.reason(answer).await;
            let authorization = self.authorize(&headers, &reason).await?;
            *self.authorization.lock().unwrap_or_else(PoisonError::into_inner) = Some(authorization);
            answer = self.transport.send(ask()).await?;
        }
        let is_refused = matches!(answer.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        if is_refused && !answer.is_elsewhere {
            let reason = self.transport.reason(answer).await;
            return Err(Failure::Final(self.unauthorized(&reason)));
        }
        Ok(answer)
    }

    /// What the registry wants to see as `Authorization`.
    async fn authorize(&self, headers: &HeaderMap, reason: &str) -> Tried<HeaderValue> {
        let challenges = challenges(headers);
        let credentials = match self.credentials.get() {
            Some(found) => found,
            None => {
                let found = credentials::find(&self.name, &self.options, &self.limits)?;
                self.credentials.get_or_init(|| found)
            }
        };
        let secret = credentials.as_ref().map(|credentials| &credentials.secret);
        if let Some(Secret::Access(token)) = secret {
            return Ok(authorization(&format!("Bearer {token}"))?);
        }
        for challenge in challenges {
            match (challenge, secret) {
                (Challenge::Bearer { realm, service }, _) => {
                    return self.token(&realm, service.as_deref(), secret).await;
                }
                (Challenge::Basic, Some(Secret::Login(user, password))) => {
                    return Ok(basic(user, password)?);
                }
                (Challenge::Basic, _) => {}
            }
        }
        Err(Failure::Final(self.unauthorized(reason)))
    }

    /// An access token from the server that the registry names.
    async fn token(&self, realm: &str, service: Option<&str>, secret: Option<&Secret>) -> Tried<HeaderValue> {
        let place = || "token server".to_owned();
        let mut url = Url::parse(realm).map_err(|_| {
            Error::malformed("registry", "realm", None, quoted(realm), "the address of a token server")
        })?;
        self.transport.check_scheme(&url, self.base.get()).at(place)?;
        let scope = format!("repository:{}:pull", self.name.repository);
        let mut parameters = vec![("scope", scope.as_str())];
        parameters.extend(service.map(|service| ("service", service)));
        let (mut login, mut form) = (None, None);
        match secret {
            Some(Secret::Login(user, password)) => login = Some(basic(user, password)?),
            Some(Secret::Identity(token)) => {
                parameters.extend([
                    ("grant_type", "refresh_token"),
                    ("refresh_token", token),
                    ("client_id", "karat"),
                ]);
                let mut encoded = url.clone();
                encoded.query_pairs_mut().clear().extend_pairs(&parameters);
                form = Some(encoded.query().unwrap_or_default().to_owned());
            }
            Some(Secret::Access(_)) | None => {}
        }
        if form.is_none() {
            url.query_pairs_mut().extend_pairs(&parameters);
        }
        let ceiling = self.limits.registry_answer_seconds;
        let answer = self
            .transport
            .send(Ask { url, accept: &[], authorization: login, from: 0, form, ceiling })
            .await?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let reason = self.transport.reason(answer).await;
                return Err(Failure::Final(self.unauthorized(&reason)));
            }
            _ => return Err(self.transport.refusal(answer).await),
        }
        let body = self.transport.body(answer.response, self.limits.registry_answer_bytes).await?;
        let token: RegistryToken = serde_json::from_slice(&body).map_err(|_| {
            Error::malformed(
                "token server",
                "answer",
                None,
                "something else",
                "JSON with `token` or `access_token`",
            )
        })?;
        Ok(authorization(&token.bearer_token()).at(place)?)
    }

    fn unauthorized(&self, reason: &str) -> Error {
        let host = &self.name.host;
        let error =
            Error::config(format!("not authorized to pull `{}`{reason}", self.name.repository)).at(host);
        match self.credentials.get() {
            Some(Some(found)) => {
                error.hint(format!("the credentials of {} do not suffice", found.file.display()))
            }
            None => error.hint("the registry refuses without asking for credentials"),
            Some(None) => {
                let files: Vec<_> =
                    self.options.auth_files().map(|file| file.display().to_string()).collect();
                let files = if files.is_empty() { "no file".to_owned() } else { files.join(", ") };
                error.hint(format!(
                    "no credentials were found for it; `docker login {host}` or `podman login {host}` stores them (looked in {files})"
                ))
            }
        }
    }

    /// Whether the repository is absent, or the image in it.
    async fn not_found(&self, answer: Answer) -> Error {
        let reason = self.transport.reason(answer).await;
        let Name { host, repository, version } = &self.name;
        let what = match version {
            Version::Tag(tag) => format!("tag `{tag}`"),
            Version::Digest(digest) => format!("image {digest}"),
        };
        match self.tags().await {
            Ok(Some(tags)) if !tags.is_empty() => {
                Error::not_found(format!("{what} of `{repository}`{reason}"))
                    .hint(format!("tags that there are: {}", tags.join(", ")))
            }
            Ok(None) => Error::not_found(format!("repository `{repository}`{reason}"))
                .hint("the registry has no repository of this name, or does not show it to everybody"),
            _ => Error::not_found(format!("{what} of `{repository}`{reason}")),
        }
        .at(host)
    }

    /// The first tags of the repository; `None` if there is no such repository.
    async fn tags(&self) -> Tried<Option<Vec<String>>> {
        let mut url = self.url(&self.base().await?, "tags", "list")?;
        url.set_query(Some("n=10"));
        let answer = self.get(url, &[], 0, self.limits.registry_answer_seconds).await?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            _ => return Err(self.transport.refusal(answer).await),
        }
        let body = self.transport.body(answer.response, self.limits.registry_answer_bytes).await?;
        let list: TagResponse = serde_json::from_slice(&body).map_err(std::io::Error::from)?;
        let shown = |tag: &String| quoted(tag).trim_matches('`').to_owned();
        Ok(Some(list.tags.iter().take(10).map(shown).collect()))
    }
}

/// What a 401 asks for, tokens first.
fn challenges(headers: &HeaderMap) -> Vec<Challenge> {
    let mut found = Vec::new();
    for text in headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok()) {
        for challenge in ChallengeParser::new(text).map_while(std::result::Result::ok) {
            let parameter = |name: &str| {
                let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
                found.map(|(_, value)| value.to_unescaped())
            };
            if challenge.scheme.eq_ignore_ascii_case("bearer") {
                found.extend(
                    parameter("realm")
                        .map(|realm| Challenge::Bearer { realm, service: parameter("service") }),
                );
            } else if challenge.scheme.eq_ignore_ascii_case("basic") {
                found.push(Challenge::Basic);
            }
        }
    }
    found.sort_by_key(|challenge| matches!(challenge, Challenge::Basic));
    found
}

fn basic(user: &str, password: &str) -> Result<HeaderValue> {
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    authorization(&format!("Basic {encoded}"))
}

fn authorization(text: &str) -> Result<HeaderValue> {
    let mut value = HeaderValue::from_str(text).map_err(|_| {
        Error::malformed("credentials", "token", None, "control characters", "printable ones")
    })?;
    value.set_sensitive(true);
    Ok(value)
}
