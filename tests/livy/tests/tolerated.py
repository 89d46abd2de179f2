"""Every difference between the recorded answers and ours that the replay accepts, and why.

Texts that are normalised on both sides before they are compared, cases in which only the form of the error is
compared, and statements that are replaced because their means do not exist on Spark Connect.
"""

import re

# (name of the field or "", pattern, what it becomes, why)
TEXTS = [
    ("", r"\n\tat (?s:.*)", "<java>", "a Java stack: there is no JVM"),
    (
        "",
        r"HttpInputOverHTTP\); line: \d+, column: \d+",
        "HttpInputOverHTTP)",
        "the place in the body: the recorder's spaces in JSON are not ours",
    ),
    ("", r"0x[0-9a-f]+", "0x", "the address of an object"),
    ("text/plain", r"\('\d+\.\d+\.\d+', '3\..*\]'\)", "<versions>", "versions of Spark and Python"),
    ("name", r"^database$", "namespace", "SHOW TABLES on Sail has another column name"),
    ("date", r".*", "<date>", "when the server was built"),
    # Sail and Spark spell the list of a traceback's frames differently: their own frames are not compared.
    ("traceback", r'  File "[^<](?s:.*)', "", "frames of Spark's own files"),
    ("traceback", r"(?:org|java|scala|com|jdk)\..*", "", "Java frames of `kind: sql`"),
    ("traceback", r"\s*[\^~]+\s*\n", "", "carets under a line: they depend on Python's version"),
]

# Case to why its error text is Sail's and not Spark's: compared is that both are errors with the same keys.
ERRORS_OF_SPARK = {
    "pyspark: spark.sql('select * from nope')": "Sail's words, Spark Connect's class",
    "pyspark: spark.sql('selec 1')": "Sail's words, Spark Connect's class",
    "pyspark: spark.sparkContext.parallelize(range(4), 2)": "no RDDs on Spark Connect",
    "sql: SELECT * FROM nope": "Sail's words",
    "sql: SELEC 1": "Sail's words",
    "sql: SELECT 1; SELECT 2": "Sail's words",
    "spark job": "the error of a job that was interrupted: no Py4J",
    "spark sql": "the error of a job that was interrupted: no Py4J",
    "spark.stop: next statements": "a stopped session of Spark Connect has another error",
}

# What is not there at all.
LEFT_OUT = {
    "spark kind in a pyspark session": "no Scala: InterpreterError, Fail to start interpreter",
}

# Code to code with the same meaning.
SUBSTITUTES = {
    "spark.sparkContext.parallelize(range(4), 4).map(lambda i: __import__('time').sleep(20)).collect()": (
        "spark.range(10**12).selectExpr('sum(id % 5)').collect()"
    ),
}

# Sail says of these columns that they may be null, Spark knows that they may not; and the other way round.
NULLABLE = "schema of `kind: sql`: the flags nullable, containsNull and valueContainsNull are the engine's"
ORDER = "a poll may miss states that are over quickly: only the last recorded one must be reached"


def text(field, value):
    for name, pattern, becomes, _why in TEXTS:
        if name in ("", field):
            value = re.sub(pattern, becomes, value)
    return value


def case_in(case, table):
    return any(case == name or (case.startswith(name) and ":" in name) for name in table)
