//! The page for people, in headless Chromium.
//!
//! `page.py` drives the browser. Its screenshots are in `page/` of the target folder.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use deltafold::serve::{Access, Tokens};
use deltafold::store::{Memory, Store};
use deltafold_testing::venv;
use serde_json::{Value, json};

use crate::api::{Api, options};
use crate::own::own;

/// The driver of the browser and the checks of accessibility, all pinned.
const REQUIREMENTS: &str = include_str!("page-requirements.txt");
/// Markup that would run if a value reached the page as markup.
const HOSTILE: &str = "<img src=x onerror=\"window.ran=1\"><script>window.ran=1</script>";

/// Chromium of the system. On Debian, as root, the first call installs it.
fn chromium() -> PathBuf {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let find = || {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
        folders.iter().flat_map(|folder| names.map(|name| folder.join(name))).find(|program| program.is_file())
    };
    if let Some(program) = find() {
        return program;
    }
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0");
    let apt = Path::new("/usr/bin/apt-get");
    assert!(is_root && apt.exists(), "the test of the page needs Chromium: install the package `chromium`");
    venv::run(Command::new(apt).arg("update"));
    let install = ["install", "--yes", "--no-install-recommends", "chromium", "fonts-dejavu-core"];
    venv::run(Command::new(apt).args(install).env("DEBIAN_FRONTEND", "noninteractive"));
    find().expect("the package `chromium` has the program")
}

/// A collection with enough records for two pages, folded in part, and one of hostile values.
async fn filled(api: &Api) {
    let at = api.collection("articles").await;
    let ids: Vec<String> = (0..60).map(|n| format!("article-{n:02}")).collect();
    let embeddings: Vec<[f64; 3]> = (0..60).map(|n| [f64::from(n).cos(), f64::from(n).sin(), 0.5]).collect();
    let documents: Vec<String> = (0..60)
        .map(|n| match n {
            7 => "A heron stands in the reeds.".to_owned(),
            8 => format!("Long words: {}", "w".repeat(3_000)),
            n => format!("Deltas fold into a snapshot, part {n}."),
        })
        .collect();
    let metadatas: Vec<Value> = (0..60).map(|n| json!({ "year": 2000 + n, "topic": "storage" })).collect();
    let add = json!({ "ids": ids, "embeddings": embeddings, "documents": documents, "metadatas": metadatas });
    api.ok("POST", &format!("{at}/add"), add).await;
    for _ in 0..2 {
        api.ok("POST", &format!("{}/compact", own(&at)), json!({ "merge_all": true })).await;
        let upsert = json!({ "ids": ["article-00"], "embeddings": [[1, 0, 0.5]], "documents": ["Changed."] });
        api.ok("POST", &format!("{at}/upsert"), upsert).await;
    }
    let at = api.collection("hostile").await;
    let add = json!({
        "ids": [HOSTILE, format!("long-{}", "x".repeat(500))],
        "embeddings": [[1], [2]],
        "documents": [HOSTILE, HOSTILE],
        "metadatas": [{ HOSTILE: HOSTILE }, { "list": [HOSTILE, HOSTILE] }],
    });
    api.ok("POST", &format!("{at}/add"), add).await;
    api.ok("POST", &format!("{}/compact", own(&at)), json!({})).await;
    api.ok("POST", &format!("{}/pins", own(&at)), json!({ "name": HOSTILE })).await;
    // An error whose message repeats what the client sent.
    let unknown = "/api/v2/tenants/default_tenant/databases/default_database/collections/%3Cimg%20src%3Dx%20onerror%3D%22window.ran%3D1%22%3E";
    assert_eq!(api.call("GET", unknown, &Value::Null).await.status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_can_operate_the_server_in_a_browser() {
    let browser = chromium();
    let store: Arc<dyn Store> = Arc::new(Memory::new());
    let open = Api::of(store.clone(), options().compact(false)).await;
    filled(&open).await;
    let tokens = Tokens::parse("all-rights\nlooks read-only\n").unwrap();
    let guarded = Api::of(store, options().compact(false).access(Access::Tokens(tokens))).await;
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("page");
    std::fs::create_dir_all(&pictures).unwrap();
    let python = venv::installed("page", REQUIREMENTS).join("bin/python");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/serve/page.py");
    let mut command = Command::new(python);
    command.arg(script).arg(browser).arg(&pictures);
    command.args([&open, &guarded].map(|api| format!("http://{}", api.address())));
    let told = tokio::task::spawn_blocking(move || venv::run(&mut command)).await.unwrap();
    println!("{told}screenshots are in {}", pictures.display());
}
