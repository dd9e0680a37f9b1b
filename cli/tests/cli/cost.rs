//! `cost`: the bill of a month, from rates and from counted requests.

use crate::home::Home;

#[test]
fn the_default_template_meets_its_cost_goals() {
    let home = Home::new();
    let text = home.run("cost").ok().says("TO PAY").says("the old way").says("hosted").says("2026-");
    assert!(text.stdout.contains("1.57 cycles a minute on x86-64"), "{text:?}");
    let json = |arguments: &str| home.run(arguments).ok().json();
    let low = json("cost --json");
    assert!(low["this"]["to_pay"].as_f64().unwrap() <= 3.0, "{low}");
    assert!(json("cost --messages 300 --json")["this"]["to_pay"].as_f64().unwrap() <= 5.0);
    let plain = json("cost --source fifo --json")["this"]["list"].as_f64().unwrap();
    assert!(plain > 10.0, "a message a batch: {plain}");
    assert_eq!(low["written_down_for_the_old_way"].as_array().unwrap().len(), 6);
    assert!(!home.path().join("deltafold-data").exists(), "no store is looked at");
}

#[test]
fn prices_can_be_seen_and_replaced() {
    let home = Home::new();
    home.run("cost --prices").ok().says("s3.put").says("https://aws.amazon.com/s3/pricing/");
    let of = |more: &str| home.run(&format!("cost --json {more}")).ok().json()["this"]["list"].as_f64().unwrap();
    assert!(of("--price s3.put=0.00001") > of("") + 2.0);
    home.run("cost --price s3.putt=1").ends_with(2).complains("--prices");
    home.run("cost --price s3.put=cheap").ends_with(2).complains("not a number");
    home.run("cost --window 0s").ends_with(2);
    home.run("cost --shards 0").ends_with(2);
}

#[test]
fn counted_requests_replace_the_formulas() {
    let home = Home::with_records(3);
    let status = home.run("status c --requests --json").ok();
    home.write("status.json", &status.stdout);
    home.write(
        "counted.json",
        r#"{"requests":{"create":{"calls":60},"get_unless":{"calls":60},"delete":{"calls":9}}}"#,
    );
    let bill = home.run("cost --requests-of counted.json --covering 1h --json").ok().json();
    let line = |item: &str| {
        let lines = bill["this"]["lines"].as_array().unwrap();
        lines.iter().filter(|line| line["item"] == item).map(|line| line["quantity"].as_f64().unwrap()).sum::<f64>()
    };
    assert_eq!((line("s3.put"), line("s3.get")), (43_200.0, 43_200.0));
    home.run("cost --requests-of status.json --covering 1m").ok().says("counted: get");
    home.run("cost --requests-of missing.json --covering 1h").ends_with(4);
    home.write("bad.json", r#"{"requests":{"gets":{"calls":1}}}"#);
    home.run("cost --requests-of bad.json --covering 1h").ends_with(3).complains("no request is called `gets`");
    home.run("cost --requests-of counted.json").ends_with(2);
}

/// The page shows what the command prints, so the two cannot drift apart.
#[test]
fn the_table_of_queries_is_the_one_in_the_docs() {
    let home = Home::new();
    let page = include_str!("../../../docs/costs.md");
    let printed = home.run("cost --by-queries --markdown").ok();
    assert_eq!(printed.stdout.lines().count(), 14, "{printed:?}");
    assert!(page.contains(printed.stdout.trim_end()), "put this into docs/costs.md:\n{}", printed.stdout);
    home.run("cost --by-queries").ok().says("TURBOPUFFER").says("$130.00");
    let rows = home.run("cost --by-queries --json").ok().json();
    let least = &rows["loads"][0];
    assert_eq!((&least["records"], &least["queries"]), (&70_000.0.into(), &1.0e6.into()));
    assert!(least["function_url"].as_f64().unwrap() < 130.0, "{least}");
    assert_eq!(least["turbopuffer"], 16.0, "the minimum");
    let dear = home.run("cost --by-queries --json --price s3vectors.query=1").ok().json();
    assert!(dear["loads"][0]["s3_vectors"].as_f64().unwrap() > 1.0e6);
    home.run("cost --markdown").ends_with(2);
    home.run("cost --prices").ok().says("turbopuffer.minimum").says("read 2026-11-27");
}
