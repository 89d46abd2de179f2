//! `sparklease tables`.

use serde_json::json;

use super::User;

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_one_command_are_listed_by_the_next() {
    let user = User::new().await;
    let none = user.run(&["tables"]).await;
    assert_eq!((none.code, none.stdout.as_str()), (Some(0), ""));
    assert!(none.stderr.contains("0 tables on local"), "{none:?}");
    user.run(&[
        "sql",
        "create table orders using delta as select 1 as id, 'x' as note",
    ])
    .await;
    assert_eq!(
        user.run(&["tables"]).await.printed(),
        "table\tkind\ndefault.orders\tmanaged\n"
    );
    assert_eq!(
        user.run(&["tables", "ORD*", "--columns"]).await.printed(),
        "table\tkind\tcolumn\ttype\tcolumn comment\n\
         default.orders\tmanaged\tid\tint\t\n\
         default.orders\tmanaged\tnote\tstring\t\n"
    );
    let listed = user.run(&["tables", "--stats", "--json"]).await.json();
    assert_eq!(
        (&listed["total"], &listed["target"]),
        (&json!(1), &json!("local"))
    );
    assert_eq!(listed["tables"][0]["rows"], 1);
    let nothing = user.run(&["tables", "oders"]).await;
    assert_eq!((nothing.code, nothing.stdout.as_str()), (Some(0), ""));
    assert!(nothing.stderr.contains("default.orders"), "{nothing:?}");
    user.run(&["tables", "--target", "nope"])
        .await
        .failed(1, "not_found");
}
