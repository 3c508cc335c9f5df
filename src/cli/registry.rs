//! What the environment and the user's folders say about registries: credentials, CAs, proxies.

use std::env::{split_paths, var, var_os};
use std::path::PathBuf;

use crate::source::RegistryOptions;

use super::args::RegistryArgs;

/// Where systems keep the bundle of the CAs that they believe.
const CA_BUNDLES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt", // Debian, Ubuntu, Alpine, Arch
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // Fedora, RHEL
    "/etc/pki/tls/certs/ca-bundle.crt",   // older RHEL
    "/etc/ssl/ca-bundle.pem",             // SUSE
    "/etc/ssl/cert.pem",                  // macOS, BSD, older Alpine
    "/var/lib/ca-certificates/ca-bundle.pem", // SUSE, generated
];

/// How registries are spoken with.
pub(super) fn options(args: &RegistryArgs) -> RegistryOptions {
    let bundles = CA_BUNDLES.iter().map(PathBuf::from);
    RegistryOptions {
        auth_file: args.registry_auth.clone(),
        searched_auth_files: auth_files(),
        helper_folders: var_os("PATH").map(|path| split_paths(&path).collect()).unwrap_or_default(),
        ca_files: args.registry_ca.clone(),
        ca_bundles: folder("SSL_CERT_FILE").into_iter().chain(bundles).collect(),
        plain_http: args.plain_http.clone(),
        https_proxy: first(&["HTTPS_PROXY", "https_proxy"]),
        http_proxy: first(&["HTTP_PROXY", "http_proxy"]),
        no_proxy: first(&["NO_PROXY", "no_proxy"]),
    }
}

/// Where podman and docker store credentials; what `DOCKER_CONFIG` names was named on purpose and comes first.
fn auth_files() -> Vec<PathBuf> {
    let named = folder("DOCKER_CONFIG").map(|folder| folder.join("config.json"));
    let podman = folder("XDG_RUNTIME_DIR").map(|folder| folder.join("containers/auth.json"));
    let home = folder("HOME");
    let config = folder("XDG_CONFIG_HOME").or_else(|| home.as_ref().map(|home| home.join(".config")));
    let config = config.map(|folder| folder.join("containers/auth.json"));
    let docker = home.filter(|_| named.is_none()).map(|home| home.join(".docker/config.json"));
    [named, podman, config, docker].into_iter().flatten().collect()
}

fn folder(name: &str) -> Option<PathBuf> {
    var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The first of these variables that is set.
fn first(names: &[&str]) -> Option<String> {
    names.iter().filter_map(|name| var(name).ok()).find(|value| !value.is_empty())
}
