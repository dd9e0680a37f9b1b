//! An S3 server on loopback with injected faults: real requests, real conditions, scripted faults
//! at the level of HTTP (`script.rs`), and a configurable latency.

pub mod backend;
mod line;
mod script;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use deltafold::aws::{AwsOptions, Credentials, Timeouts};
use deltafold::store::{S3, S3Options};
use futures::StreamExt;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::TokioIo;
use s3s::Body;
use s3s::auth::SimpleAuth;
use s3s::host::SingleDomain;
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

pub use backend::Backend;
use line::Line;
pub use script::{Fault, Rates};
use script::{Hook, Rule, Script};

use super::random::Random;

/// A running server; it stops when this is dropped.
pub struct Server {
    pub address: SocketAddr,
    pub backend: Backend,
    script: Arc<Mutex<Script>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

pub const BUCKET: &str = "bucket";
pub const ACCESS_KEY: &str = "AKIDEXAMPLE";
pub const SECRET_KEY: &str = "wJalrXUtnFEMI";

/// Options that reach a server with the keys of the tests, with shorter waits than users have.
pub fn options(endpoint: &str) -> S3Options {
    let credentials =
        Credentials { access_key: ACCESS_KEY.to_owned(), secret_key: SECRET_KEY.to_owned(), session_token: None };
    let aws = AwsOptions::default()
        .region(Some("us-east-1".to_owned()))
        .endpoint(Some(endpoint.to_owned()))
        .credentials(Some(credentials))
        .timeouts(Timeouts::default());
    S3Options::default().aws(aws)
}

/// A client of the SDK for the buckets of any server.
pub fn client(endpoint: &str) -> aws_sdk_s3::Client {
    let keys = aws_sdk_s3::config::Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "test");
    let config = aws_sdk_s3::config::Builder::new()
        .behavior_version_latest()
        .endpoint_url(endpoint)
        .credentials_provider(keys)
        .region(aws_sdk_s3::config::Region::new("us-east-1"))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .force_path_style(true)
        // One attempt, and no checksum except the caller's.
        .request_checksum_calculation(aws_sdk_s3::config::RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(aws_sdk_s3::config::ResponseChecksumValidation::WhenRequired)
        .build();
    aws_sdk_s3::Client::from_conf(config)
}

/// A store in a new bucket of any server.
pub async fn bucket_at(endpoint: &str, bucket: &str) -> S3 {
    client(endpoint).create_bucket().bucket(bucket).send().await.unwrap();
    S3::open(bucket, "", &options(endpoint)).await.unwrap()
}

/// A new bucket with versions that tells a queue of each object that is created.
pub async fn telling_bucket(endpoint: &str, bucket: &str, queue_arn: &str) -> aws_sdk_s3::Client {
    use aws_sdk_s3::types::{
        BucketVersioningStatus, Event, NotificationConfiguration, QueueConfiguration, VersioningConfiguration,
    };
    let client = client(endpoint);
    client.create_bucket().bucket(bucket).send().await.unwrap();
    let versions = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    client.put_bucket_versioning().bucket(bucket).versioning_configuration(versions).send().await.unwrap();
    let created = Event::from("s3:ObjectCreated:*");
    let queue = QueueConfiguration::builder().queue_arn(queue_arn).events(created).build().unwrap();
    let told = NotificationConfiguration::builder().queue_configurations(queue).build();
    let put = client.put_bucket_notification_configuration().bucket(bucket).notification_configuration(told);
    put.send().await.unwrap();
    client
}

/// A client of the SDK for the tables of any server.
#[cfg(feature = "dynamodb")]
pub fn dynamodb(endpoint: &str) -> aws_sdk_dynamodb::Client {
    let keys = aws_sdk_dynamodb::config::Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "test");
    let config = aws_sdk_dynamodb::config::Builder::new()
        .behavior_version_latest()
        .endpoint_url(endpoint)
        .credentials_provider(keys)
        .region(aws_sdk_dynamodb::config::Region::new("us-east-1"))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    aws_sdk_dynamodb::Client::from_conf(config)
}

impl Server {
    /// A server with one empty bucket, on its own thread.
    pub fn start() -> Self {
        let backend = Backend::default();
        backend.create_bucket(BUCKET);
        Self::serving(backend.clone(), Behind::Here(Self::service(backend).build()))
    }

