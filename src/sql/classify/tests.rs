//! Which texts only read, and with what reason the rest is refused.

use proptest::prelude::*;
use rstest::rstest;

use super::*;

fn refusal(text: &str) -> Refusal {
    match classify(text) {
        Verdict::Refused(refusal) => refusal,
        Verdict::Reads(read) => panic!("{text:?} is taken for a read: {read:?}"),
    }
}

/// Reads, by kind.
const QUERIES: &[&str] = &[
    "select 1",
    "SELECT 1;",
    "select 1 ; ; -- the end",
    "(select 1)",
    "select * from t",
    "select * from db.t",
    "select * from spark_catalog.db.t as x where x.a > 1 order by 1 desc nulls last limit 10 offset 2",
    "select * from `my table` where `a``b` = 1",
    "select größe from straße",
    "select 'it\\'s; drop table t; --' as a",
    "select 'it''s', \"double\", r'raw\\d+', X'1F'",
    "select '/* no comment', '--', '`', '''', ''",
    "select 'über ſ \u{202e} \u{a0}'",
    "-- first\nselect 1 -- last",
    "select 1 --\r\n+ 1",
    "/* one /* two */ still one */ select 1",
    "/* it's \" ` */ select 1",
    "select /*+ broadcast(t), repartition(3, a) */ * from t",
    "select /* x */ /**/ 1",
    "select\t1\r\n",
    "values (1, 'a'), (2, 'b')",
    "select * from values (1), (2) as t(a)",
    "table t",
    "TABLE db.t",
    "table t order by 1 limit 3",
    "from t select a",
    "with x as (select 1 as a), y(b) as (select a from x) select * from y",
    "with recursive r as (select 1 as n union all select n + 1 from r where n < 5) select * from r",
    "select a, count(*) from t group by a having count(*) > 1",
    "select a, sum(b) from t group by rollup(a)",
    "select a from t union all select a from u except select a from v intersect select a from w",
    "select * from t join u using (id) left anti join v on t.id = v.id cross join w",
    "select * from t lateral view explode(a) e as x",
    "select transform(array(1, 2), x -> x + 1), filter(a, x -> x > 1)",
    "select a[0], m['k'], s.f.g from t",
    "select cast(a as decimal(10, 2)), a::int, try_cast(b as date) from t",
    "select date '2024-01-01' + interval '1' day, timestamp '2024-01-01 00:00:00'",
    "select case when a then 1 else 2 end, if(a, 1, 2), coalesce(a, b) from t",
    "select row_number() over (partition by a order by b rows between 1 preceding and current row) from t",
    "select * except (a) from t",
    "select replace('a', 'b', 'c'), from_csv('1', 'create INT')",
    "select insert from t",
    "select a, delete, update from t",
    "select * from t where a in (select b from u) and exists (select 1 from v)",
    "select * from t where a like 'x%' or a rlike '^a' or a between 1 and 2",
    "select * from t tablesample (10 percent)",
    "select * from t version as of 3",
    "select * from range(10)",
    "select * from t pivot (sum(a) for b in (1, 2))",
    "select distinct a from t sort by a",
    "select a <=> b, a div b, a % b, !c, ~d, a || b from t",
    "select :name, ? ",
    "select reflect, secret, json.id, text.a, t.`km/h` from t",
    "select json.`a b` from t as json",
    "select * from spark_catalog.text.readme",
    "select * from identifier('db.t')",
    "select identifier from t",
    "select * from t |> where a > 1 |> select a",
    "select count(*) filter (where a > 1) from t",
    "select struct(1 as a), named_struct('a', 1), map('a', 1), array(1)",
    "select t.into from t",
    "select `into`, `overwrite` from t",
    "select current_date, current_timestamp(), current_user()",
];

