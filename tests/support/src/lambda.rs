//! AWS Lambda as a function sees it: the runtime API on loopback, in front of the real program.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, oneshot};

/// The outcome of an invocation.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// The function's answer.
    Done(Value),
    /// The function reported a failure: type and message.
    Failed(String, String),
    /// The function's time was over before it answered. The service would end the program now.
    TimedOut,
}

impl Answer {
    /// The answer of a successful invocation.
    #[track_caller]
    pub fn done(self) -> Value {
        match self {
            Self::Done(answer) => answer,
            other => panic!("{other:?}"),
        }
    }

    /// The messages or records that must come again.
    #[track_caller]
    pub fn failures(self) -> Vec<String> {
        let answer = self.done();
        let failures = answer["batchItemFailures"].as_array().unwrap_or_else(|| panic!("{answer}"));
        failures.iter().map(|failure| failure["itemIdentifier"].as_str().unwrap().to_owned()).collect()
    }
}

struct Event {
    id: String,
    body: String,
    deadline: u128,
}

/// The events of a function, for those who wait for them.
#[derive(Default)]
struct Told {
    lines: Mutex<Vec<Value>>,
    /// `/init/error`.
    refused: Mutex<Option<Value>>,
    /// The time of the program's first request for an event.
    ready: Mutex<Option<Duration>>,
    /// The functions that it started, with their events.
    started: Mutex<Vec<(String, Value)>>,
    news: Notify,
}

struct Service {
    events: tokio::sync::Mutex<mpsc::UnboundedReceiver<Event>>,
    answers: Mutex<HashMap<String, oneshot::Sender<Answer>>>,
    told: Arc<Told>,
    begun: std::time::Instant,
}

/// The program, started as the service starts it. It is killed when this is dropped.
pub struct Function {
    process: Child,
    events: mpsc::UnboundedSender<Event>,
    service: Arc<Service>,
    told: Arc<Told>,
}

