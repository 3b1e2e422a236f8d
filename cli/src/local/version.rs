//! `muster version`.

use muster_proto::v1;
use serde_json::{Value, json};

use crate::{
    context::Context,
    error::Error,
    format::{
        flag::{self, Format},
        lines::Lines,
        object,
    },
};

pub const CLIENT: &str = env!("CARGO_PKG_VERSION");

/// Show the versions of this program and of the daemon
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  muster version
  muster version --format '{{.Server.Version}}'")]
pub struct Args {
    /// json or a template; see --help
    #[arg(long, value_name = "FORMAT", default_value = "table", long_help = flag::HELP)]
    pub format: Format,
}

/// Without a daemon the client's half is shown all the same, then the reason why that is all.
pub async fn run(args: Args, context: &mut Context<'_>) -> Result<(), Error> {
    let server = ask(context).await;
    let view = view(server.as_ref().ok());
    match &args.format {
        Format::Json => context.out.line(object::compact(view))?,
        Format::Template(template) => context.out.line(object::rendered(template, &view)?)?,
        Format::Table => context.out.bytes(people(server.as_ref().ok()).as_bytes())?,
        Format::TableOf(_) => return Err(flag::no_table("version")),
    }
    server.map(drop)
}

async fn ask(context: &Context<'_>) -> Result<v1::InfoResponse, Error> {
    Ok(context.connect().await?.local().info(v1::InfoRequest { state_digest: false }).await?.into_inner())
}

fn view(server: Option<&v1::InfoResponse>) -> Value {
    json!({
        "Client": {"Version": CLIENT, "Os": std::env::consts::OS, "Arch": std::env::consts::ARCH},
        "Server": server.map(|server| json!({
            "Version": server.version,
            "Engine": server.engine,
            "EngineVersion": server.engine_version,
        })),
    })
}

fn people(server: Option<&v1::InfoResponse>) -> String {
    let mut lines = Lines::new();
    lines.heading("Client").under("Version", CLIENT);
    lines.under("OS/Arch", format_args!("{}/{}", std::env::consts::OS, std::env::consts::ARCH));
    if let Some(server) = server {
        lines.heading("Server").under("Version", &server.version);
        lines.under("Engine", format_args!("{} {}", server.engine, server.engine_version));
    }
    lines.text()
}
