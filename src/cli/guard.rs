//! `sparklease guard`: the guardian's process. A server starts it; people have no use for it.

use std::io::Write as _;
use std::process::ExitCode;

use super::Context;
use crate::app::remotes;
use crate::ledger::Owner;
use crate::ledger::guard::guardian::{self, Duty};
use crate::ledger::guard::told;
use crate::model::{Code, Error, Result};

/// Arguments of `guard`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// The id of the process to watch over, as its lock is named.
    #[arg(long)]
    owner: String,
    /// Its process id.
    #[arg(long)]
    parent: u32,
    /// A place where it has sessions, by its fingerprint; each must be in the configuration.
    #[arg(long = "place", value_name = "FINGERPRINT")]
    places: Vec<String>,
    /// The first line of stdin holds secret settings.
    #[arg(long)]
    told: bool,
}

/// Waits, sweeps, ends. stdout has one line: READY, or why not.
pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode> {
    let ended = watch(args, context).await;
    if let Err(error) = &ended {
        // Whoever started us tells the user; if nobody reads any more, nobody wants to know.
        let _ = writeln!(std::io::stdout(), "{}", guardian::failed_line(error));
    }
    ended
}

async fn watch(args: Args, context: &Context) -> Result<ExitCode> {
    let Some(owner) = Owner::parse(&args.owner) else {
        return Err(Error::new(
            Code::InvalidArgument,
            format!("{:?} is no owner's id", args.owner),
        )
        .hint("This command is for sparklease itself; run `sparklease sweep` to delete what dead servers left."));
    };
    let environment = if args.told {
        let told = told::listen().await?;
        context.environment.with(
            told.into_iter()
                .map(|(name, value)| (name.into(), value.into())),
        )
    } else {
        context.environment.clone()
    };
    let loaded = crate::config::load(&environment, &context.flags)?;
    let sweeper = remotes::sweeper(&loaded, &context.secrets)?;
    let duty = Duty {
        owner,
        parent: args.parent,
        places: args.places,
    };
    let report = guardian::run(duty, &sweeper, &mut std::io::stdout()).await?;
    Ok(if report.is_clean() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
