//! Faults that no retry mends: each is recognised at its first answer and names the remedy. The
//! page `docs/s3.md` lists them, and this test provokes each of its rows.

use std::process::Command;
use std::time::Duration;

use deltafold_testing::s3::{BUCKET, Fault, Server};
use deltafold_testing::stranger::Stranger;
use deltafold_testing::tls::{Certificate, Front};

use crate::cloud::Cloud;
use crate::home::{Home, Ran, puts};

/// Rows of the page that other tests provoke, and those tests.
const ELSEWHERE: &[(&str, &str)] = &[
    ("no region is set", "a_wrong_bucket_is_a_clear_error"),
    ("cannot hold a collection", "a_wrong_bucket_is_a_clear_error"),
    ("could not be tried", "a_bucket_that_does_not_answer_is_to_be_tried_again"),
    ("exit code 5, \"try again\"", "a_bucket_that_does_not_answer_is_to_be_tried_again"),
    ("damaged", "copies_of_parts_save_requests_except_in_verification"),
    ("holds a line break or another character", "no_variable_of_the_environment_makes_it_panic"),
    ("opened no tunnel", "a_proxy_that_refuses_is_named_at_the_first_answer"),
    ("wants a user and a password (HTTP 407)", "a_proxy_that_refuses_is_named_at_the_first_answer"),
    ("the proxy … refuses connections", "a_proxy_that_is_not_there_is_named_while_retrying"),
    ("the sign-in has expired, or is missing", "each_source_of_credentials_names_its_remedy"),
    ("there is no profile", "each_source_of_credentials_names_its_remedy"),
    ("the `credential_process` gave no credentials", "each_source_of_credentials_names_its_remedy"),
    ("the token file … cannot be read", "each_source_of_credentials_names_its_remedy"),
    ("the role may not be assumed", "each_source_of_credentials_names_its_remedy"),
    ("no credentials were found", "a_wrong_bucket_is_a_clear_error"),
    ("nothing listens at", "a_service_that_is_not_there_is_named_while_retrying"),
];

/// The most requests of a command that meets such a fault. Opening a collection sends several at
/// once, and `create` reads back what it may have written, and removes it. Retries would be 12
/// each.
const REQUESTS: usize = 8;

struct Provoked {
    home: Home,
    rows: Vec<&'static str>,
}

impl Provoked {
    /// Runs a command against this endpoint, which must fail with these words. `counted` returns
    /// the requests that came.
    fn by(&mut self, row: &'static str, command: Command, words: &[&str], counted: impl Fn() -> usize) {
        counted();
        let ran = Ran::within(command, Duration::from_secs(30), "").ends_with(1);
        let missing: Vec<&&str> = words.iter().filter(|word| !ran.stderr.contains(**word)).collect();
        assert!(missing.is_empty(), "{row}: {missing:?} is not in {ran:#?}");
        let requests = counted();
        assert!((1..=REQUESTS).contains(&requests), "{row}: {requests} requests");
        assert!(!ran.stderr.contains("run the same command again"), "{row}: {ran:#?}");
        assert!(ran.stderr.contains(row), "{row}: {ran:#?}");
        self.rows.push(row);
    }

    fn at(&self, arguments: &str, endpoint: &str, more: &str) -> Command {
        let mut command = self.home.command(arguments);
        command.env("DELTAFOLD_STORE", format!("s3://{BUCKET}/data?endpoint={endpoint}{more}"));
        command.env("AWS_REGION", "us-east-1").env("AWS_ACCESS_KEY_ID", "a").env("AWS_SECRET_ACCESS_KEY", "s");
        command
    }
}

#[test]
fn every_fault_of_settings_ends_at_its_first_answer() {
    let mut provoked = Provoked { home: Home::new(), rows: Vec::new() };
    endpoints(&mut provoked);
    certificates(&mut provoked);
    answers(&mut provoked);
    doubt(&mut provoked);
    let mut rows: Vec<&str> = provoked.rows;
    rows.extend(ELSEWHERE.iter().map(|(row, _)| *row));
    rows.sort_unstable();
    rows.dedup();
    let page = include_str!("../../../docs/s3.md").split_once("## What to do about each error").unwrap().1;
    let listed = page.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    let mut listed: Vec<&str> = listed.filter(|row| *row != "it says").collect();
    listed.sort_unstable();
    assert_eq!(listed, rows, "the table of docs/s3.md and the faults that tests provoke differ");
    let tests = [
        include_str!("cloud.rs"),
        include_str!("proxy.rs"),
        include_str!("sign_in.rs"),
        include_str!("environment.rs"),
        include_str!("astray.rs"),
    ];
    for (row, test) in ELSEWHERE {
        assert!(tests.iter().any(|text| text.contains(&format!("fn {test}("))), "{row}: there is no test {test}");
    }
}

