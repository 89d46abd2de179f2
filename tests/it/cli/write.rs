//! `sparklease write`.

use super::User;

#[tokio::test(flavor = "multi_thread")]
async fn a_file_becomes_a_table_that_the_next_command_reads() {
    let user = User::new().await;
    user.write("orders.csv", "id,country\n1,DE\n2,FR\n");
    assert_eq!(
        user.run(&["write", "orders", "orders.csv"]).await.printed(),
        "2 rows written to default.orders (new table, version 1)\n"
    );
    user.write("more.jsonl", "{\"ID\":2,\"country\":\"IT\"}\n{\"ID\":3}\n");
    let merge = [
        "write",
        "orders",
        "more.jsonl",
        "--mode",
        "merge",
        "--keys",
        "id",
        "--json",
    ];
    let told = user.run(&merge).await.json();
    assert_eq!(told["written"]["rows"], 2);
    assert_eq!(told["written"]["version"], 2);
    assert_eq!(told["written"]["created"], false);
    let sql = "select * from orders order by id";
    assert_eq!(
        user.run(&["sql", sql]).await.printed(),
        "id,country\n1,DE\n2,IT\n3,\n"
    );
    let query = "select country, count(*) as n from orders group by country";
    let totals = [
        "write",
        "totals",
        "--sql",
        query,
        "--partition-by",
        "country",
        "--schema",
        "country string, n int",
    ];
    assert_eq!(
        user.run(&totals).await.printed(),
        "3 rows written to default.totals (new table, version 1)\n"
    );
    let sum = ["sql", "select sum(n) as s from totals"];
    assert_eq!(user.run(&sum).await.printed(), "s\n3\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_written_is_an_error_with_a_code() {
    let user = User::new().await;
    user.write("ragged.csv", "id\n1,2\n");
    user.write("good.csv", "id\n1\n");
    let said = user
        .run(&["write", "t", "ragged.csv"])
        .await
        .failed(2, "invalid_argument");
    assert!(
        said.contains("line 2 has 2 fields, the header has 1"),
        "{said}"
    );
    let said = user
        .run(&["write", "t", "none.csv"])
        .await
        .failed(1, "not_found");
    assert!(said.contains("none.csv is not there"), "{said}");
    let said = user
        .run(&["write", "nodb.t", "good.csv"])
        .await
        .failed(1, "not_found");
    assert!(said.contains("there is no database nodb"), "{said}");
    user.run(&["write", "t", "good.csv"]).await.printed();
    user.run(&["write", "t", "good.csv"])
        .await
        .failed(1, "already_exists");
    for wrong in [
        &["write", "t"][..],
        &["write", "t", "good.csv", "--sql", "select 1"],
        &["write", "t", "good.csv", "--mode", "upsert"],
        &["write", "t", "good.csv", "--mode", "merge"],
        &["write", "a.b.c", "good.csv"],
    ] {
        assert_eq!(user.run(wrong).await.code, Some(2), "{wrong:?}");
    }
}