const COMMANDS: &[(&str, Read)] = &[
    ("show tables", Read::Show),
    ("SHOW TABLES IN db LIKE 'a*'", Read::Show),
    ("show tables from cat.db 'a*';", Read::Show),
    (
        "show table extended in db like 'a*' partition (d = '1')",
        Read::Show,
    ),
    ("show databases like 'x*'", Read::Show),
    ("show schemas in cat", Read::Show),
    ("show views", Read::Show),
    ("show catalogs", Read::Show),
    ("show columns in t", Read::Show),
    ("show columns from t from db", Read::Show),
    (
        "show partitions db.t partition (a = 1, b = 'x')",
        Read::Show,
    ),
    ("show create table t as serde", Read::Show),
    ("show tblproperties t ('k')", Read::Show),
    ("show tblproperties t(a.b)", Read::Show),
    ("show functions", Read::Show),
    ("show user functions like 'a*'", Read::Show),
    ("show system functions in db", Read::Show),
    ("show functions abs", Read::Show),
    ("show current schema", Read::Show),
    ("-- what is there\nshow /* all */ tables", Read::Show),
    ("describe t", Read::Describe),
    ("desc db.t", Read::Describe),
    ("desc table extended db.t", Read::Describe),
    ("describe formatted `a b`", Read::Describe),
    ("describe t partition (a = 1)", Read::Describe),
    ("describe t a.b", Read::Describe),
    ("describe table t as json", Read::Describe),
    ("describe history db.t", Read::Describe),
    ("describe detail t", Read::Describe),
    ("describe history", Read::Describe),
    ("desc function extended abs", Read::Describe),
    ("desc function '<=>'", Read::Describe),
    ("desc schema extended db", Read::Describe),
    ("desc catalog c", Read::Describe),
    ("describe query select 1", Read::Describe),
    (
        "describe with x as (select 1) select * from x",
        Read::Describe,
    ),
    ("desc values (1)", Read::Describe),
    ("explain select 1", Read::Explain),
    ("EXPLAIN EXTENDED SELECT * FROM t", Read::Explain),
    (
        "explain formatted with x as (select 1) select * from x;",
        Read::Explain,
    ),
    ("explain cost table t", Read::Explain),
    ("explain codegen values (1)", Read::Explain),
];

