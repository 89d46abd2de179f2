//! The face to assistants: the only place with `rmcp` types.