    /// A server with one empty bucket, whose name stands before this domain in the host of each
    /// request.
    pub fn with_host(bucket: &str, domain: &str) -> Self {
        let backend = Backend::default();
        backend.create_bucket(bucket);
        let mut builder = Self::service(backend.clone());
        builder.set_host(SingleDomain::new(domain).unwrap());
        Self::serving(backend, Behind::Here(builder.build()))
    }

    fn service(backend: Backend) -> S3ServiceBuilder {
        let mut builder = S3ServiceBuilder::new(backend);
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        builder
    }

    /// Faults in front of another server. That server must accept requests signed for another
    /// address.
    pub fn in_front_of(endpoint: &str) -> Self {
        let address = endpoint.strip_prefix("http://").unwrap().parse().unwrap();
        Self::serving(Backend::default(), Behind::There(address))
    }

    fn serving(backend: Backend, behind: Behind) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let script = Arc::new(Mutex::new(Script::default()));
        let (stop, stopped) = oneshot::channel();
        let (shared, store) = (script.clone(), backend.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).unwrap();
                tokio::select! { _ = stopped => {}, () = serve(listener, behind, store, shared) => {} }
            });
            runtime.shutdown_background();
        });
        Self { address, backend, script, stop: Some(stop), thread: Some(thread) }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A store in the server's bucket.
    pub async fn store(&self) -> S3 {
        self.store_under("").await
    }

    pub async fn store_under(&self, prefix: &str) -> S3 {
        S3::open(BUCKET, prefix, &options(&self.endpoint())).await.unwrap()
    }

    /// Every request takes this long.
    pub fn latency(&self, latency: Duration) {
        self.script.lock().unwrap().latency = latency;
    }

    /// All bodies of requests together come at this rate, and so do those of answers. Requests that
    /// a fault holds, damages or answers itself bypass the lines.
    pub fn bandwidth(&self, bytes_per_second: u64) {
        self.script.lock().unwrap().lines = Some((Line::new(bytes_per_second), Line::new(bytes_per_second)));
    }

    /// The next request `verb` on a path that contains `path` has this fault.
    pub fn fail(&self, verb: &'static str, path: impl ToString, fault: Fault) {
        self.fail_times(verb, path, fault, 1);
    }

    pub fn fail_times(&self, verb: &'static str, path: impl ToString, fault: Fault, times: usize) {
        self.script.lock().unwrap().rules.push(Rule { verb, path: path.to_string(), fault, times });
    }

    /// Every such request has this fault from now on.
    pub fn fail_always(&self, verb: &'static str, path: impl ToString, fault: Fault) {
        self.fail_times(verb, path, fault, usize::MAX);
    }

    pub fn fail_at_random(&self, seed: u64, rates: Rates) {
        self.script.lock().unwrap().random = Some((Random::new(seed), rates));
    }

    /// The request after the next `number` ones has this fault, of any kind.
    pub fn fail_nth(&self, number: usize, fault: Fault) {
        self.script.lock().unwrap().nth = Some((number, fault));
    }

    /// Acts on the store just before a request `verb` on a path that contains `path`, after this
    /// many others.
    pub fn before(
        &self,
        verb: &'static str,
        path: impl ToString,
        after: usize,
        act: impl FnOnce(&Backend) + Send + 'static,
    ) {
        let hook = Hook { verb, path: path.to_string(), after, act: Box::new(act) };
        self.script.lock().unwrap().hooks.push(hook);
    }

    /// Requests to services that name their action in a header, since the last call of this.
    pub fn actions(&self) -> Vec<(&'static str, serde_json::Value)> {
        std::mem::take(&mut self.script.lock().unwrap().actions)
    }

    /// Nothing fails any more.
    pub fn heal(&self) {
        let mut script = self.script.lock().unwrap();
        script.rules.clear();
        script.hooks.clear();
        script.nth = None;
        script.random = None;
    }

    /// Whether every rule was used up.
    pub fn all_reached(&self) -> bool {
        let script = self.script.lock().unwrap();
        script.rules.is_empty() && script.hooks.is_empty() && script.nth.is_none()
    }

    /// The requests since the last call, as `verb path`.
    pub fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.script.lock().unwrap().calls)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve(listener: TcpListener, behind: Behind, backend: Backend, script: Arc<Mutex<Script>>) {
    loop {
        let Ok((connection, _)) = listener.accept().await else { continue };
        let _ = connection.set_nodelay(true);
        let (behind, backend, script) = (behind.clone(), backend.clone(), script.clone());
        tokio::spawn(async move {
            let handle = hyper::service::service_fn(move |request| {
                let (behind, backend, script) = (behind.clone(), backend.clone(), script.clone());
                async move { handle(request, &behind, &backend, &script).await }
            });
            // A deliberately broken connection ends with an error.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(connection), handle).await;
        });
    }
}

