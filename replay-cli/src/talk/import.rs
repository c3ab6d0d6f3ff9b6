//! `import ndjson`: a file, the server, and what is said of it before and behind.

use crate::cli::{Global, NdjsonArgs};
use crate::client::Client;
use crate::exit::Exit;
use crate::import::{self, ndjson};
use crate::output::Output;

/// `import ndjson`.
pub async fn ndjson(global: &Global, output: Output, args: &NdjsonArgs) -> anyhow::Result<Exit> {
    let mut commands = ndjson::Commands::open(&args.file, &args.series)?;
    let client = Client::find(global)?;
    let total = commands.total;
    import::run(&client, output, "import ndjson", Some(total), &mut commands, &[]).await
}