/// What must never pass, with a word of the reason.
const REFUSED: &[(&str, &str)] = &[
    // Nothing, or more than one.
    ("", "no statement"),
    (";", "no statement"),
    ("-- select 1", "no statement"),
    ("select 1; select 2", "more than one"),
    ("select 1; drop table t", "more than one"),
    ("select 1;-- \n drop table t", "more than one"),
    ("select 1\n;\ndelete from t", "more than one"),
    ("select 1/**/;/**/select 2", "more than one"),
    ("COMMIT; DROP SCHEMA public CASCADE", "COMMIT"),
    ("show tables; drop table t", "more than one"),
    // Writes and commands.
    ("insert into t values (1)", "`INSERT`"),
    ("INSERT OVERWRITE TABLE t SELECT 1", "`INSERT`"),
    ("update t set a = 1", "`UPDATE`"),
    ("delete from t", "`DELETE`"),
    (
        "merge into t using u on t.a = u.a when matched then delete",
        "`MERGE`",
    ),
    ("create table t (a int)", "`CREATE`"),
    ("create or replace temp view v as select 1", "`CREATE`"),
    ("create function f as 'x' using jar '/x.jar'", "`CREATE`"),
    (
        "create connection c type postgresql options (host 'x')",
        "`CREATE`",
    ),
    ("drop table t", "`DROP`"),
    ("DROP TEMPORARY FUNCTION f", "`DROP`"),
    ("drop/**/table/**/t", "`DROP`"),
    ("truncate table t", "`TRUNCATE`"),
    ("alter table t add column a int", "`ALTER`"),
    ("alter table t rename to u", "`ALTER`"),
    ("comment on table t is 'x'", "`COMMENT`"),
    ("create or replace table t as select 1 as a", "`CREATE`"),
    ("create table t like u", "`CREATE`"),
    ("replace table t as select 1 as a", "`REPLACE`"),
    ("analyze table t compute statistics", "`ANALYZE`"),
    ("add jar '/x.jar'", "`ADD`"),
    ("load data inpath '/x' into table t", "`LOAD`"),
    ("copy into t from '/x'", "`COPY`"),
    ("grant select on t to x", "`GRANT`"),
    ("call system.x()", "`CALL`"),
    ("vacuum t", "`VACUUM`"),
    ("optimize t", "`OPTIMIZE`"),
    ("cache table x as select 1", "CACHE"),
    ("uncache table x", "UNCACHE"),
    ("refresh table t", "REFRESH"),
    ("use db", "USE"),
    ("set", "SET"),
    ("set spark.sql.ansi.enabled = false", "SET"),
    ("SET -v", "SET"),
    ("set var x = 1", "SET"),
    ("reset", "RESET"),
    ("declare x int = 1", "script"),
    ("begin select 1; drop table t; end", "script"),
    ("execute immediate 'drop table t'", "EXECUTE IMMEDIATE"),
    (
        "EXECUTE/**/IMMEDIATE concat('dr', 'op table t')",
        "EXECUTE IMMEDIATE",
    ),
    // Writes inside queries.
    ("with x as (select 1) insert into t select * from x", "INTO"),
    (
        "with x as (select 1)\ninsert\noverwrite table t select * from x",
        "OVERWRITE",
    ),
    ("with x as (select 1) delete from t", ""),
    (
        "WITH x AS (SELECT 1) DELETE FROM t WHERE a IN (SELECT * FROM x)",
        "",
    ),
    ("with x as (select 1) update t set a = 1", ""),
    (
        "with x as (select 1) merge into t using x on true when matched then delete",
        "INTO",
    ),
    (
        "with x as (insert into t values (1)) select * from x",
        "INTO",
    ),
    ("with x as (delete from t returning *) select * from x", ""),
    ("with x as (update t set a = 1) select * from x", ""),
    ("select * from (delete from t)", ""),
    ("(delete from t)", ""),
    (
        "from t insert into u select a insert into v select b",
        "INTO",
    ),
    ("from t insert overwrite table u select a", "OVERWRITE"),
    ("select 1 into t", "INTO"),
    ("select * into t from u", "INTO"),
    ("select * from t for update", ""),
    ("select * from t for share", ""),
    // Java, secrets, files and addresses by function.
    ("select reflect('java.lang.System', 'getenv')", "`reflect`"),
    (
        "select `reflect`('java.lang.System', 'getenv')",
        "`reflect`",
    ),
    ("select ReFlEcT /* x */ ('a', 'b')", "`reflect`"),
    ("select system.builtin.reflect('a', 'b')", "`reflect`"),
    (
        "select `system`.`builtin` . `REFLECT` ('a', 'b')",
        "`reflect`",
    ),
    ("select \"reflect\"('a', 'b')", "`reflect`"),
    ("select java_method('a', 'b')", "`java_method`"),
    ("select try_reflect('a', 'b')", "`try_reflect`"),
    (
        "select 1 where 1 = (select max(reflect('a', 'b')))",
        "`reflect`",
    ),
    ("explain select reflect('a', 'b')", "`reflect`"),
    ("describe query select reflect('a', 'b')", "`reflect`"),
    ("select identifier('reflect')('a', 'b')", "`reflect`"),
    (
        "select identifier('system.builtin.reflect')('a', 'b')",
        "`reflect`",
    ),
    ("select identifier('ref' || 'lect')('a', 'b')", "IDENTIFIER"),
    ("select identifier('ref' 'lect')('a', 'b')", "IDENTIFIER"),
    ("select identifier('\\162eflect')('a', 'b')", "IDENTIFIER"),
    ("select * from identifier(:t)", "IDENTIFIER"),
    ("select * from identifier(concat('a', 'b'))", "IDENTIFIER"),
    (
        "select * from identifier('text.`/etc/passwd`')",
        "IDENTIFIER",
    ),
    ("select * from identifier('text.readme')", "text."),
    ("select secret('a', 'b')", "`secret`"),
    ("select try_secret('a', 'b')", "`try_secret`"),
    ("select * from read_files('s3://x')", "`read_files`"),
    (
        "select * from read_kafka(bootstrapServers => 'x')",
        "`read_kafka`",
    ),
    (
        "select http_request(conn => 'x', method => 'GET', path => '/')",
        "`http_request`",
    ),
    (
        "select * from remote_query('c', query => 'drop table t')",
        "`remote_query`",
    ),
    ("select ai_query('m', a) from t", "`ai_query`"),
    ("select AI_GEN(a) from t", "`ai_gen`"),
    ("select * from cloud_files('/x', 'json')", "`cloud_files`"),
    (
        "select * from cloud_files_state('/x')",
        "`cloud_files_state`",
    ),
    // Files read as tables.
    ("select * from parquet.`/x`", "a file"),
    ("select * from text.`/etc/passwd`", "a file"),
    ("select * from TEXT . `/etc/passwd`", "a file"),
    ("select * from text/**/./**/`file:/etc/passwd`", "a file"),
    ("select * from `text`.`/etc/passwd`", "a file"),
    ("select * from \"text\".\"/etc/passwd\"", "a file"),
    (
        "select * from json.`http://169.254.169.254/latest`",
        "a file",
    ),
    ("select * from csv.`s3a://bucket/x`", "a file"),
    (
        "select * from delta.`abfss://c@a.dfs.core.windows.net/t`",
        "a file",
    ),
    ("select * from orc.`*`", "a file"),
    ("select * from avro.`a/b`", "a file"),
    ("select * from binaryFile.`../x`", "a file"),
    ("select * from iceberg.`hdfs:/x`", "a file"),
    (
        "select * from `org.apache.spark.sql.execution.datasources.text`.`/x`",
        "a file",
    ),
    ("select * from `com.example.source`.x", ""),
    ("select * from unknown.`/x`", "a file"),
    ("select * from text.readme", "text."),
    ("select * from t, csv.secrets", "csv."),
    ("select * from t join json.secrets on true", "json."),
    (
        "select (select max(value) from text.`/etc/passwd`)",
        "a file",
    ),
    (
        "select * from t where a in (select value from text.readme)",
        "text.",
    ),
    (
        "with x as (select * from text.`/etc/passwd`) select * from x",
        "a file",
    ),
    (
        "select 1 union all select * from text.`/etc/passwd`",
        "a file",
    ),
    ("select 1 union all (table text.readme)", "text."),
    ("select * from (text.readme)", "text."),
    ("select * from f(table(text.readme))", "text."),
    ("select * from f(table => table text.readme)", "text."),
    ("table text.`/etc/passwd`", "a file"),
    ("table text.readme", "text."),
    ("from text.`/etc/passwd` select *", "a file"),
    ("describe text.`/etc/passwd`", "a file"),
    ("describe text.readme", "text."),
    ("describe history delta.`/x`", "a file"),
    ("describe detail '/x'", "DESCRIBE"),
    ("show partitions delta.`/x`", "a file"),
    ("explain select * from csv.`/x`", "a file"),
    // Programs.
    ("select transform(a) using 'cat' from t", "program"),
    (
        "SELECT TRANSFORM(a, b) USING 'echo pwned; cat' AS (c) FROM t",
        "program",
    ),
    (
        "select transform(a) row format delimited using \"cat\" from t",
        "program",
    ),
    ("from (from t map a using 'cat') x select *", "program"),
    ("map a using 'cat' from t", "program"),
    ("reduce a using 'cat' from t", "program"),
    (
        "select * from (select transform(a) using /* x */ r'cat' from t)",
        "program",
    ),
    // Text that Spark replaces before it reads.
    ("select '${env:HOME}'", "`${`"),
    ("select 1 /* ${x} */", "`${`"),
    ("select * from ${spark.x}", "`${`"),
    // Commands that are none of the known shapes.
    ("show", "incomplete SHOW"),
    ("show tables drop table t", "unknown SHOW"),
    ("show grants", "unknown SHOW"),
    ("show tables like", "incomplete SHOW"),
    ("describe", "incomplete DESCRIBE"),
    ("describe t; drop table t", "more than one"),
    ("describe query delete from t", ""),
    ("explain", "incomplete"),
    ("explain drop table t", "`DROP`"),
    ("explain insert into t values (1)", "INTO"),
    ("explain analyze select 1", "`ANALYZE`"),
    ("explain extended delete from t", "`DELETE`"),
    ("explain explain select 1", "`EXPLAIN`"),
    // Engines read these differently: one may run what another skips.
    ("-- \\\n/*\ndrop table t\n-- */ select 1", "comment line"),
    ("-- \\\rselect 1", "comment line"),
    (
        "/* /*+ */ drop table t -- */\n select 1",
        "inside a comment",
    ),
    ("select /*+ a('*/ , reflect(1), ') */ 1", "optimizer hint"),
    ("select /*+ a(`*/ , 1 `) */ 1", "optimizer hint"),
    ("select r'a\\', reflect('x', 'y'), '", "raw string"),
    ("/* /* */ select 1", "does not end"),
    ("select 1 /*", "does not end"),
    ("select 'a", "does not end"),
    ("select 'a\\'", "does not end"),
    ("select \"a", "does not end"),
    ("select `a", "does not end"),
    ("select N'a'", "before a string"),
    ("select q'[a]'", "before a string"),
    ("select $$a$$", "character `$`"),
    ("select 1 # a", "character `#`"),
    ("select @a", "character `@`"),
    ("select {fn now()}", "character `{`"),
    ("select 1 \\", "character `\\`"),
    ("ſelect 1", "U+017F"),
    (
        "with x as (select 1) ınsert into t select * from x",
        "U+0131",
    ),
    ("select 1\u{a0}+ 1", "U+00A0"),
    ("\u{feff}select 1", "U+FEFF"),
    ("select 1\u{2028}", "U+2028"),
    ("select 1\u{202e}", "U+202E"),
    ("select\u{c}1", "U+000C"),
    ("select 1\u{37e}", "U+037E"),
    ("select\0 1", "NUL"),
    ("select '\0'", "NUL"),
    // What does not parse.
    ("selec 1", "`SELEC`"),
    ("select a from", "does not parse"),
    ("select * form t", "does not parse"),
    ("select (1", "does not parse"),
    ("'select 1'", "does not begin"),
    ("hello", "`HELLO`"),
    ("(", ""),
    (")", ""),
];

