//! Statuses, retries, credentials and transport failures, against a server of a few lines.
