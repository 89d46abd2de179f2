//! The stdio transport: one client, whose end of file is the end of its sessions.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rmcp::ServiceExt;
use rmcp::transport::{StdioReader, StdioWriter, stdio_pipes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;

use super::Server;
use super::lines::Lines;

/// After the end of input, for calls under way: `printf … | sparklease mcp` gets its answers. The Python SDK kills
/// a server 2 s after it closed the input, and sessions must be gone before.
const DRAIN_FOR: Duration = Duration::from_millis(700);
/// From reading a request to the beginning of its call: microseconds, and room for a busy machine.
const HAND_OVER_FOR: Duration = Duration::from_millis(50);
/// Nothing is asked of a client that closed its input, but an answer that hangs must not hold the sessions.
const STOP_FOR: Duration = Duration::from_millis(300);

/// This process's own input and output.
pub(crate) fn stdio() -> (StdioReader, StdioWriter) {
    stdio_pipes()
}

/// Serves one client until its input ends, `stop` is cancelled, or the transport fails.
///
/// Returns when no further answer will be written; the client's statements are then being cancelled and its sessions
/// closed.
pub(crate) async fn serve_stdio<R, W>(server: Server, input: R, output: W, stop: CancellationToken)
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    let ended = CancellationToken::new();
    let input = Lines::new(Watched {
        input,
        ended: ended.clone(),
    });
    let calls = server.calls();
    let (service, owner) = (server.service.clone(), server.owner.clone());
    let running = tokio::select! {
        running = server.serve((input, output)) => match running {
            Ok(running) => running,
            Err(e) => {
                tracing::info!(error = %e, "the client left before it said hello");
                return;
            }
        },
        () = stop.cancelled() => return,
    };
    let cancel = running.cancellation_token();
    let mut waiting = tokio::spawn(running.waiting());
    tokio::select! {
        // The transport failed.
        _ = &mut waiting => {
            service.owner_gone(&owner);
            return;
        }
        () = ended.cancelled() => {
            tracing::info!("the client closed its input");
            // A request that was read last is not a call yet: rmcp hands it over in a task of its own.
            tokio::time::sleep(HAND_OVER_FOR).await;
            let _ = tokio::time::timeout(DRAIN_FOR, calls.idle()).await;
        }
        () = stop.cancelled() => {}
    }
    cancel.cancel();
    let _ = tokio::time::timeout(STOP_FOR, waiting).await;
    service.owner_gone(&owner);
}

/// Input whose end is noticed at once: rmcp tells of it only after a drain of 5 s.
struct Watched<R> {
    input: R,
    ended: CancellationToken,
}

impl<R: AsyncRead + Unpin> AsyncRead for Watched<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.input).poll_read(context, buffer);
        let over = match &read {
            Poll::Ready(Ok(())) => buffer.filled().len() == before && buffer.remaining() > 0,
            Poll::Ready(Err(_)) => true,
            Poll::Pending => false,
        };
        if over {
            self.ended.cancel();
        }
        read
    }
}
