//! Ends a server whose starter dies without a word, as a test does that is killed, or a `static` that is never dropped.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;

/// A shell that waits for the end of its input, which the death of this process is as well; then it runs its script and
/// removes the server's directory. The same happens when it is dropped.
#[derive(Debug)]
pub(crate) struct Guardian(Child);

impl Guardian {
    /// `script` ends what is left; `$0` is the directory.
    pub(crate) fn start(script: &str, directory: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("cat > /dev/null\n{script}\nrm -rf \"$0\"")).arg(directory);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // A Ctrl-C is for whoever started the server.
        command.process_group(0).spawn().map(Self).context("sh does not start")
    }

    /// Returns when everything is ended and removed.
    pub(crate) fn finish(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        self.finish();
    }
}
