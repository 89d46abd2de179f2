//! Use cases: query, execute, cancel, sessions; statements outlive the calls that started them.
