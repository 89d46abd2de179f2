//! Client of the Spark Connect protocol: a plan in, a stream of events out.
