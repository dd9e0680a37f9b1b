//! The HTTP client: sends each request by its proxy or directly, and tells faults of settings from
//! faults that pass.
//!
//! A fault of settings is one of first contact. A host that has answered as a service does is
//! reached by the right settings, so later the same fault may pass: a name server restarts, a
//! balancer shows a page. Such faults stay what they are without this client: in doubt.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{Provider, TlsContext, rustls_provider::CryptoMode};
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::{RuntimeComponents, RuntimeComponentsBuilder};
use aws_smithy_types::config_bag::ConfigBag;
use url::Url;

use super::astray::{Astray, Head, Obstacle, is_refused_tunnel, is_unconnected, no_http, obstacle, place};
use super::causes::{causes, find};
use super::proxy::{Proxies, Proxy};
use super::tunnel;

/// The most hosts to remember. Services have a few.
const HOSTS: usize = 1_000;

/// The client of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Wire(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    direct: SharedHttpClient,
    /// The clients of the proxies for `http` and `https`.
    proxied: [Option<SharedHttpClient>; 2],
    proxies: Proxies,
    hosts: Mutex<HashMap<String, Host>>,
}

#[derive(Debug, Clone, Default)]
struct Host {
    contact: Contact,
    proxy: Option<Arc<Proxy>>,
}

/// The contact with a host so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Contact {
    /// No request was sent.
    #[default]
    None,
    /// A request was sent. Nothing has answered as a service does.
    Sent,
    /// It has answered as a service does.
    Answered,
}

/// Marks an answer of a host that has not yet answered as a service does.
#[derive(Debug, Clone)]
pub(super) struct FirstContact {
    pub(super) place: String,
}

impl Wire {
    pub(super) fn new(tls: &TlsContext, proxies: Proxies) -> Self {
        let provider = || Provider::Rustls(CryptoMode::Ring);
        let direct = Builder::new().tls_provider(provider()).tls_context(tls.clone()).build_https();
        let through = |proxy: &Arc<Proxy>| {
            let (proxy, tls) = (ProxyConfig::all(proxy.url.as_str()).ok()?, tls.clone());
            Some(Builder::new().build_with_connector_fn(move |settings, components| {
                let mut connector = Connector::builder();
                connector.set_connector_settings(settings.cloned());
                connector.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
                let connector = connector.tls_provider(provider()).tls_context(tls.clone());
                connector.proxy_config(proxy.clone()).build()
            }))
        };
        let proxied = [&proxies.http, &proxies.https].map(|proxy| proxy.as_ref().and_then(through));
        Self(Arc::new(Inner { direct, proxied, proxies, hosts: Mutex::default() }))
    }

    /// The hosts that were reached through a proxy, and the proxies, for people.
    #[cfg_attr(not(any(feature = "s3", feature = "dynamodb")), expect(dead_code, reason = "stores alone name proxies"))]
    pub(crate) fn proxies(&self) -> Vec<String> {
        let hosts = self.0.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let through = |(place, host): (&String, &Host)| Some(format!("{place} through {}", host.proxy.as_ref()?));
        let mut lines: Vec<String> = hosts.iter().filter_map(through).collect();
        lines.sort();
        lines
    }
}

impl HttpClient for Wire {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let connector = |client: &SharedHttpClient| client.http_connector(settings, components);
        SharedHttpConnector::new(Line {
            inner: self.0.clone(),
            direct: connector(&self.0.direct),
            proxied: self.0.proxied.each_ref().map(|client| client.as_ref().map(connector)),
        })
    }

    fn validate_base_client_config(
        &self,
        components: &RuntimeComponentsBuilder,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.direct.validate_base_client_config(components, config)
    }
}

/// The connections for one request.
struct Line {
    inner: Arc<Inner>,
    direct: SharedHttpConnector,
    proxied: [Option<SharedHttpConnector>; 2],
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Line").field(&self.inner.proxies).finish()
    }
}