/// The error that ends a connection without an answer.
#[derive(Debug)]
struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("broken on purpose")
    }
}

impl std::error::Error for Broken {}

/// The verb of a request, in the store's terms.
fn verb(request: &Request<Incoming>) -> &'static str {
    let query = request.uri().query().unwrap_or_default();
    let asked = |name: &str| query.split('&').any(|part| part.split('=').next() == Some(name));
    let with = |name: &str| request.headers().contains_key(name);
    let action = request.headers().get("x-amz-target").and_then(|action| action.to_str().ok());
    match action.and_then(|action| action.rsplit('.').next()) {
        Some("GetItem") => return "GetItem",
        Some("PutItem") => return "PutItem",
        Some("DeleteItem") => return "DeleteItem",
        Some("Query") => return "Query",
        Some("DeleteMessageBatch") => return "DeleteMessageBatch",
        _ => {}
    }
    match *request.method() {
        Method::PUT if asked("partNumber") => "upload_part",
        Method::PUT if with("if-none-match") => "create",
        Method::PUT if with("if-match") => "replace",
        Method::POST if asked("uploads") => "upload_start",
        Method::POST if asked("uploadId") => "upload_complete",
        Method::POST if asked("delete") => "delete",
        Method::DELETE if asked("uploadId") => "upload_abort",
        Method::DELETE => "delete",
        Method::HEAD if request.uri().path().trim_matches('/').contains('/') => "head",
        Method::HEAD => "clock",
        Method::GET if asked("list-type") => "list",
        Method::GET if asked("uploads") => "upload_list",
        Method::GET if with("if-none-match") => "get_unless",
        Method::GET => "get",
        _ => "other",
    }
}

async fn handle(
    request: Request<Incoming>,
    behind: &Behind,
    backend: &Backend,
    script: &Mutex<Script>,
) -> Result<Response<Body>, Broken> {
    let verb = verb(&request);
    let path = request.uri().path().to_owned();
    let (fault, latency, lines, hook) = {
        let mut script = script.lock().unwrap();
        (script.next(verb, &path), script.latency, script.lines.clone(), script.hook(verb, &path))
    };
    if let Some(hook) = hook {
        (hook.act)(backend);
    }
    let is_json = request.headers().contains_key("x-amz-target");
    let answer = if is_json { json_answer } else { answer };
    let request = if is_json {
        let request = held(request).await?;
        let body = serde_json::from_slice(request.body()).unwrap_or_default();
        script.lock().unwrap().actions.push((verb, body));
        request.map(Body::from)
    } else {
        request.map(Body::from)
    };
    wait(latency / 2).await;
    let response = match fault {
        Some(Fault::LoseRequest) => return Err(Broken),
        Some(Fault::Answer(status, code)) => answer(status, code),
        Some(Fault::Page) => page(),
        Some(Fault::DamageRequest) => behind.apply(damaged(request).await?).await,
        Some(Fault::Late(after)) => {
            let (behind, request) = (behind.clone(), held(request).await?);
            tokio::spawn(async move {
                wait(after).await;
                behind.apply(request.map(Body::from)).await
            });
            return Err(Broken);
        }
        Some(Fault::Echo) => {
            let request = held(request).await?;
            behind.apply(request.clone().map(Body::from)).await;
            behind.apply(request.map(Body::from)).await
        }
        _ => {
            let request = request.map(|body| match &lines {
                Some((here, _)) => here.through(body),
                None => body,
            });
            let response = behind.apply(request).await;
            match &lines {
                Some((_, back)) => response.map(|body| back.through(body)),
                None => response,
            }
        }
    };
    wait(latency - latency / 2).await;
    match fault {
        Some(Fault::LoseAnswer) => Err(Broken),
        Some(Fault::AnswerAfter(status, code)) => Ok(answer(status, code)),
        Some(Fault::Slow(after)) => {
            wait(after).await;
            Ok(response)
        }
        Some(fault @ (Fault::BreakBody | Fault::FlipBody | Fault::Trickle)) => spoiled(response, fault).await,
        _ => Ok(response),
    }
}

