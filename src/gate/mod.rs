//! THE EXIT: every byte to a client passes here: redact, limit, render.
