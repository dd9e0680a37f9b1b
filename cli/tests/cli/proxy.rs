//! The program behind a real HTTP proxy, with TLS to the services behind it.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use deltafold_testing::s3::{BUCKET, Server};
use deltafold_testing::stranger::Stranger;
use deltafold_testing::tinyproxy::Tinyproxy;
use deltafold_testing::tls::{self, Certificate, Front};
use deltafold_testing::{ministack, queues};

use crate::cloud::Cloud;
use crate::home::{Home, Ran, puts};

/// A bucket and an emulator of AWS, both behind TLS.
struct Behind {
    cloud: Cloud,
    bucket: Front,
    services: Front,
    bundle: PathBuf,
    _home: Home,
}

impl Behind {
    fn new() -> Self {
        let (cloud, home) = (Cloud::new(), Home::new());
        let bucket = Front::of(&cloud.server.endpoint(), Certificate::Sound);
        let services = Front::of(ministack::endpoint(), Certificate::Sound);
        let bundle = home.path().join("bundle.pem");
        tls::bundle(&[&bucket, &services], &bundle);
        Self { cloud, bucket, services, bundle, _home: home }
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = self.cloud.command(arguments);
        command.env("DELTAFOLD_STORE", format!("s3://{BUCKET}/data?endpoint={}", self.bucket.endpoint()));
        command.env("AWS_ENDPOINT_URL_DYNAMODB", self.services.endpoint());
        command.env("AWS_ENDPOINT_URL_SQS", self.services.endpoint()).env("AWS_CA_BUNDLE", &self.bundle);
        command
    }

    /// A proxy that answers every request with this status, and a command that goes through it.
    fn refused(&self, status: &str, user: &str) -> (Stranger, Command) {
        let proxy = Stranger::http(status, "", "no");
        let mut command = self.command("count c -vv");
        command.env("HTTPS_PROXY", format!("http://{user}{}", proxy.address));
        (proxy, command)
    }
}

fn run(command: Command, input: &str) -> Ran {
    Ran::within(command, Duration::from_secs(60), input)
}

#[test]
fn all_requests_go_through_the_proxy_or_by_no_proxy_none() {
    let behind = Behind::new();
    let proxy = Tinyproxy::start("BasicAuth user hush-hush\n");
    let url = format!("http://user:hush%2Dhush@127.0.0.1:{}", proxy.port);
    let run = |arguments: &str, input: &str| {
        let mut command = behind.command(arguments);
        command.env("HTTPS_PROXY", &url);
        let ran = run(command, input).ok();
        let told = format!("{}{}", ran.stdout, ran.stderr);
        assert!(!told.contains("hush"), "the password is shown: {told}");
        ran
    };
    // Requests to the bucket and to the other services, since the last call.
    let mut before = 0;
    let mut through = || {
        let asked = proxy.requests();
        let new = &asked[before..];
        let to =
            |front: &Front| new.iter().filter(|line| **line == format!("CONNECT {} HTTP/1.1", front.address)).count();
        let (bucket, services) = (to(&behind.bucket), to(&behind.services));
        assert_eq!(bucket + services, new.len(), "{new:?}");
        before = asked.len();
        (bucket > 0, services > 0)
    };
    run("create c --dimension 2", "");
    assert_eq!(through(), (true, false));
    let appended = run("append c -vv", &puts(30));
    assert!(appended.stderr.contains("requests go through a proxy"), "{appended:?}");
    assert_eq!(through(), (true, false));
    run("compact c", "");
    assert_eq!(through(), (true, false));
    run("create d --dimension 2 --heads dynamodb:proxied@us-east-1 --create-table", "");
    assert_eq!(through(), (true, true));
    let way = format!("reached {} through http://127.0.0.1:{} (HTTPS_PROXY)", behind.bucket.endpoint(), proxy.port);
    run("doctor", "").says(&way);
    let told = run("doctor --json", "").json();
    assert!(way.ends_with(told["proxies"][0].as_str().unwrap()), "{told}");
    assert_eq!(through(), (true, false));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let queue = runtime.block_on(async {
        let queue = queues::create(ministack::endpoint(), "cli-proxy.fifo", &[]).await;
        let op = r#"{"op":"put","id":"of-the-queue","embedding":[1,2]}"#;
        assert!(queue.send(&[queues::message(op, "g")]).await.unwrap().is_empty());
        queue
    });
    run(&format!("ingest c --queue {} --until-empty", queue.name()), "");
    assert_eq!(through(), (true, true));
    assert_eq!(run("count c", "").stdout.trim(), "31");
    assert_eq!(through(), (true, false));
    for list in ["127.0.0.1", "10.0.0.0/8, 127.0.0.0/8", "*"] {
        let mut command = behind.command("count c");
        command.env("HTTPS_PROXY", &url).env("NO_PROXY", list);
        assert_eq!(self::run(command, "").ok().stdout.trim(), "31");
        assert_eq!(through(), (false, false), "NO_PROXY={list}");
    }
    let mut command = behind.command("doctor");
    command.env("HTTPS_PROXY", &url).env("no_proxy", behind.bucket.address.to_string());
    let direct = self::run(command, "").ok();
    assert!(!direct.stdout.contains("reached"), "{direct:?}");
    assert_eq!(through(), (false, false));
}

