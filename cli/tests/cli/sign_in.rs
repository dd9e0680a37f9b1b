//! Credentials that cannot be had: each source of them names its own remedy.

use std::process::Command;
use std::time::Duration;

use deltafold_testing::stranger::Stranger;

use crate::cloud::Cloud;
use crate::home::{Home, Ran};

/// The program without keys in its environment, with this configuration of the tools of AWS.
fn command(cloud: &Cloud, home: &Home, config: &str) -> Command {
    std::fs::create_dir_all(home.path().join(".aws/sso/cache")).expect("a folder");
    home.write(".aws/config", config);
    let mut command = cloud.command("status");
    command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY").env_remove("AWS_SESSION_TOKEN");
    for name in ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN"] {
        command.env_remove(name);
    }
    command.env("HOME", home.path()).env("AWS_EC2_METADATA_DISABLED", "true");
    command
}

/// A token of SSO that ended long ago, where the tools of AWS keep it: under the SHA-1 of the
/// session's name.
const TOKEN: &str = ".aws/sso/cache/e274eeff768c6396088ec6eb091f4bf4d47ab1e0.json";

/// A case, the configuration, variables, and the words that must be said.
type Case<'a> = (&'a str, String, &'a [(&'a str, &'a str)], &'a [&'a str]);

#[test]
fn each_source_of_credentials_names_its_remedy() {
    let cloud = Cloud::new();
    let home = Home::new();
    let session = "[sso-session work]\nsso_region = us-east-1\nsso_start_url = https://x.awsapps.com/start\n";
    let sso = |profile: &str| {
        format!("[{profile}]\nsso_session = work\nsso_account_id = 111122223333\nsso_role_name = reader\n{session}")
    };
    let old = "[default]\nsso_start_url = https://x.awsapps.com/start\nsso_region = us-east-1\nsso_account_id = 111122223333\nsso_role_name = reader\n";
    let denied = Stranger::http(
        "403 Forbidden",
        "content-type: text/xml\r\n",
        "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>User u is not authorized to perform: sts:AssumeRole</Message></Error></ErrorResponse>",
    );
    let unauthorized = Stranger::http(
        "401 Unauthorized",
        "content-type: application/json\r\nx-amzn-errortype: UnauthorizedException\r\nx-amzn-requestid: 1\r\n",
        r#"{"message":"Session token not found or invalid"}"#,
    );
    let role = "[default]\nrole_arn = arn:aws:iam::111122223333:role/r\nsource_profile = base\n[profile base]\naws_access_key_id = a\naws_secret_access_key = s\n";
    let cases: [Case<'_>; 9] = [
        ("no sign-in yet", sso("default"), &[], &["the sign-in has expired, or is missing", "run `aws sso login`"]),
        (
            "no sign-in yet, old form",
            old.to_owned(),
            &[],
            &["the sign-in has expired, or is missing", "run `aws sso login`"],
        ),
        (
            "no sign-in of a profile",
            sso("profile work"),
            &[("AWS_PROFILE", "work")],
            &["the sign-in of the profile `work` has expired", "run `aws sso login --profile work`"],
        ),
        (
            "no such profile",
            sso("default"),
            &[("AWS_PROFILE", "wrok")],
            &["there is no profile `wrok`", "correct AWS_PROFILE"],
        ),
        (
            "a process that fails",
            "[default]\ncredential_process = sh -c 'echo the vault is sealed >&2; exit 3'\n".to_owned(),
            &[],
            &["the `credential_process` gave no credentials", "the vault is sealed", "run that command by itself"],
        ),
        (
            "a process that prints something else",
            "[default]\ncredential_process = echo hello\n".to_owned(),
            &[],
            &["the `credential_process` gave no credentials"],
        ),
        (
            "no token file",
            String::new(),
            &[("AWS_WEB_IDENTITY_TOKEN_FILE", "/no/such/token"), ("AWS_ROLE_ARN", "arn:aws:iam::1:role/r")],
            &["the token file `/no/such/token` cannot be read", "AWS_WEB_IDENTITY_TOKEN_FILE"],
        ),
        (
            "a role that is not ours",
            role.to_owned(),
            &[("AWS_ENDPOINT_URL_STS", &denied.endpoint())],
            &["the role may not be assumed", "sts:AssumeRole"],
        ),
        ("nothing at all", String::new(), &[], &["no credentials were found", "AWS_PROFILE", "aws sso login"]),
    ];
    for (case, config, variables, words) in &cases {
        let mut command = command(&cloud, &home, config);
        command.envs(variables.iter().copied());
        refused(case, command, words);
    }
    // A token that is there, and that the service does not know any more.
    let token = r#"{"startUrl":"https://x.awsapps.com/start","region":"us-east-1","accessToken":"t","expiresAt":"2099-01-01T00:00:00Z"}"#;
    home.write(TOKEN, token);
    let mut forgotten = command(&cloud, &home, &sso("default"));
    forgotten.env("AWS_ENDPOINT_URL_SSO", unauthorized.endpoint());
    refused("a token that is not known", forgotten, &["the sign-in has expired", "run `aws sso login`"]);
    home.write(TOKEN, token.replace("2099", "2021"));
    let expired = command(&cloud, &home, &sso("default"));
    refused("an expired token", expired, &["the SSO token has expired", "run `aws sso login`"]);
    assert!(cloud.server.calls().is_empty(), "a request went to the store");
}

fn refused(case: &str, command: Command, words: &[&str]) {
    let ran = Ran::within(command, Duration::from_secs(30), "").ends_with(1);
    let missing: Vec<&&str> = words.iter().filter(|word| !ran.stderr.contains(**word)).collect();
    assert!(missing.is_empty(), "{case}: {missing:?} is not in {ran:#?}");
    for word in ["free space", "cannot list ``", "run the same command again"] {
        assert!(!ran.stderr.contains(word), "{case}: {word} is in {ran:#?}");
    }
}