async fn wait(duration: Duration) {
    if !duration.is_zero() {
        tokio::time::sleep(duration).await;
    }
}

/// The server that answers requests.
#[derive(Clone)]
enum Behind {
    Here(S3Service),
    There(SocketAddr),
}

impl Behind {
    async fn apply(&self, request: Request<Body>) -> Response<Body> {
        match self {
            Self::Here(service) => apply(service, request).await,
            Self::There(address) => forward(*address, request).await.unwrap_or_else(|error| {
                eprintln!("the server behind failed: {error}");
                answer(502, "BadGateway")
            }),
        }
    }
}

async fn forward(
    address: SocketAddr,
    request: Request<Body>,
) -> Result<Response<Body>, Box<dyn std::error::Error + Send + Sync>> {
    let connection = TcpStream::connect(address).await?;
    let (mut sender, driving) = hyper::client::conn::http1::handshake(TokioIo::new(connection)).await?;
    let driving = tokio::spawn(driving);
    let (parts, body) = sender.send_request(request).await?.into_parts();
    let body = BodyExt::collect(body).await?.to_bytes();
    driving.abort();
    Ok(Response::from_parts(parts, Body::from(body)))
}

async fn apply(service: &S3Service, request: Request<Body>) -> Response<Body> {
    match service.call(request).await {
        Ok(mut response) => {
            let now = s3s::dto::Timestamp::from(std::time::SystemTime::now());
            let mut date = Vec::new();
            now.format(s3s::dto::TimestampFormat::HttpDate, &mut date).unwrap();
            response.headers_mut().insert("date", http::HeaderValue::from_bytes(&date).unwrap());
            response
        }
        Err(error) => {
            eprintln!("the server failed: {error:?}");
            answer(500, "InternalError")
        }
    }
}

/// Reads the whole body of a request, so that it can be applied again, or later.
async fn held<B: hyper::body::Body>(request: Request<B>) -> Result<Request<Bytes>, Broken> {
    let (parts, body) = request.into_parts();
    let body = BodyExt::collect(body).await.map_err(|_| Broken)?.to_bytes();
    Ok(Request::from_parts(parts, body))
}

async fn damaged(request: Request<Body>) -> Result<Request<Body>, Broken> {
    Ok(held(request).await?.map(|body| {
        let mut bytes = body.to_vec();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        Body::from(bytes)
    }))
}

/// An error of a service that names its action in a header.
fn json_answer(status: u16, code: &str) -> Response<Body> {
    let body = serde_json::json!({ "__type": code, "message": "as the test says" });
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/x-amz-json-1.0"));
    response
}

fn page() -> Response<Body> {
    let mut response = Response::new(Body::from("<!doctype html><title>Wait</title>".to_owned()));
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("text/html"));
    response
}

fn answer(status: u16, code: &str) -> Response<Body> {
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>as the test says</Message></Error>");
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/xml"));
    if code == "PermanentRedirect" {
        response.headers_mut().insert("x-amz-bucket-region", http::HeaderValue::from_static("eu-west-1"));
    }
    response
}

async fn spoiled(response: Response<Body>, fault: Fault) -> Result<Response<Body>, Broken> {
    let (parts, body) = response.into_parts();
    let mut bytes = BodyExt::collect(body).await.map_err(|_| Broken)?.to_bytes().to_vec();
    let middle = bytes.len() / 2;
    let frame = |bytes: Vec<u8>| Ok::<_, Broken>(Frame::data(Bytes::from(bytes)));
    let body = match fault {
        Fault::FlipBody => {
            bytes[middle] ^= 1;
            Body::from(bytes)
        }
        Fault::BreakBody => {
            bytes.truncate(middle);
            let pieces = vec![frame(bytes), Err(Broken)];
            Body::http_body_unsync(StreamBody::new(futures::stream::iter(pieces)))
        }
        _ => {
            let pieces = futures::stream::iter(bytes).then(|byte| async move {
                wait(Duration::from_millis(200)).await;
                Ok::<_, Broken>(Frame::data(Bytes::from(vec![byte])))
            });
            Body::http_body_unsync(StreamBody::new(Box::pin(pieces)))
        }
    };
    Ok(Response::from_parts(parts, body))
}
