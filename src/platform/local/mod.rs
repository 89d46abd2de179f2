//! The local engine: one worker process for each session.