#[test]
fn queries_are_relations() {
    let wrong: Vec<_> = QUERIES
        .iter()
        .map(|text| (text, classify(text)))
        .filter(|(_, verdict)| *verdict != Verdict::Reads(Read::Query))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(Read::Query.is_relation());
}

#[test]
fn show_describe_and_explain_are_commands() {
    for (text, read) in COMMANDS {
        assert_eq!(classify(text), Verdict::Reads(*read), "{text}");
        assert!(!read.is_relation());
    }
}

#[test]
fn everything_else_is_refused_with_its_reason() {
    let wrong: Vec<_> = REFUSED
        .iter()
        .map(|(text, reason)| (text, reason, classify(text)))
        .filter(|(_, reason, verdict)| !matches!(verdict, Verdict::Refused(refusal) if refusal.reason.contains(*reason) && !refusal.hint.is_empty()))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[rstest]
#[case("select 1;\nselect 2", 1, 9)]
#[case("select *\nfrom text.`/etc/passwd`", 2, 6)]
#[case("select 'ä',\n  reflect('a', 'b')", 2, 3)]
#[case("select *\nfrom t,\n  csv.secrets", 3, 3)]
#[case("/* ä\n */ drop table t", 2, 5)]
#[case("select a\nfrom t\nwhere a b", 3, 9)]
#[case("select 1\n  \0", 2, 3)]
fn a_refusal_says_where(#[case] text: &str, #[case] line: u32, #[case] column: u32) {
    let refusal = refusal(text);
    assert_eq!(
        (refusal.line, refusal.column),
        (Some(line), Some(column)),
        "{refusal:?}"
    );
}

#[test]
fn refusals_read_well() {
    let shown = |text: &str| {
        let Refusal { reason, hint, .. } = refusal(text);
        format!("{reason} | {hint}")
    };
    insta::assert_snapshot!(shown("drop table t"), @"`DROP` does not begin a statement that only reads | Use run_sql for statements that change something.");
    insta::assert_snapshot!(shown("select 1; select 2"), @"more than one statement | Pass one statement per call, without a `;` inside.");
    insta::assert_snapshot!(shown("select * from parquet.`/data/x`"), @r#"a file read as a table | Pass the file by the "files" argument: files={"orders": "orders.csv"}, and select from orders."#);
    insta::assert_snapshot!(shown("select * from delta.orders"), @r#"a name after `delta.`, which may be a file | Write the catalog before a schema of this name (catalog.schema.table), or pass a file by "files"."#);
    insta::assert_snapshot!(shown("select reflect('a', 'b')"), @"the function `reflect`, which runs any Java method | Use run_sql for statements that change something.");
    insta::assert_snapshot!(shown("select * form t"), @"a text that does not parse: found `form`, expected end of statement | Correct the text, or use run_sql if it is right.");
    insta::assert_snapshot!(shown("select '${env:HOME}'"), @r#"`${`, which Spark replaces by configuration and environment values | Pass values by the "params" argument."#);
    insta::assert_snapshot!(shown("set a = b"), @"SET, which shows or changes the session's configuration | Use run_sql for statements that change something.");
    insta::assert_snapshot!(shown("use db"), @"USE, which changes the session's current schema | Write the schema before the table: schema.table.");
}

#[test]
fn a_text_above_the_cap_is_refused_at_once() {
    let text = format!("select '{}'", "x".repeat(5_000_000));
    assert!(refusal(&text).reason.contains("5000009 bytes"));
}

#[test]
fn nesting_and_chains_neither_overflow_nor_pass() {
    for n in [100, 10_000, 100_000] {
        for text in [
            format!("select {}1{}", "(".repeat(n), ")".repeat(n)),
            format!("select {}", "(".repeat(n)),
            "(".repeat(n),
            format!("select {}1{}", "f(".repeat(n), ")".repeat(n)),
            format!(
                "select 1 from {}t{}",
                "(select 1 from ".repeat(n),
                ")".repeat(n)
            ),
            format!("select {}1{}", "[".repeat(n), "]".repeat(n)),
            format!("select {}1", "case when ".repeat(n)),
            format!("select {}1", "not ".repeat(n)),
            format!("select {}1", "- ".repeat(n)),
            "/*".repeat(n),
            format!(
                "select cast(1 as {}int{})",
                "array<".repeat(n),
                ">".repeat(n)
            ),
            format!("{}select 1", "explain ".repeat(n)),
            "from ".repeat(n),
            "table . ".repeat(n),
            format!("select {}", "from (((( a . ".repeat(n)),
            format!("select {}", "a . ".repeat(n)),
            format!("select {}", "'' ".repeat(n)),
            format!("select {}", "{ ".repeat(n)),
        ] {
            refusal(&text);
        }
    }
    for n in [20_000, 50_000] {
        for link in [
            "+ 1",
            " or a",
            " union select 1",
            "[1]",
            "::int",
            ".a",
            " is null",
            "|> where 1 ",
        ] {
            refusal(&format!("from t select a{}", link.repeat(n)));
        }
    }
}

#[test]
fn long_lists_pass() {
    let list = vec!["-1.5"; 40_000].join(", ");
    assert_eq!(
        classify(&format!("select * from t where a in ({list})")),
        Verdict::Reads(Read::Query)
    );
    let ors = vec!["a = 1"; 1_500].join(" or ");
    assert_eq!(
        classify(&format!("select * from t where {ors}")),
        Verdict::Reads(Read::Query)
    );
}

/// Puts `between` before, after and between the tokens of a text, and swaps the case of its bare words.
fn disguised(text: &str, between: &[String], cases: &[bool]) -> Option<String> {
    let tokens = lex(text).ok()?.tokens;
    let mut out = String::new();
    let mut cases = cases.iter().cycle();
    let mut between = between.iter().cycle();
    for token in tokens {
        out.push_str(between.next().map_or(" ", String::as_str));
        if token.kind == super::super::lex::Kind::Word {
            for char in token.raw.chars() {
                let upper = cases.next().copied().unwrap_or(false);
                out.push(if upper {
                    char.to_ascii_uppercase()
                } else {
                    char.to_ascii_lowercase()
                });
            }
        } else {
            out.push_str(token.raw);
        }
    }
    out.push_str(between.next().map_or(" ", String::as_str));
    Some(out)
}

fn separator() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        " ",
        "\n",
        "\t",
        "\r\n",
        "/**/",
        "/* x */",
        "/* /* x */ */",
        "-- x\n",
        "--\r\n",
        "/* ' */",
        "-- ' \" `\n",
        "/* ; */",
        " /* select 1 */ ",
    ])
    .prop_map(str::to_owned)
}

proptest! {
    #[test]
    fn comments_spaces_and_case_never_open_a_refused_text(
        index in 0..REFUSED.len(),
        between in prop::collection::vec(separator(), 1..8),
        cases in prop::collection::vec(any::<bool>(), 1..16),
    ) {
        let (text, _) = REFUSED[index];
        // A refusal for what stands in a comment goes with the comment.
        if let Some(text) = disguised(text, &between, &cases).filter(|_| !text.contains("/* ${")) {
            prop_assert!(matches!(classify(&text), Verdict::Refused(_)), "{text}");
        }
    }

    #[test]
    fn comments_spaces_and_case_never_close_a_read(
        index in 0..COMMANDS.len(),
        between in prop::collection::vec(separator(), 1..8),
        cases in prop::collection::vec(any::<bool>(), 1..16),
    ) {
        let (text, read) = COMMANDS[index];
        let text = disguised(text, &between, &cases).unwrap();
        prop_assert_eq!(classify(&text), Verdict::Reads(read), "{}", text);
    }

    #[test]
    fn a_second_statement_is_refused_behind_any_read(
        index in 0..QUERIES.len(),
        other in prop::sample::select(vec!["drop table t", "select 1", "delete from t"]),
    ) {
        let text = format!("{}\n;{other}", QUERIES[index]);
        prop_assert!(matches!(classify(&text), Verdict::Refused(_)), "{text}");
    }

    #[test]
    fn any_text_gets_a_verdict(text in "\\PC{0,200}") {
        classify(&text);
    }

    #[test]
    fn no_soup_of_sql_with_a_write_in_it_passes(
        words in prop::collection::vec(prop::sample::select(vec![
            "select", "from", "with", "as", "(", ")", ",", "t", "*", "insert", "into", "delete", "drop", "table", ";",
            "values", "union", "/*", "*/", "--", "\n", "'", "\"", "`", "r'", "\\", "/*+", "update", "set", "where", "1", ".",
        ]), 0..40),
    ) {
        let text = words.join(" ");
        if let Verdict::Reads(_) = classify(&text) {
            let tokens = lex(&text).unwrap().tokens;
            let writes = tokens
                .iter()
                .any(|token| token.is("INTO"));
            prop_assert!(!writes, "{text}");
        }
    }

    #[test]
    fn the_mask_keeps_every_place(text in "\\PC{0,80}|[-'\"`/*\\\\ra\n ]{0,40}") {
        if let Ok(lexed) = lex(&text) {
            prop_assert_eq!(lexed.masked.chars().count(), text.chars().count());
            prop_assert_eq!(lexed.masked.matches('\n').count(), text.matches('\n').count());
        }
    }
}
