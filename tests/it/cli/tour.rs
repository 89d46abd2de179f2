//! `sparklease try`.

use serde_json::json;

use super::{User, names};

/// What is said of the table: by the write, by the merge, in the list.
const TABLE: [&str; 3] = [
    "   | # written: 400 rows to default.tour_orders (new table, delta version ",
    "   | # written: 2 rows to default.tour_orders (merge, delta version ",
    "   | default.tour_orders,401,",
];

const SECOND: &str = "The same table, read by a second process";

const GONE: &str = "   0 sessions, 0 processes left (checked in the process table)\n";

#[tokio::test(flavor = "multi_thread")]
async fn the_tour_works_again_without_a_network() {
    let mut user = User::new().await;
    for number in 1..=2 {
        let shown = user.run(&["try"]).await.printed();
        assert!(shown.contains(GONE), "{shown}");
        for words in TABLE {
            assert!(shown.contains(words), "{words}: {shown}");
        }
        let second = shown.split_once(SECOND).unwrap().1;
        let counted = "   | # orders bigint\n   | 401\n";
        assert!(second.contains(counted), "{shown}");
        let figure = user.path(&format!("figure-{number}.png"));
        let saved = format!("   figure saved: {}\n", figure.display());
        assert!(shown.contains(&saved), "{shown}");
        let png = std::fs::read(&figure).unwrap();
        assert!(png.starts_with(b"\x89PNG\r\n"), "{} bytes", png.len());
        assert!(shown.contains(env!("CARGO_BIN_EXE_sparklease")), "{shown}");
        user.leave_the_network();
    }
    assert_eq!(user.files(), ["figure-1.png", "figure-2.png"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tour_shows_a_file_of_the_users() {
    let mut user = User::new().await;
    user.leave_the_network();
    user.write("mine.csv", "city,people\nToledo,86000\nBrno,402000\n");
    let shown = user
        .run(&["try", "mine.csv", "--output", "figures"])
        .await
        .printed();
    for words in [
        "   | Toledo,86000\n",
        "   | Brno,402000\n",
        "2 rows, 2 columns",
        "   | # written: 2 rows to default.tour_orders (new table, delta version ",
        "   | # orders bigint\n   | 2\n",
        GONE,
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    assert_eq!(names(&user.path("figures")), ["figure-1.png"]);
    assert_eq!(user.files(), ["figures", "mine.csv"]);

    let document = user
        .run(&["try", "mine.csv", "-o", "figures", "--json"])
        .await
        .json();
    let ends = ["figures", "sessions_left", "processes_left"].map(|name| document[name].clone());
    assert_eq!(
        ends,
        [
            json!([user.path("figures/figure-2.png")]),
            json!(0),
            json!(0)
        ]
    );

    let said = user.run(&["try", "no.csv"]).await.failed(1, "not_found");
    assert!(said.contains("no.csv cannot be read"), "{said}");
}