/// The way to the proxy is a connection of TLS, and so is the one to the bucket inside of it.
#[test]
fn a_proxy_that_speaks_tls_works() {
    let behind = Behind::new();
    let proxy = Tinyproxy::start("");
    let front = Front::of(&format!("http://127.0.0.1:{}", proxy.port), Certificate::Sound);
    tls::bundle(&[&behind.bucket, &front], &behind.bundle);
    let run = |arguments: &str, input: &str| {
        let mut command = behind.command(arguments);
        command.env("HTTPS_PROXY", front.endpoint());
        run(command, input)
    };
    run("create c --dimension 2", "").ok();
    run("append c", &puts(3)).ok();
    assert_eq!(run("count c", "").ok().stdout.trim(), "3");
    let to_bucket = format!("CONNECT {} HTTP/1.1", behind.bucket.address);
    let asked = proxy.requests();
    assert!(asked.len() >= 3 && asked.iter().all(|line| *line == to_bucket), "{asked:?}");
    // Its certificate is checked like any other.
    tls::bundle(&[&behind.bucket], &behind.bundle);
    run("count c", "").ends_with(1).complains("certificate");
}

/// The proxy's answer ends the command at once, with the proxy's name and the remedy.
#[test]
fn a_proxy_that_refuses_is_named_at_the_first_answer() {
    let behind = Behind::new();
    let home = Home::new();
    home.write("allowed", "elsewhere\\.test\n");
    let filter = format!("Filter \"{}\"\nFilterDefaultDeny Yes\n", home.path().join("allowed").display());
    let refuses = Tinyproxy::start(&filter);
    let asks = Tinyproxy::start("BasicAuth user secret\n");
    let plain = format!("s3://{BUCKET}/data?endpoint={}", behind.cloud.server.endpoint());
    for (proxy, store, words) in [
        (&refuses, None, ["(HTTP 403): it forbids that host", "NO_PROXY"]),
        (&asks, None, ["HTTP 407", "http://USER:PASSWORD@HOST:PORT"]),
        (&refuses, Some(&plain), ["HTTP 403 with a page for people", "allow the host in the proxy"]),
        (&asks, Some(&plain), ["HTTP 407", "http://USER:PASSWORD@HOST:PORT"]),
    ] {
        let mut command = behind.command("create c --dimension 2");
        command.env("ALL_PROXY", format!("http://127.0.0.1:{}", proxy.port));
        if let Some(store) = store {
            command.env("DELTAFOLD_STORE", store);
        }
        let before = proxy.requests().len();
        let ran = run(command, "").ends_with(1);
        let name = format!("the proxy http://127.0.0.1:{} (ALL_PROXY)", proxy.port);
        assert!(ran.stderr.contains(&name) && words.iter().all(|word| ran.stderr.contains(word)), "{ran:?}");
        let asked = proxy.requests().len() - before;
        assert!((1..=8).contains(&asked), "{asked} requests: {ran:?}");
    }
}

/// Each answer to `CONNECT`, with its remedy.
#[test]
fn each_refusal_of_a_tunnel_is_named_with_its_status() {
    let behind = Behind::new();
    for (status, user, words) in [
        ("403 Forbidden", "", "opened no tunnel to https://127.0.0.1"),
        ("403 Forbidden", "", "(HTTP 403): it forbids that host; allow it in the proxy"),
        ("405 Method Not Allowed", "", "(HTTP 405)"),
        (
            "407 Proxy Authentication Required",
            "",
            "(HTTP 407); write them as `http://USER:PASSWORD@HOST:PORT` in HTTPS_PROXY",
        ),
        ("407 Proxy Authentication Required", "user:hush@", "does not take those of HTTPS_PROXY"),
        ("499 Gone Away", "", "(HTTP 499): it forbids that host"),
    ] {
        let (proxy, command) = behind.refused(status, user);
        let ran = Ran::within(command, Duration::from_secs(10), "").ends_with(1);
        let ran = ran.complains(&format!("the proxy http://{} (HTTPS_PROXY)", proxy.address)).complains(words);
        assert!(!ran.stderr.contains("hush") && !ran.stderr.contains("trying again"), "{ran:?}");
    }
}

