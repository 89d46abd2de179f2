//! `list_tables` over 10,000 tables: the first answer of a fresh server, which opens the catalogue for it, beside the
//! next ones.

use std::time::Instant;

use serde_json::json;

use crate::client::Server;
use crate::measure::Sample;
use crate::{Bench, Result};

const TABLES: usize = 10_000;
const ROUNDS: usize = 10;
/// Later answers of each server.
const AGAIN: usize = 5;

impl Bench {
    /// One table is made by the tool; the others are rows of the catalogue's file that differ by name and id.
    pub(crate) fn list(&mut self) -> Result<()> {
        let mut server = Server::start(&self.folders)?;
        server.hello()?;
        let rows = json!({"table": "listed", "mode": "overwrite", "rows": [{"id": 1, "name": "a"}], "wait_s": 120});
        server.call("write_table", rows)?;
        self.settled(&server, 2)?;
        drop(server);
        let file = self.folders.run.join("data/lake/metastore.db");
        let mut db = rusqlite::Connection::open(file)?;
        let change = db.transaction()?;
        for number in 1..TABLES {
            change.execute(
                "INSERT INTO tables SELECT id || ?1, database, key || ?1, name || ?1, format, uri, path, owned, \
                 catalog_managed, comment, schema, partition_by, properties, version, search || ?1, created_ms \
                 FROM tables WHERE key = 'listed'",
                [format!("_{number:05}")],
            )?;
        }
        change.commit()?;
        drop(db);
        let [mut first, mut again] = [(); 2].map(|()| Sample::default());
        for _ in 0..ROUNDS {
            let mut server = Server::start(&self.folders)?;
            server.hello()?;
            for number in 0..=AGAIN {
                let begun = Instant::now();
                let text = server.call("list_tables", json!({}))?;
                let took = begun.elapsed();
                if !text.starts_with(&format!("{TABLES} tables on local")) {
                    return Err(format!("not a list of {TABLES} tables: {text}").into());
                }
                if number == 0 {
                    first.add(took);
                } else {
                    again.add(took);
                }
            }
        }
        let what = "list_tables, 10,000 tables, first answer of a server";
        self.report.pair(what, &first, ("its next answers", &again));
        self.report.goal(
            "8. list_tables, first answer of 10,000 tables",
            first.p50() * 1e3,
            200.0,
            " ms",
        );
        Ok(())
    }
}
