//! Leases: an owner's exclusive right to a session until it expires; nothing but a lease can run code.
