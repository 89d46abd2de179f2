//! The JSON schema of the settings, generated from their types: editors check the file with it.

use serde_json::Value;

use super::Settings;

/// The schema, in the settings' own order.
pub(crate) fn schema() -> Value {
    schemars::schema_for!(Settings).to_value()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/config.schema.json");

    #[test]
    fn the_schema_in_the_repository_is_the_generated_one() {
        let generated = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
        let written = std::fs::read_to_string(FILE).unwrap_or_default();
        assert!(
            written == generated,
            "examples/config.schema.json is stale; write it with: cargo run -- config schema > examples/config.schema.json"
        );
    }
}
