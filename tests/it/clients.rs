//! Clients that others wrote drive the built binary: the official Python SDK, and the Inspector's command-line mode.
//! Both speak either era of the protocol: `initialize` at 2025-11-25, and `server/discover` with calls that stand for
//! themselves at 2026-07-28.
//!
//! What they need is installed once under the target folder, by hash: a virtual environment with the SDK and with Node,
//! and the Inspector. So a machine needs Python 3.10 or later and, the first time, a network. The checks of the SDK
//! are in `tests/clients/sdk_client.py`.

mod inspector;
mod install;
mod reader;
mod sdk;
