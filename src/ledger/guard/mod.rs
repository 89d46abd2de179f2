//! Who is alive, and who cleans up after the dead: owners' locks, the guardian process, and the server's side of it.

pub(crate) mod guardian;
pub(crate) mod owner;
pub(crate) mod told;
pub(crate) mod trial;
pub(crate) mod watch;