fn next_id() -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    format!("request-{}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

impl Function {
    /// Starts it with these variables of the environment and those of the service, and no others.
    /// It also finds the service that starts functions here.
    pub async fn start(program: &str, variables: &[(&str, &str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (events, receiver) = mpsc::unbounded_channel();
        let told = Arc::new(Told::default());
        let service = Service {
            events: tokio::sync::Mutex::new(receiver),
            answers: Mutex::default(),
            told: told.clone(),
            begun: std::time::Instant::now(),
        };
        let service = Arc::new(service);
        tokio::spawn(serve(listener, service.clone()));
        let mut command = Command::new(program);
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        for (name, value) in [
            ("AWS_LAMBDA_RUNTIME_API", address.as_str()),
            ("AWS_LAMBDA_FUNCTION_NAME", "function"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ENDPOINT_URL_LAMBDA", &format!("http://{address}")),
        ] {
            command.env(name, value);
        }
        command.envs(variables.iter().copied());
        let mut process = command.spawn().unwrap_or_else(|error| panic!("{program}: {error}"));
        let output = BufReader::new(process.stdout.take().unwrap());
        let reader = told.clone();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let line = serde_json::from_str(&line)
                    .unwrap_or_else(|error| json!({ "no JSON": error.to_string(), "line": line }));
                reader.lines.lock().unwrap().push(line);
                reader.news.notify_waiters();
            }
        });
        Self { process, events, service, told }
    }

    /// Gives the function an event and this much time. Also returns the id of the request.
    pub async fn invoke(&self, event: &Value, time: Duration) -> (Answer, String) {
        let id = next_id();
        let (answer, answered) = oneshot::channel();
        self.service.answers.lock().unwrap().insert(id.clone(), answer);
        let deadline = (SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + time).as_millis();
        self.events.send(Event { id: id.clone(), body: event.to_string(), deadline }).unwrap();
        let answer = tokio::time::timeout(time, answered).await;
        (answer.map_or(Answer::TimedOut, |answer| answer.expect("the server answers or waits")), id)
    }

    /// Waits for the first line of its log that matches, and returns it.
    pub async fn line(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let found = || self.told.lines.lock().unwrap().iter().find(|line| wanted(line)).cloned();
        self.wait(what, found).await
    }

    /// All lines of its log so far.
    pub fn lines(&self) -> Vec<Value> {
        self.told.lines.lock().unwrap().clone()
    }

    /// Waits for the metrics of a request, and returns them.
    pub async fn metrics(&self, request: &str) -> Value {
        self.line("metrics", |line| line["_aws"].is_object() && line["RequestId"] == request).await
    }

    /// Waits for the error of a failed start, and returns it.
    pub async fn refused(&self) -> Value {
        self.wait("an error of the start", || self.told.refused.lock().unwrap().clone()).await
    }

    /// Waits for its first request for an event, and returns the time it took.
    pub async fn ready(&self) -> Duration {
        self.wait("a first request", || *self.told.ready.lock().unwrap()).await
    }

    /// The functions that it has started so far, with their events.
    pub fn started(&self) -> Vec<(String, Value)> {
        self.told.started.lock().unwrap().clone()
    }

    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    pub fn exit(&mut self) -> ExitStatus {
        self.process.wait().unwrap()
    }

    async fn wait<T>(&self, what: &str, found: impl Fn() -> Option<T>) -> T {
        let waiting = async {
            loop {
                let news = self.told.news.notified();
                match found() {
                    Some(found) => return found,
                    None => news.await,
                }
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(60), waiting).await;
        waited.unwrap_or_else(|_| panic!("waited in vain for {what}; the log: {:#?}", self.lines()))
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn serve(listener: TcpListener, service: Arc<Service>) {
    loop {
        let Ok((connection, _)) = listener.accept().await else { continue };
        let _ = connection.set_nodelay(true);
        let service = service.clone();
        tokio::spawn(async move {
            let handle = hyper::service::service_fn(move |request| handle(request, service.clone()));
            // A killed program ends its connections in any way.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(connection), handle).await;
        });
    }
}

type Reply = Response<Full<Bytes>>;

async fn handle(request: Request<Incoming>, service: Arc<Service>) -> Result<Reply, hyper::Error> {
    let (parts, body) = request.into_parts();
    let path: Vec<&str> = parts.uri.path().split('/').skip(2).collect();
    let body = body.collect().await?.to_bytes();
    let content = || serde_json::from_slice(&body).unwrap_or(Value::Null);
    Ok(match (&parts.method, &path[..]) {
        (&Method::GET, ["runtime", "invocation", "next"]) => next(&service).await,
        (&Method::POST, ["runtime", "init", "error"]) => {
            *service.told.refused.lock().unwrap() = Some(content());
            service.told.news.notify_waiters();
            status(StatusCode::ACCEPTED)
        }
        (&Method::POST, ["runtime", "invocation", id, "response"]) => service.answer(id, Answer::Done(content())),
        (&Method::POST, ["runtime", "invocation", id, "error"]) => {
            let said = content();
            let text = |field: &str| said[field].as_str().unwrap_or_default().to_owned();
            service.answer(id, Answer::Failed(text("errorType"), text("errorMessage")))
        }
        (&Method::POST, ["functions", name, "invocations"]) => {
            assert_eq!(parts.headers["x-amz-invocation-type"], "Event");
            service.told.started.lock().unwrap().push(((*name).to_owned(), content()));
            status(StatusCode::ACCEPTED)
        }
        other => panic!("the runtime API has no {other:?}"),
    })
}

async fn next(service: &Service) -> Reply {
    service.told.ready.lock().unwrap().get_or_insert_with(|| service.begun.elapsed());
    service.told.news.notify_waiters();
    let Some(event) = service.events.lock().await.recv().await else {
        return status(StatusCode::INTERNAL_SERVER_ERROR);
    };
    Response::builder()
        .header("Lambda-Runtime-Aws-Request-Id", event.id)
        .header("Lambda-Runtime-Deadline-Ms", event.deadline.to_string())
        .header("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:000000000000:function:function")
        .body(Full::from(event.body))
        .unwrap()
}

fn status(status: StatusCode) -> Reply {
    Response::builder().status(status).body(Full::default()).unwrap()
}

impl Service {
    fn answer(&self, id: &str, answer: Answer) -> Reply {
        match self.answers.lock().unwrap().remove(id) {
            // The caller may have given up.
            Some(waiting) => drop(waiting.send(answer)),
            None => return status(StatusCode::BAD_REQUEST),
        }
        status(StatusCode::ACCEPTED)
    }
}

/// A message: its id, its body, and on a FIFO queue its group and place.
pub type Sent<'a> = (&'a str, &'a str, Option<(&'a str, u64)>);

/// An event of messages of a queue.
pub fn messages(queue: &str, messages: &[Sent<'_>]) -> Value {
    received(queue, messages, 1)
}

/// [`messages`] that were received this often.
pub fn received(queue: &str, messages: &[Sent<'_>], receives: u32) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis().to_string();
    let records = messages.iter().map(|(id, body, place)| {
        let mut attributes = json!({ "ApproximateReceiveCount": receives.to_string(), "SentTimestamp": now });
        if let Some((group, place)) = place {
            attributes["MessageGroupId"] = (*group).into();
            attributes["SequenceNumber"] =
                format!("{:020}", 18_800_000_000_000_000_000_u128 + u128::from(*place)).into();
        }
        json!({
            "messageId": id,
            "receiptHandle": format!("receipt of {id}"),
            "body": body,
            "attributes": attributes,
            "messageAttributes": {},
            "md5OfBody": "",
            "eventSource": "aws:sqs",
            "eventSourceARN": format!("arn:aws:sqs:us-east-1:000000000000:{queue}"),
            "awsRegion": "us-east-1",
        })
    });
    json!({ "Records": records.collect::<Vec<_>>() })
}

/// An event of records of a table's stream. Each record has its sequence number, its kind, and the
/// item before and after.
pub fn changes(records: &[(u64, &str, Value, Value)]) -> Value {
    let records = records.iter().map(|(sequence, event, before, after)| {
        let keys = if after.is_null() { &before["id"] } else { &after["id"] };
        let mut change = json!({
            "ApproximateCreationDateTime": 1.5,
            "Keys": { "id": keys },
            "SequenceNumber": format!("{:021}", 700_000_000_000_000_000_000_u128 + u128::from(*sequence)),
            "SizeBytes": 1,
            "StreamViewType": "NEW_AND_OLD_IMAGES",
        });
        for (name, image) in [("OldImage", before), ("NewImage", after)] {
            if !image.is_null() {
                change[name] = image.clone();
            }
        }
        json!({
            "eventID": format!("event-{sequence}"),
            "eventName": event,
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "eventSourceARN": "arn:aws:dynamodb:us-east-1:000000000000:table/t/stream/2026-01-01T00:00:00.000",
            "awsRegion": "us-east-1",
            "dynamodb": change,
        })
    });
    json!({ "Records": records.collect::<Vec<_>>() })
}

/// A request of a function URL whose body is JSON; null for none.
pub fn request(method: &str, path: &str, body: &Value) -> Value {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let mut event = json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": { "content-type": "application/json", "host": "url.lambda-url.us-east-1.on.aws" },
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "url",
            "domainName": "url.lambda-url.us-east-1.on.aws",
            "http": { "method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1" },
            "requestId": next_id(),
            "routeKey": "$default",
            "stage": "$default",
            "time": "01/Jan/2026:00:00:00 +0000",
            "timeEpoch": 1_767_225_600_000_u64,
        },
        "isBase64Encoded": false,
    });
    if !body.is_null() {
        event["body"] = body.to_string().into();
    }
    event
}

/// A request whose signature the service has checked.
pub fn signed(mut request: Value) -> Value {
    request["requestContext"]["authorizer"] = json!({ "iam": { "accountId": "000000000000", "userId": "user" } });
    request
}
