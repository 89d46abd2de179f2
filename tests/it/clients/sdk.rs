//! The official Python SDK: its script runs once per era, and each of its checks is a test here.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Output;
use std::sync::LazyLock;
use std::time::Duration;

use serde::Deserialize;

use super::install::{CLIENTS, command, output, parts, variables};
use crate::common::Setup;
use crate::livy::server::LivyServer;

/// A run takes 20 s; every wait in it has its own deadline.
const RUN_FOR: Duration = Duration::from_secs(600);
/// As long as the script itself waits for an installation, and then some.
const PREPARE_FOR: Duration = Duration::from_secs(1_500);

/// A line of the script.
#[derive(Debug, Deserialize)]
struct Line {
    check: String,
    ok: bool,
    why: String,
}

/// What a run said.
struct Run {
    lines: BTreeMap<String, Line>,
    end: String,
}

impl Run {
    fn of(era: &str) -> Self {
        Self::read(&start(&CLIENTS.python, &[era], "", RUN_FOR))
    }

    /// A run whose statements go to a Livy server.
    fn on_livy(era: &str) -> Self {
        let python = &CLIENTS.python;
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let livy = runtime.block_on(LivyServer::start(&["--shutdown-timeout", "1"]));
        let mut arguments = vec![era, "dev"];
        arguments.extend(LOCAL_CHECKS);
        let config = Setup::on_livy("dev", &livy.url);
        let run = Self::read(&start(python, &arguments, config.file(), RUN_FOR));
        runtime.block_on(async {
            livy.empties().await;
            livy.end().await;
        });
        run
    }

    fn read(output: &Output) -> Self {
        let text = String::from_utf8_lossy(&output.stdout);
        let end = format!(
            "{}\n{text}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        let lines = text
            .lines()
            .map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{l:?}: {e}\n{end}")))
            .map(|line: Line| (line.check.clone(), line))
            .collect();
        Self { lines, end }
    }

    fn passed(&self, check: &str) {
        match self.lines.get(check) {
            Some(line) => assert!(line.ok, "{check}: {}", line.why),
            None => panic!("{check} was not run: {}", self.end),
        }
    }
}

fn start(python: &Path, arguments: &[&str], config: &str, limit: Duration) -> Output {
    let home = tempfile::Builder::new()
        .prefix("sparklease-sdk-")
        .tempdir()
        .unwrap();
    let folder = home.path().join("folder");
    std::fs::create_dir(&folder).unwrap();
    let variables = variables(home.path());
    std::fs::write(home.path().join("config.toml"), config).unwrap();
    let mut script = command(python);
    script
        .arg(parts().join("sdk_client.py"))
        .arg(env!("CARGO_BIN_EXE_sparklease"))
        .arg(folder)
        .args(arguments)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .envs(variables);
    output(script, limit)
}

/// Runs one query, which installs the engine where it is not.
pub(super) fn prepare_engine(python: &Path) {
    Run::read(&start(python, &["prepare"], "", PREPARE_FOR)).passed("the_engine_is_ready");
}

/// A test for each check, in both eras, and in one of them on a Livy server; and one that nothing the script checks is
/// left out here.
macro_rules! checks {
    (everywhere { $($check:ident)* } local { $($local:ident)* }) => {
        const CHECKS: &[&str] = &[$(stringify!($check)),*];
        /// What is about files beside the server, about a catalogue that answers without a session and counts rows, or about
        /// sessions that a cancel of Python leaves alive.
        const LOCAL_CHECKS: &[&str] = &[$(stringify!($local)),*];
        checks!(@run initialize_2025_11_25 [Run::of("legacy")] [LOCAL_CHECKS] $($check)* $($local)*);
        checks!(@run discover_2026_07_28 [Run::of("modern")] [LOCAL_CHECKS] $($check)* $($local)*);
        checks!(@run initialize_2025_11_25_on_livy [Run::on_livy("legacy")] [&[]] $($check)*);
    };
    (@run $module:ident [$run:expr] [$more:expr] $($check:ident)*) => {
        mod $module {
            use super::*;

            static RUN: LazyLock<Run> = LazyLock::new(|| $run);

            $(#[test]
            fn $check() {
                RUN.passed(stringify!($check));
            })*

            #[test]
            fn every_check_of_the_script_is_a_test() {
                let more: &[&str] = $more;
                let mut known = [CHECKS, more].concat();
                known.sort_unstable();
                let run: Vec<&str> = RUN.lines.keys().map(String::as_str).collect();
                assert_eq!(run, known, "{}", RUN.end);
            }
        }
    };
}

checks! {
    everywhere {
        the_era_is_the_one_asked_for
        the_server_says_who_it_is
        the_tools_are_listed_in_order
        annotations_say_what_a_tool_may_do
        schemas_are_closed_and_rooted_in_an_object
        query_sql_returns_rows_with_names_and_types
        query_sql_binds_values_by_name_and_by_place
        query_sql_writes_other_formats
        query_sql_refuses_what_writes
        run_sql_and_run_pyspark_share_a_named_session
        run_pyspark_returns_text_rows_and_figures
        run_pyspark_starts_afresh_without_a_session
        a_failure_of_user_code_shows_the_users_lines
        get_statement_pages_through_rows
        work_outlives_wait_s_and_get_statement_waits_for_it
        cancel_statement_confirms_the_end
        progress_grows_keeps_coming_and_ends_with_the_call
        bad_arguments_are_reported_together
        what_is_not_there_names_the_next_call
        a_tool_that_is_not_there_is_a_protocol_error
        stdout_carries_messages_only
        the_server_leaves_nothing_when_its_input_ends
    }
    local {
        a_table_is_a_resource_with_the_words_of_the_tool
        list_tables_finds_a_table_and_tells_its_columns
        the_prompt_tells_what_is_known_of_the_table
        query_sql_reads_files_of_allowed_folders_only
        write_table_says_what_it_wrote_or_writes_nothing
        the_clients_cancel_ends_the_work
    }
}
