//! The routes, over a real connection, with the bodies that the engine sends.

use std::path::Path;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::model::TableName;
use crate::platform::local::metastore::{CATALOG, Door, Metastore};

struct Client {
    metastore: Metastore,
    door: Door,
    _folder: tempfile::TempDir,
}

async fn client() -> Client {
    let folder = tempfile::tempdir().unwrap();
    let metastore = Metastore::open(folder.path()).await.unwrap();
    Client {
        door: metastore.door(),
        metastore,
        _folder: folder,
    }
}

impl Client {
    async fn call(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        self.call_as(self.metastore.bearer(), method, path, body)
            .await
    }

    async fn call_as(&self, bearer: &str, method: &str, path: &str, body: Value) -> (u16, Value) {
        let uri = self.door.uri();
        let (host, base) = uri
            .strip_prefix("http://")
            .unwrap()
            .split_once('/')
            .unwrap();
        let body = body.to_string();
        let request = format!(
            "{method} /{base}{path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {bearer}\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(host).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or_default())
    }

    async fn managed(&self, name: &str) -> (String, String) {
        let names = json!({"catalog_name": CATALOG, "schema_name": "default", "name": name});
        let (status, staged) = self.call("POST", "/staging-tables", names).await;
        assert_eq!(status, 200);
        let location = staged["staging_location"].as_str().unwrap().to_owned();
        let (status, made) = self
            .call("POST", "/tables", new_table(name, "MANAGED", &location))
            .await;
        assert_eq!(status, 200, "{made}");
        (made["table_id"].as_str().unwrap().to_owned(), location)
    }
}

fn new_table(name: &str, kind: &str, location: &str) -> Value {
    json!({
        "catalog_name": CATALOG, "schema_name": "default", "name": name, "table_type": kind,
        "data_source_format": "DELTA", "storage_location": location,
        "columns": [{"name": "id", "nullable": true, "position": 0, "type_name": "LONG", "type_text": "long",
            "type_json": "{\"name\":\"id\",\"type\":\"long\",\"nullable\":true,\"metadata\":{}}"}],
    })
}

fn commit(table: &str, location: &str, version: u64) -> Value {
    json!({"table_id": table, "table_uri": location, "latest_backfilled_version": version - 1, "commit_info": {
        "version": version, "timestamp": 1, "file_name": format!("{version:020}.x.json"), "file_size": 2,
        "file_modification_timestamp": 1}})
}

#[tokio::test]
async fn nobody_is_answered_without_the_bearer() {
    let client = client().await;
    let almost = client.metastore.bearer().replacen(|_: char| true, "~", 1);
    for wrong in ["", "x", &almost] {
        let (status, body) = client.call_as(wrong, "GET", "/schemas", json!({})).await;
        assert_eq!(status, 401);
        assert_eq!(body["error_code"], "unauthenticated");
    }
    let (status, body) = client
        .call("GET", "/schemas?catalog_name=x", json!({}))
        .await;
    assert_eq!(status, 200);
    assert_eq!(body["schemas"][0]["name"], "default");
}

#[tokio::test]
async fn a_taken_version_gets_409() {
    let client = client().await;
    let (id, location) = client.managed("t").await;
    let folder = location.strip_prefix("file://").unwrap();
    let staged = Path::new(folder).join("_delta_log/_staged_commits");
    std::fs::create_dir_all(&staged).unwrap();
    std::fs::write(staged.join(format!("{:020}.x.json", 1)), "{}").unwrap();
    let path = "/delta/preview/commits";
    let (status, _) = client.call("POST", path, commit(&id, &location, 1)).await;
    assert_eq!(status, 200);
    let (status, body) = client.call("POST", path, commit(&id, &location, 1)).await;
    assert_eq!(
        (status, &body["error_code"]),
        (409, &json!("already_exists"))
    );
    let (status, _) = client.call("POST", path, commit(&id, &location, 3)).await;
    assert_eq!(status, 400);
    let (status, _) = client
        .call("POST", path, commit("nobody", &location, 1))
        .await;
    assert_eq!(status, 404);
    // What was taken is in the log, where every reader looks.
    let log = Path::new(folder)
        .join("_delta_log")
        .join(format!("{:020}.json", 1));
    assert_eq!(std::fs::read_to_string(log).unwrap(), "{}");
    let (_, body) = client
        .call(
            "GET",
            path,
            json!({"table_id": id, "table_uri": location, "start_version": 1}),
        )
        .await;
    assert_eq!(body["latest_table_version"], 1);
    assert_eq!(body["commits"][0]["version"], 1);
}

#[tokio::test]
async fn a_location_that_is_no_absolute_path_here_is_refused_with_a_reason() {
    let client = client().await;
    for wrong in ["rel/x", "s3://bucket/x", "/a/../b", "/a b"] {
        let (status, body) = client
            .call("POST", "/tables", new_table("t", "EXTERNAL", wrong))
            .await;
        assert_eq!(status, 400, "{wrong}: {body}");
        let refusal = client.door.take_refusal().unwrap();
        assert_eq!(refusal.message(), body["message"].as_str().unwrap());
    }
    // Inside our own folder, only where it was staged.
    let ours = client
        .metastore
        .warehouse()
        .with_file_name("other")
        .join("x");
    let ours = ours.to_str().unwrap();
    for kind in ["EXTERNAL", "MANAGED"] {
        let (status, _) = client
            .call("POST", "/tables", new_table("t", kind, ours))
            .await;
        assert_eq!(status, 400);
    }
    assert_eq!(
        client
            .call("GET", "/tables/spark_catalog%2Edefault%2Et", json!({}))
            .await
            .0,
        404
    );
}

#[tokio::test]
async fn a_database_goes_only_when_it_is_empty_or_forced() {
    let client = client().await;
    let name = json!({"catalog_name": CATALOG, "name": "`my db`"});
    assert_eq!(client.call("POST", "/schemas", name.clone()).await.0, 200);
    assert_eq!(client.call("POST", "/schemas", name).await.0, 409);
    let mut table = new_table("t", "EXTERNAL", "/nowhere/x");
    table["schema_name"] = json!("`MY db`");
    assert_eq!(client.call("POST", "/tables", table).await.0, 200);
    let path = "/schemas/spark%5Fcatalog%2E%60my%20db%60";
    assert_eq!(
        client
            .call("DELETE", &format!("{path}?force=false"), json!({}))
            .await
            .0,
        400
    );
    assert_eq!(
        client
            .call("DELETE", &format!("{path}?force=true"), json!({}))
            .await
            .0,
        200
    );
    assert_eq!(client.call("GET", path, json!({})).await.0, 404);
    let default = "/schemas/spark_catalog%2Edefault?force=true";
    assert_eq!(client.call("DELETE", default, json!({})).await.0, 400);
    let format = json!({"catalog_name": CATALOG, "name": "Delta"});
    assert_eq!(client.call("POST", "/schemas", format).await.0, 400);
}

#[tokio::test]
async fn names_come_back_as_they_went_in() {
    let client = client().await;
    let folder = tempfile::tempdir().unwrap();
    for (number, name) in ["表 😀", "a`b", "a.b", "x; DROP TABLE t", "a/b?c#d%20"]
        .iter()
        .enumerate()
    {
        let quoted = crate::sql::quote(name);
        let place = folder.path().join(number.to_string());
        let (status, made) = client
            .call(
                "POST",
                "/tables",
                new_table(&quoted, "EXTERNAL", place.to_str().unwrap()),
            )
            .await;
        assert_eq!((status, &made["name"]), (200, &json!(name)));
        let path: String = format!("{CATALOG}.default.{}", quoted.to_uppercase())
            .bytes()
            .map(|byte| format!("%{byte:02X}"))
            .collect();
        let (status, found) = client
            .call("GET", &format!("/tables/{path}"), json!({}))
            .await;
        assert_eq!((status, &found["table_id"]), (200, &made["table_id"]));
    }
    let (_, list) = client
        .call(
            "GET",
            "/tables?catalog_name=spark_catalog&schema_name=default",
            json!({}),
        )
        .await;
    assert_eq!(list["tables"].as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn an_external_table_that_nobody_wrote_gets_version_0_when_the_statement_ends() {
    let client = client().await;
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("t");
    let made = new_table("t", "EXTERNAL", place.to_str().unwrap());
    assert_eq!(client.call("POST", "/tables", made).await.0, 200);
    assert!(!place.exists());
    client.door.settle(false).await.unwrap();
    assert!(place.join("_delta_log/00000000000000000000.json").exists());
    let table = client
        .metastore
        .find(&TableName::new("default", "T"))
        .await
        .unwrap();
    assert_eq!(table.unwrap().columns[0].data_type, "bigint");
    // Another one over the same folder takes its columns from the log.
    let mut again = new_table("again", "EXTERNAL", place.to_str().unwrap());
    again["columns"] = json!([]);
    assert_eq!(
        client.call("POST", "/tables", again).await.1["columns"][0]["name"],
        "id"
    );
}

#[tokio::test]
async fn what_cannot_be_read_is_refused() {
    let client = client().await;
    assert_eq!(client.call("POST", "/tables", json!([])).await.0, 400);
    assert_eq!(client.call("GET", "/nothing", json!({})).await.0, 404);
    assert_eq!(client.call("GET", "/tables/%FF", json!({})).await.0, 400);
}
