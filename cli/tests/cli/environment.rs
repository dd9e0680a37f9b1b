//! With any environment the program works or reports the fault: no variable makes the SDK panic.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use crate::cloud::Cloud;
use crate::home::{Home, Ran};
use deltafold_testing::s3::{ACCESS_KEY, SECRET_KEY};

fn run(mut command: Command) -> Ran {
    command.env("AWS_EC2_METADATA_DISABLED", "true");
    Ran::within(command, Duration::from_secs(60), "")
}

/// Story: the SDK panicked if the access key id ended in a line break, as files and secret managers
/// deliver it.
#[test]
fn keys_and_regions_that_end_in_a_line_break_work() {
    let cloud = Cloud::new();
    for (number, end) in ["\n", "\r\n", " "].into_iter().enumerate() {
        let mut command = cloud.command(&format!("create c{number} --dimension 2"));
        command.env("AWS_ACCESS_KEY_ID", format!("{ACCESS_KEY}{end}"));
        command.env("AWS_SECRET_ACCESS_KEY", format!("{SECRET_KEY}{end}"));
        command.env("AWS_SESSION_TOKEN", end).env("AWS_REGION", format!("us-east-1{end}"));
        run(command).ok();
    }
}

#[test]
fn keys_of_a_profile_with_carriage_returns_work() {
    let (cloud, home) = (Cloud::new(), Home::new());
    let keys = format!("[default]\r\naws_access_key_id = {ACCESS_KEY}\r\naws_secret_access_key = {SECRET_KEY}\r\n");
    home.write("credentials", keys);
    home.write("config", "[default]\r\nregion = us-east-1\r\n");
    let mut command = cloud.command("create c --dimension 2");
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"] {
        command.env_remove(name);
    }
    command.env("AWS_SHARED_CREDENTIALS_FILE", home.path().join("credentials"));
    command.env("AWS_CONFIG_FILE", home.path().join("config"));
    run(command).ok();
}

/// Answers every request with this document.
fn container(document: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        while let Ok((mut connection, _)) = listener.accept() {
            let mut request = [0; 4096];
            let _ = connection.read(&mut request);
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close",
                document.len()
            );
            let _ = write!(connection, "{head}\r\n\r\n{document}");
        }
    });
    format!("http://{address}/keys")
}

#[test]
fn keys_of_a_container_are_trimmed_or_refused_by_name() {
    let cloud = Cloud::new();
    let with = |document| {
        let mut command = cloud.command("create c --dimension 2");
        command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
        command.env("HOME", "/nonexistent").env("AWS_CONTAINER_CREDENTIALS_FULL_URI", container(document));
        run(command)
    };
    let whole = r#"{"AccessKeyId":"AKIDEXAMPLE\n","SecretAccessKey":"wJalrXUtnFEMI\n","Token":"\n","Expiration":"2099-01-01T00:00:00Z"}"#;
    with(whole).ok();
    let broken = r#"{"AccessKeyId":"AKID\nEXAMPLE","SecretAccessKey":"wJalrXUtnFEMI","Token":"t","Expiration":"2099-01-01T00:00:00Z"}"#;
    with(broken).ends_with(1).complains("AWS_ACCESS_KEY_ID, or its counterpart").complains("line break");
}

/// Each variable that the SDK reads, with values that no header can carry.
#[test]
fn no_variable_of_the_environment_makes_it_panic() {
    let cloud = Cloud::new();
    for name in [
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_REGION",
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_S3",
        "AWS_EXECUTION_ENV",
        "AWS_SDK_UA_APP_ID",
        "AWS_ACCOUNT_ID",
        "AWS_ROLE_ARN",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    ] {
        for value in ["a\nb", "\u{1}", "é"] {
            let mut command = cloud.command("status");
            command.env(name, value);
            run(command).ends_with(1).complains(name).complains("line break");
        }
    }
    for name in [
        "AWS_PROFILE",
        "AWS_CONFIG_FILE",
        "AWS_SHARED_CREDENTIALS_FILE",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        "AWS_MAX_ATTEMPTS",
        "AWS_RETRY_MODE",
        "AWS_USE_FIPS_ENDPOINT",
        "AWS_LAMBDA_FUNCTION_NAME",
        "HOME",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "SSL_CERT_FILE",
    ] {
        for value in ["a\nb", "\u{1}é"] {
            let mut command = cloud.command("status");
            command.env(name, value).env(name.to_lowercase(), value);
            let ran = run(command);
            assert!((0..=6).contains(&ran.code), "{name}={value:?}: {ran:#?}");
        }
    }
}

#[test]
fn no_address_makes_it_panic() {
    let cloud = Cloud::new();
    let endpoint = cloud.server.endpoint();
    for (store, code) in [
        (format!("s3://buc\nket/x?endpoint={endpoint}"), 2),
        (format!("s3://buc\u{1}ket/x?endpoint={endpoint}"), 2),
        (format!("s3://bücket/x?endpoint={endpoint}"), 1),
        (format!("s3://bucket/x\n?endpoint={endpoint}"), 2),
        (format!("s3://bucket/x?endpoint={endpoint}%0A"), 2),
        ("s3://bucket/x?endpoint=http://%0A".to_owned(), 2),
        ("s3://bucket/x?endpoint=http://é".to_owned(), 2),
        (format!("s3://bucket/x?region=eu%0Awest&endpoint={endpoint}"), 2),
        (format!("s3://bucket/x?region=é&endpoint={endpoint}"), 2),
    ] {
        let mut command = cloud.command("status");
        command.env("DELTAFOLD_STORE", &store);
        let ran = run(command);
        assert!(ran.code == code, "{store:?}: {ran:#?}");
    }
    for heads in ["dynamodb:a\nb@us-east-1", "dynamodb:t@us\neast", "dynamodb:é@us-east-1"] {
        let mut command = cloud.command("doctor --heads");
        command.arg(heads);
        let ran = run(command);
        assert!((1..=6).contains(&ran.code), "{heads:?}: {ran:#?}");
    }
}