impl HttpConnector for Line {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let Ok(url) = Url::parse(request.uri()) else { return self.direct.call(request) };
        let proxy = self.inner.proxies.to(&url).cloned();
        let [http, https] = &self.proxied;
        let proxied = if url.scheme() == "http" { http } else { https };
        let connector = proxy.as_ref().and(proxied.as_ref()).unwrap_or(&self.direct);
        // A machine's own service for credentials answers in ways of its own.
        if Proxies::is_local(&url) {
            return connector.call(request);
        }
        self.inner.note(&url, proxy.as_ref());
        // Only objects are put, or read by range or on a condition. Their answers bear a tag.
        let conditions = ["range", "if-match", "if-none-match"];
        let of_object = request.method() == "PUT"
            || request.method() == "GET" && conditions.iter().any(|name| request.headers().contains_key(*name));
        let inner = self.inner.clone();
        let answer = connector.call(request);
        HttpConnectorFuture::new(async move {
            match answer.await {
                Ok(response) => inner.answered(&url, proxy.as_deref(), of_object, response),
                Err(error) => {
                    let refusal = match &proxy {
                        Some(proxy) if is_refused_tunnel(&error) => tunnel::refusal(proxy, &url).await,
                        _ => None,
                    };
                    Err(inner.failed(&url, proxy.as_deref(), refusal, error))
                }
            }
        })
    }
}

impl Inner {
    /// Remembers the way to a host, and logs it once.
    fn note(&self, url: &Url, proxy: Option<&Arc<Proxy>>) {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if hosts.len() < HOSTS
            && let Entry::Vacant(vacant) = hosts.entry(place(url))
        {
            if let Some(proxy) = proxy {
                tracing::info!(host = %vacant.key(), %proxy, "requests go through a proxy");
            }
            vacant.insert(Host { contact: Contact::None, proxy: proxy.cloned() });
        }
    }

    /// The contact with a host before this, which is `now` at least. A host beyond those that are
    /// remembered counts as known.
    fn contact(&self, url: &Url, now: Contact) -> Contact {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.get_mut(&place(url)).map_or(Contact::Answered, |host| {
            let before = host.contact;
            host.contact = before.max(now);
            before
        })
    }

    /// `refusal` is the status by which the proxy refuses a tunnel.
    fn failed(&self, url: &Url, proxy: Option<&Proxy>, refusal: Option<u16>, error: ConnectorError) -> ConnectorError {
        if is_unconnected(&error) {
            let before = self.contact(url, Contact::None);
            return match obstacle(&error, url, proxy, refusal) {
                // No request was ever sent, not even by an earlier attempt of the SDK.
                Some(Obstacle::Setting(reason)) if before == Contact::None => astray(reason, false),
                Some(Obstacle::Setting(reason) | Obstacle::Down(reason)) => ConnectorError::io(Down(reason).into()),
                None => error,
            };
        }
        let before = self.contact(url, Contact::Sent);
        let is_strange = find::<hyper::Error>(&error).is_some_and(hyper::Error::is_parse);
        if is_strange && before < Contact::Answered {
            return astray(no_http(url), true);
        }
        error
    }

    fn answered(
        &self,
        url: &Url,
        proxy: Option<&Proxy>,
        of_object: bool,
        mut response: HttpResponse,
    ) -> Result<HttpResponse, ConnectorError> {
        let headers = response.headers();
        let request_ids = ["x-amz-request-id", "x-amzn-requestid", "x-amz-id-2"];
        let head = Head {
            of_object,
            status: response.status().as_u16(),
            content_type: headers.get("content-type").unwrap_or_default(),
            server: headers.get("server"),
            has_tag: headers.contains_key("etag"),
            has_request_id: request_ids.iter().any(|name| headers.contains_key(name)),
        };
        let now = if head.is_of_a_service() { Contact::Answered } else { Contact::Sent };
        let before = self.contact(url, now);
        if before < Contact::Answered {
            if let Some(reason) = head.stranger(url, proxy) {
                return Err(astray(reason, true));
            }
            if now < Contact::Answered {
                response.add_extension(FirstContact { place: place(url) });
            }
        }
        Ok(response)
    }
}

fn astray(reason: String, answered: bool) -> ConnectorError {
    ConnectorError::user(Box::new(Astray { reason, answered }))
}

/// A service that is out of reach now.
#[derive(Debug)]
struct Down(String);

impl fmt::Display for Down {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Down {}

/// The sentence of a service that is out of reach, if the error is of one.
pub(super) fn down(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    causes(error).find_map(|cause| cause.downcast_ref::<Down>()).map(ToString::to_string)
}
