//! What is believed of a statement's answers.
