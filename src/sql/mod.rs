//! Pure: what a text does, and how identifiers are quoted.