/// Commands that begin with a write, with a read and with a list.
const COMMANDS: [&str; 3] = ["create c --dimension 2", "count c", "status"];

/// Something else than a service of AWS listens there.
fn endpoints(provoked: &mut Provoked) {
    let console = "content-type: text/html\r\nserver: MinIO Console\r\n";
    let text = "content-type: text/plain\r\n";
    let json = "content-type: application/json\r\n";
    let (row, plain_http) = ("as no service of AWS does", "Client sent an HTTP request to an HTTPS server.\n");
    for (stranger, commands, words) in [
        (Stranger::http("200 OK", console, "<html>"), &COMMANDS[..], ["MinIO Console", "the port of the service"]),
        (Stranger::http("403 Forbidden", console, "<html>"), &COMMANDS[..], ["HTTP 403", "page for people"]),
        (Stranger::http("400 Bad Request", text, plain_http), &COMMANDS[..], ["in plain text", "`https://`"]),
        (Stranger::http("200 OK", "", ""), &COMMANDS[..2], ["without an ETag", "endpoint"]),
        (Stranger::http("200 OK", json, "{}"), &COMMANDS[..2], ["without an ETag", "application/json"]),
    ] {
        for command in commands {
            let command = provoked.at(command, &stranger.endpoint(), "");
            provoked.by(row, command, &words, || stranger.connections());
        }
    }
    let stranger = Stranger::http("200 OK", json, "{\"ok\":true}");
    let command = provoked.at("status", &stranger.endpoint(), "");
    provoked.by("no service of AWS answers so", command, &["HTTP 200 with application/json", "port"], || {
        stranger.connections()
    });
    let stranger = Stranger::raw("SSH-2.0-OpenSSH_9.2\r\n");
    for command in COMMANDS {
        let command = provoked.at(command, &stranger.endpoint(), "");
        provoked.by("does not speak HTTP", command, &["`https://`"], || stranger.connections());
        let command = provoked.at("count c", &format!("https://{}", stranger.address), "");
        provoked.by("does not speak TLS", command, &["`http://`"], || stranger.connections());
    }
    let behind = Front::of(&stranger.endpoint(), Certificate::Sound);
    let command = provoked.at("count c", &format!("http://{}", behind.address), "");
    provoked.by("does not speak HTTP", command, &["`https://`"], || 1);
    let server = Server::start();
    let command = provoked.at("count c", &format!("https://{}", server.address), "");
    provoked.by("does not speak TLS", command, &["`http://`"], || 1);
    let command = provoked.at("count c", "http://nowhere.invalid:9000", "");
    provoked.by("has no address", command, &["`nowhere.invalid`", "HTTPS_PROXY"], || 1);
}

fn certificates(provoked: &mut Provoked) {
    let server = Server::start();
    for (certificate, row, words) in [
        (Certificate::Sound, "is of an authority that this machine does not trust", ["AWS_CA_BUNDLE", "`?ca=`"]),
        (Certificate::ForAnotherName, "is for another name", ["other.test", "path_style"]),
        (Certificate::Expired, "is not valid now", ["renew", "clock"]),
    ] {
        let front = Front::of(&server.endpoint(), certificate);
        let trusted = format!("&ca={}", front.authority().display());
        let more = if certificate == Certificate::Sound { "" } else { &trusted };
        for command in COMMANDS {
            let command = provoked.at(command, &front.endpoint(), more);
            provoked.by(row, command, &words, || 1);
        }
    }
    assert!(server.calls().is_empty(), "a request went through");
    let front = Front::of(&server.endpoint(), Certificate::Sound);
    let authority = front.authority();
    let mut command = provoked.at("status", &front.endpoint(), "");
    command.env("AWS_CA_BUNDLE", &authority);
    Ran::within(command, Duration::from_secs(30), "").ends_with(1).complains("credentials are wrong");
    let mut command = provoked.at("status", &front.endpoint(), "");
    command.env("AWS_CA_BUNDLE", "/no/such/file");
    Ran::within(command, Duration::from_secs(30), "")
        .ends_with(1)
        .complains("AWS_CA_BUNDLE")
        .complains("/no/such/file");
}

