//! Wiring: config → platforms → lease → service → mcp; the order of shutdown.
