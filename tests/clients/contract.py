"""What a tool's structured content may hold: the contract of the tools as closed JSON schemas."""

# The contract, closed: a field that is not here is a field that nobody promised.
COLUMN = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "type": {"type": "string"}},
    "required": ["name", "type"],
    "additionalProperties": False,
}
WRITTEN = {
    "type": "object",
    "properties": {
        "table": {"type": "string"},
        "rows": {"type": "integer", "minimum": 0},
        "mode": {"enum": ["error", "append", "overwrite", "merge"]},
        "format": {"type": "string"},
        "version": {"type": "integer", "minimum": 0},
        "location": {"type": "string"},
        "created": {"type": "boolean"},
    },
    "required": ["table", "rows", "mode", "format", "created"],
    "additionalProperties": False,
}
STATEMENT = {
    "type": "object",
    "properties": {
        "status": {"enum": ["queued", "running", "succeeded", "cancelled"]},
        "statement": {"type": "string", "pattern": "^st_"},
        "target": {"type": "string"},
        "session": {"type": "string"},
        "elapsed_s": {"type": "number", "minimum": 0},
        "columns": {"type": "array", "items": COLUMN},
        "row_count": {"type": "integer", "minimum": 0},
        "truncated": {"type": "boolean"},
        "text": {"type": "string"},
        "redactions": {"type": "integer", "minimum": 0},
        "warnings": {"type": "array", "items": {"type": "string"}},
        "written": WRITTEN,
        "next": {"type": "string"},
    },
    "required": ["status", "statement", "target", "elapsed_s"],
    "additionalProperties": False,
}
SESSION = {
    "type": "object",
    "properties": {
        "session": {"type": ["string", "null"]},
        "target": {"type": "string"},
        "state": {"enum": ["opening", "free", "busy", "closing", "closed", "lost"]},
        "opened_s": {"type": "number", "minimum": 0},
        "idle_s": {"type": "number", "minimum": 0},
        "cost_s": {"type": "number", "minimum": 0},
        "statements": {"type": "integer", "minimum": 0},
        "reason": {"type": "string"},
    },
    "required": ["session", "target", "state", "opened_s", "idle_s", "cost_s", "statements"],
    "additionalProperties": False,
}
SESSIONS = {
    "type": "object",
    "properties": {"sessions": {"type": "array", "items": SESSION}, "next": {"type": "string"}},
    "required": ["sessions"],
    "additionalProperties": False,
}
TABLE = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "kind": {"enum": ["managed", "external", "view", "temp_view"]},
        "comment": {"type": "string"},
        "columns": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {**COLUMN["properties"], "comment": {"type": "string"}},
                "required": ["name", "type"],
                "additionalProperties": False,
            },
        },
        "rows": {"type": "integer", "minimum": 0},
        "bytes": {"type": "integer", "minimum": 0},
        "partitions": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["name", "kind"],
    "additionalProperties": False,
}
TABLES = {
    "type": "object",
    "properties": {
        "target": {"type": "string"},
        "tables": {"type": "array", "items": TABLE},
        "databases": {"type": "object", "additionalProperties": {"type": "integer", "minimum": 0}},
        "total": {"type": "integer", "minimum": 0},
        "age_s": {"type": "number", "minimum": 0},
        "next": {"type": "string"},
    },
    "required": ["target", "tables", "total", "age_s"],
    "additionalProperties": False,
}
FAILURE = {
    "type": "object",
    "properties": {
        "code": {"type": "string", "pattern": "^[a-z_]+$"},
        "message": {"type": "string", "minLength": 1},
        "hint": {"type": "string", "minLength": 1},
        "retryable": {"type": "boolean"},
        "retry_after_s": {"type": "integer", "minimum": 0},
        "error_id": {"type": "string", "minLength": 1},
        "statement": {"type": "string", "pattern": "^st_"},
        "details": {
            "type": "object",
            "properties": {
                "error_class": {"type": "string"},
                "sqlstate": {"type": "string"},
                "line": {"type": "integer"},
                "column": {"type": "integer"},
                "traceback": {"type": "string"},
            },
            "additionalProperties": False,
        },
    },
    "required": ["code", "message", "hint", "retryable", "error_id"],
    "additionalProperties": False,
}