/// The service itself refuses.
fn answers(provoked: &mut Provoked) {
    let cloud = Cloud::new();
    let elsewhere = "the bucket lies in";
    for (verb, status, code, row, word) in [
        ("create", 403, "QuotaExceeded", "free space there, or have the quota raised", "QuotaExceeded"),
        ("create", 400, "XMinioAdminBucketQuotaExceeded", "free space there, or have the quota raised", "Quota"),
        ("create", 507, "XMinioStorageFull", "free space there, or have the quota raised", "StorageFull"),
        ("create", 404, "NoSuchBucket", "there is no bucket", "`bucket`"),
        ("create", 301, "PermanentRedirect", elsewhere, "?region=eu-west-1"),
        ("create", 403, "RequestTimeTooSkewed", "the clock of this machine is wrong", "set it"),
        ("create", 403, "SignatureDoesNotMatch", "the credentials are wrong", "secret"),
        ("create", 403, "InvalidAccessKeyId", "the credentials are wrong", "access key"),
        ("create", 400, "InvalidToken", "the credentials are wrong", "session token"),
        ("create", 400, "ExpiredToken", "the credentials have expired", "aws sso login"),
        ("create", 403, "AccessDenied", "the credentials lack a permission", "docs/s3.md"),
        ("create", 304, "NotModified", "is not one that a write can have", "endpoint"),
    ] {
        cloud.server.fail_always(verb, "", Fault::Answer(status, code));
        provoked.by(row, cloud.command("create c --dimension 2"), &[word], || cloud.server.calls().len());
        cloud.server.heal();
    }
    let missing = cloud.command(&format!("--store s3://not-there/x?endpoint={} status", cloud.server.endpoint()));
    provoked.by("there is no bucket", missing, &["`not-there`", "create it"], || cloud.server.calls().len());
}

/// The answer of an append is lost, and then the service refuses for good.
fn doubt(provoked: &mut Provoked) {
    let cloud = Cloud::new();
    cloud.run("create c --dimension 2").ok();
    cloud.server.fail("create", "/log/", Fault::LoseAnswer);
    cloud.server.fail_always("create", "/log/", Fault::Answer(403, "AccessDenied"));
    let ran = cloud.run_with("append c", &puts(1)).ends_with(1).complains("the outcome of an append is unknown");
    assert!(!ran.stderr.contains("run the same command again"), "{ran:#?}");
    provoked.rows.push("the outcome of … is unknown");
}

/// A service that restarts takes its place again in a moment, so the program goes on trying.
#[test]
fn a_service_that_is_not_there_is_named_while_retrying() {
    use std::io::{BufRead as _, BufReader};

    let provoked = Provoked { home: Home::new(), rows: Vec::new() };
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).unwrap().port();
    let mut child = provoked.at("count c -vv", &format!("http://127.0.0.1:{port}"), "").spawn().unwrap();
    let words = format!("nothing listens at http://127.0.0.1:{port}");
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let told = lines.map_while(Result::ok).any(|line| line.contains("trying again") && line.contains(&words));
    child.kill().and_then(|()| child.wait()).unwrap();
    assert!(told, "no line says: {words}");
}

/// A service that has answered once is there. A page of a balancer in front of it leaves a write in
/// doubt, and the write lands once.
#[test]
fn a_page_after_the_first_contact_is_a_lost_answer() {
    let cloud = Cloud::new();
    cloud.run("create c --dimension 2").ok();
    cloud.server.fail("create", "/log/", Fault::Page);
    cloud.run_with("append c", &puts(3)).ok();
    assert!(cloud.server.all_reached());
    assert_eq!(cloud.run("count c").ok().stdout.trim(), "3");
}