/// A status of 500 or more may pass, so the program goes on trying before it gives up.
#[test]
fn a_tunnel_that_may_open_later_is_tried_again() {
    let behind = Behind::new();
    std::thread::scope(|scope| {
        for status in ["500 Internal Server Error", "502 Bad Gateway", "599 Odd"] {
            let behind = &behind;
            scope.spawn(move || {
                let (proxy, command) = behind.refused(status, "user:hush@");
                let ran = run(command, "").ends_with(5);
                let words = format!(
                    "the proxy http://{} (HTTPS_PROXY) opened no tunnel to {} (HTTP {}): it cannot reach that host",
                    proxy.address,
                    behind.bucket.endpoint(),
                    &status[..3]
                );
                let ended = ran.stderr.lines().any(|line| line.starts_with("error: ") && line.contains(&words));
                let retries =
                    ran.stderr.lines().filter(|line| line.contains("trying again") && line.contains(&words)).count();
                assert!(ended && retries == 12 && !ran.stderr.contains("hush"), "{words}: {ran:?}");
            });
        }
    });
}

/// A proxy may come back, so the program goes on trying, and says what it waits for.
#[test]
fn a_proxy_that_is_not_there_is_named_while_retrying() {
    let behind = Behind::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).unwrap().port();
    let mut command = behind.command("count c -vv");
    command.env("HTTPS_PROXY", format!("http://127.0.0.1:{port}"));
    let mut child = command.spawn().unwrap();
    let words = format!("the proxy http://127.0.0.1:{port} (HTTPS_PROXY) refuses connections");
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let told = lines.map_while(Result::ok).any(|line| line.contains("trying again") && line.contains(&words));
    child.kill().and_then(|()| child.wait()).unwrap();
    assert!(told, "no line says: {words}");
}

#[test]
fn a_proxy_of_another_kind_is_refused_without_its_password() {
    let behind = Behind::new();
    let mut command = behind.command("count c");
    command.env("HTTPS_PROXY", "socks5://user:hush@127.0.0.1:1080");
    let ran = run(command, "").ends_with(1).complains("of the kind `socks5`").complains("HTTPS_PROXY");
    assert!(!ran.stderr.contains("hush"), "{ran:?}");
}

/// Story: an ARN in the address was "invalid port number". A proxy leads the made-up host of the
/// access point to a server.
#[test]
fn an_access_point_is_as_good_as_a_bucket() {
    let (name, account) = ("vectors", "111122223333");
    let bucket = format!("{name}-{account}");
    let server = Server::with_host(&bucket, "point.test");
    let cloud = Cloud::new();
    let run = |arguments: &str, input: &str| {
        let mut command = cloud.command(arguments);
        let arn = format!("arn:aws:s3:us-east-1:{account}:accesspoint/{name}");
        command.env("DELTAFOLD_STORE", format!("s3://{arn}/data?endpoint=http://point.test")).env_remove("AWS_REGION");
        command.env("HTTP_PROXY", server.endpoint());
        command.env("NO_PROXY", ministack::endpoint().trim_start_matches("http://"));
        self::run(command, input).ok()
    };
    let created = run("create c --dimension 2", "");
    assert!(
        created.stdout.contains(&format!("s3://arn:aws:s3:us-east-1:{account}:accesspoint/{name}/data")),
        "{created:?}"
    );
    run("append c", &puts(40));
    run("compact c", "");
    assert_eq!(run("count c", "").stdout.trim(), "40");
    run("sweep c --keep-versions 0 --min-age 0s", "");
    assert!(run("verify c --deep", "").stdout.contains("sound"));
    let paths = server.backend.paths(&bucket);
    assert!(paths.iter().all(|path| path.starts_with("data/c/")) && !paths.is_empty(), "{paths:?}");
    run("drop c --yes", "");
    assert!(server.backend.paths(&bucket).is_empty());
}
