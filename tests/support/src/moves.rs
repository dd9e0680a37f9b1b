//! A proxy in front of ministack for the requests of SQS that it lacks: moves of dead letters, and
//! the queues they come from. Each look at the task moves one message, so that tests see its
//! progress. The proxy can also refuse some entries of a batch. Every other request goes through.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

/// The only task.
#[derive(Debug, Clone, Default)]
struct Task {
    source: String,
    destination: Option<String>,
    moved: u64,
    status: &'static str,
}

/// The queues that the service moves between, by ARN and URL.
#[derive(Debug, Clone)]
pub struct Known {
    pub dead: (String, String),
    pub source: (String, String),
}

/// The refused entries of batches: those of this action that contain this text.
#[derive(Debug, Clone)]
pub struct Refused {
    pub action: &'static str,
    pub text: String,
}

#[derive(Clone)]
struct Front {
    /// ministack's `127.0.0.1:PORT`.
    behind: String,
    known: Option<Known>,
    refused: Option<Refused>,
    task: Arc<Mutex<Option<Task>>>,
}

/// Starts the proxy on its own thread, which ends with the process. Returns its address.
pub fn start(behind: &str, known: Known) -> String {
    serve(Front { behind: host(behind), known: Some(known), refused: None, task: Arc::default() })
}

/// A proxy that refuses entries of batches and lets every other request through.
pub fn refusing(behind: &str, action: &'static str, text: &str) -> String {
    let refused = Some(Refused { action, text: text.to_owned() });
    serve(Front { behind: host(behind), known: None, refused, task: Arc::default() })
}

fn host(endpoint: &str) -> String {
    endpoint.trim_start_matches("http://").to_owned()
}

fn serve(front: Front) -> String {
    let (told, address) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            told.send(format!("http://{}", listener.local_addr().unwrap())).unwrap();
            loop {
                let (connection, _) = listener.accept().await.unwrap();
                let front = front.clone();
                tokio::spawn(async move {
                    let service = hyper::service::service_fn(move |request| front.clone().answer(request));
                    // A client that goes away is not a failure.
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(connection), service)
                        .await;
                });
            }
        });
    });
    address.recv().unwrap()
}

impl Front {
    async fn answer(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let action = head.headers.get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let given: Value = serde_json::from_slice(&body).unwrap_or_default();
        let mut status = 200;
        let answer = match (action.trim_start_matches("AmazonSQS."), &self.known, &self.refused) {
            ("StartMessageMoveTask", Some(known), _) => self.begin(&given, known),
            ("ListMessageMoveTasks", Some(known), _) => self.look(known).await,
            ("CancelMessageMoveTask", Some(_), _) => self.cancel(&given).unwrap_or_else(|refusal| {
                status = 400;
                refusal
            }),
            ("ListDeadLetterSourceQueues", Some(known), _) => json!({ "queueUrls": [known.source.1] }),
            (action, _, Some(refused)) if action == refused.action => self.refuse(given, refused).await,
            _ => return Ok(self.forward(Request::from_parts(head, Full::new(body))).await),
        };
        Ok(Response::builder()
            .status(status)
            .header("content-type", "application/x-amz-json-1.0")
            .body(Full::new(answer.to_string().into()))
            .unwrap())
    }

    /// A batch without its refused entries.
    async fn refuse(&self, mut given: Value, refused: &Refused) -> Value {
        let entries: Vec<Value> = given["Entries"].as_array().cloned().unwrap_or_default();
        let (out, taken): (Vec<Value>, Vec<Value>) =
            entries.into_iter().partition(|entry| entry.to_string().contains(&refused.text));
        let mut answer = json!({ "Successful": [] });
        if !taken.is_empty() {
            given["Entries"] = taken.into();
            answer = self.ask(refused.action, given).await;
        }
        let failed = out.iter().map(|entry| {
            json!({ "Id": entry["Id"], "Code": "InvalidMessageContents", "Message": "as the test says", "SenderFault": true })
        });
        answer["Failed"] = failed.collect();
        answer
    }

    fn begin(&self, given: &Value, known: &Known) -> Value {
        let text = |name: &str| given[name].as_str().map(str::to_owned);
        let source = text("SourceArn").unwrap();
        assert_eq!(source, known.dead.0);
        *self.task.lock().unwrap() =
            Some(Task { source, destination: text("DestinationArn"), moved: 0, status: "RUNNING" });
        json!({ "TaskHandle": "handle" })
    }

    /// Stops the running task of a handle; otherwise returns the refusal of the service.
    fn cancel(&self, given: &Value) -> Result<Value, Value> {
        let mut task = self.task.lock().unwrap();
        let running = task.as_mut().filter(|task| given["TaskHandle"] == "handle" && task.status == "RUNNING");
        let Some(running) = running else {
            let kind = "com.amazonaws.sqs#ResourceNotFoundException";
            return Err(json!({ "__type": kind, "message": "The task does not exist or is not running." }));
        };
        running.status = "CANCELLED";
        Ok(json!({ "ApproximateNumberOfMessagesMoved": running.moved }))
    }

    /// Moves one message, and reports the progress.
    async fn look(&self, known: &Known) -> Value {
        let Some(mut task) = self.task.lock().unwrap().clone() else { return json!({ "Results": [] }) };
        if task.status == "RUNNING" {
            let received = self
                .ask("ReceiveMessage", json!({ "QueueUrl": known.dead.1, "MessageSystemAttributeNames": ["All"] }))
                .await;
            match received["Messages"].as_array().and_then(|messages| messages.first()) {
                Some(message) => {
                    let send = json!({
                        "QueueUrl": known.source.1,
                        "MessageBody": message["Body"],
                        "MessageGroupId": message["Attributes"]["MessageGroupId"],
                        "MessageDeduplicationId": message["MessageId"],
                    });
                    assert!(self.ask("SendMessage", send).await["MessageId"].is_string());
                    let delete = json!({ "QueueUrl": known.dead.1, "ReceiptHandle": message["ReceiptHandle"] });
                    self.ask("DeleteMessage", delete).await;
                    task.moved += 1;
                }
                None => task.status = "COMPLETED",
            }
            *self.task.lock().unwrap() = Some(task.clone());
        }
        // The answer has the handle only while the task runs.
        let handle = (task.status == "RUNNING").then_some("handle");
        json!({ "Results": [{
            "TaskHandle": handle,
            "Status": task.status,
            "SourceArn": task.source,
            "DestinationArn": task.destination,
            "ApproximateNumberOfMessagesMoved": task.moved,
            "StartedTimestamp": 1,
        }] })
    }

    async fn ask(&self, action: &str, given: Value) -> Value {
        let request = Request::post("/")
            .header("host", &self.behind)
            .header("content-type", "application/x-amz-json-1.0")
            .header("x-amz-target", format!("AmazonSQS.{action}"))
            .header("authorization", "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/sqs/aws4_request")
            .body(Full::new(Bytes::from(given.to_string())))
            .unwrap();
        let answer = self.forward(request).await.into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice(&answer).unwrap_or_default()
    }

    async fn forward(&self, request: Request<Full<Bytes>>) -> Response<Full<Bytes>> {
        let connection = TcpStream::connect(&self.behind).await.unwrap();
        let (mut sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(connection)).await.unwrap();
        tokio::spawn(driver);
        let (head, body) = sender.send_request(request).await.unwrap().into_parts();
        Response::from_parts(head, Full::new(body.collect().await.unwrap().to_bytes()))
    }
}
