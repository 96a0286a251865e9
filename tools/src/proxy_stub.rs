//! Stands in for the public door until the proxy crate has it.

use std::sync::Arc;

use axum::Router;
use hayrick_directory::{Directory, LocalStores};
use hayrick_service::ApiError;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProxyConfig {}

#[derive(Debug, Clone)]
pub struct ProxyOptions;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("proxy.{key}: {problem}")]
pub struct ConfigProblem {
    pub key: &'static str,
    pub problem: &'static str,
}

#[derive(Debug, thiserror::Error)]
#[error("the proxy does not start")]
pub struct StartError;

pub struct Proxy;

impl ProxyConfig {
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "the proxy crate's form")]
    pub fn check(&self) -> Result<ProxyOptions, ConfigProblem> {
        Ok(ProxyOptions)
    }
}

impl Proxy {
    #[expect(clippy::unnecessary_wraps, reason = "the proxy crate's form")]
    pub fn start(
        _directory: Directory,
        _stores: LocalStores,
        _options: ProxyOptions,
    ) -> Result<Arc<Self>, StartError> {
        Ok(Arc::new(Self))
    }

    #[expect(clippy::unused_async, reason = "the proxy crate's form")]
    pub async fn stop(&self) {}
}

pub fn router(_proxy: Arc<Proxy>) -> Router {
    Router::new().fallback(|| async { ApiError::not_found("the public door is not built yet") })
}

pub mod token {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use hmac::{Hmac, Mac as _};
    use sha2::Sha256;

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Claim<'a> {
        pub method: &'a str,
        pub bucket: &'a str,
        pub name: &'a str,
    }

    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    pub fn sign(key_id: &str, secret: &str, claim: Claim<'_>, expire: u64) -> String {
        let Claim { method, bucket, name } = claim;
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any key length");
        mac.update(format!("{method}\n{bucket}\n{name}\n{expire}\n").as_bytes());
        let signature = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
        format!("{key_id}:{signature}:{expire}")
    }
}
