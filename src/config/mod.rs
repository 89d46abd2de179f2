//! Typed settings with units and defaults, and where each value came from.
