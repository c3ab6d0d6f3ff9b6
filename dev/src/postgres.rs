//! A real PostgreSQL for tests and for people, without containers: the programs that the machine has, on a data directory
//! of their own below a temporary directory, on a free port. It fails with one line that names what to install where
//! there is none: nothing is skipped. Everything is fsynced, as in production.

mod processes;
mod programs;
mod sessions;

use std::fs::File;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use self::programs::{Account, Programs};
pub use self::sessions::{SessionProbe, Sessions};
use crate::guardian::Guardian;

/// Longest that the server may take to start, also after it was killed.
const START: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(10);
/// Tries to find a free port: another program may take it between the look and the start.
const ATTEMPTS: usize = 3;
/// The administrator, who is nobody that Annals may run as.
const ADMINISTRATOR: &str = "postgres";
/// Members of this role are asked for their password; all others are trusted.
const ASKED: &str = "asked_for_password";

/// A server of its own, gone when dropped, or with the process that started it.
#[derive(Debug)]
pub struct Server {
    programs: Programs,
    directory: PathBuf,
    port: u16,
    process: Option<Child>,
    /// Ends the server and removes its directory when its input ends: also when this process is killed.
    guardian: Guardian,
    names: AtomicU32,
}

/// A database of its own on a server, and the ordinary role that owns it.
#[derive(Clone, Debug)]
pub struct Database {
    /// Its name, which is its owner's as well.
    pub name: String,
    /// Where its owner finds it.
    pub url: String,
}

/// One server for all tests of a program; each takes a database of its own.
pub fn shared() -> anyhow::Result<&'static Server> {
    static SHARED: OnceLock<Result<Server, String>> = OnceLock::new();
    let started = SHARED.get_or_init(|| Server::start().map_err(|error| format!("{error:#}")));
    started.as_ref().map_err(|error| anyhow::anyhow!("{error}"))
}

impl Server {
    /// Starts a server, and returns when it serves.
    pub fn start() -> anyhow::Result<Self> {
        let programs = Programs::find()?;
        let mut attempt = 1;
        loop {
            match Self::try_start(&programs) {
                Err(error) if attempt == ATTEMPTS => return Err(error),
                Err(_) => attempt += 1,
                started => return started,
            }
        }
    }

    fn try_start(programs: &Programs) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("annals-postgres-").tempdir()?.keep();
        let guardian = Guardian::start(END, &directory)?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let (programs, names) = (programs.clone(), AtomicU32::new(0));
        let mut server = Self { programs, directory, port, process: None, guardian, names };
        server.make_data_directory()?;
        server.spawn()?;
        server.sql(ADMINISTRATOR, &format!("CREATE ROLE {ASKED} NOLOGIN"))?;
        Ok(server)
    }

    /// Where a role finds a database.
    pub fn url(&self, database: &str, role: &str) -> String {
        format!("postgres://{role}@127.0.0.1:{}/{database}", self.port)
    }

    /// The port that it listens on, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Makes a database and an ordinary role that owns it, under a name that is nobody else's.
    pub fn fresh_database(&self) -> anyhow::Result<Database> {
        let name = format!("annals_{}", self.names.fetch_add(1, Ordering::Relaxed));
        self.create_role(&name, "")?;
        self.create_database(&name, &name)?;
        Ok(Database { url: self.url(&name, &name), name })
    }

    /// Makes a role that may log in; `attributes` as in `CREATE ROLE`: `SUPERUSER`, `BYPASSRLS`, …
    pub fn create_role(&self, name: &str, attributes: &str) -> anyhow::Result<()> {
        self.sql(ADMINISTRATOR, &format!("CREATE ROLE {name} LOGIN {attributes}")).map(drop)
    }

    /// Makes a role that is asked for its password.
    pub fn create_role_with_password(&self, name: &str, password: &str) -> anyhow::Result<()> {
        self.create_role(name, &format!("PASSWORD '{password}' IN ROLE {ASKED}"))
    }

    /// Makes a database that belongs to a role. Nobody else may connect.
    pub fn create_database(&self, name: &str, owner: &str) -> anyhow::Result<()> {
        self.sql(ADMINISTRATOR, &format!("CREATE DATABASE {name} OWNER {owner}"))?;
        self.sql(ADMINISTRATOR, &format!("REVOKE CONNECT ON DATABASE {name} FROM PUBLIC")).map(drop)
    }

    /// Runs statements as the administrator; what they print.
    pub fn sql(&self, database: &str, statements: &str) -> anyhow::Result<String> {
        let mut command = Command::new(self.programs.path("psql"));
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", ADMINISTRATOR, "-d", database]);
        command.arg("-h").arg(&self.directory).arg("-p").arg(self.port.to_string()).arg("-c").arg(statements);
        run(&mut command)
    }

    /// Looks at the sessions of a role, also while the server is stopped.
    pub fn session_probe(&self, role: &str) -> SessionProbe {
        SessionProbe { pid_file: self.data().join("postmaster.pid"), port: self.port, role: role.to_owned() }
    }

    /// Stops the server and every session of it where they are (SIGSTOP).
    pub fn pause(&self) -> anyhow::Result<()> {
        processes::pause(self.pid()?)
    }

    /// Lets a paused server go on.
    pub fn resume(&self) -> anyhow::Result<()> {
        processes::resume(self.pid()?)
    }

    /// SIGKILL for the server and every session of it.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        let pid = self.pid()?;
        let mut process = self.process.take().context("the server is not running")?;
        processes::kill_all(pid)?;
        process.wait()?;
        Ok(())
    }

    /// Starts a killed server again on its own files and port, and returns when it serves.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        ensure!(self.process.is_none(), "the server is running");
        self.spawn()
    }

    fn make_data_directory(&self) -> anyhow::Result<()> {
        if let Some(account) = &self.programs.account {
            chown(&self.directory, Some(account.uid), Some(account.gid))?;
        }
        let mut command = self.command("initdb");
        command.arg("-D").arg(self.data()).args(["-U", ADMINISTRATOR, "-A", "trust", "-E", "UTF8", "--no-locale"]);
        run(&mut command)?;
        let rules = format!(
            "local all all trust\nhost all +{ASKED} 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n"
        );
        Ok(std::fs::write(self.data().join("pg_hba.conf"), rules)?)
    }

    fn spawn(&mut self) -> anyhow::Result<()> {
        let output = File::create(self.output())?;
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data()).arg("-k").arg(&self.directory).args(["-h", "127.0.0.1"]);
        command.arg("-p").arg(self.port.to_string());
        for setting in ["max_connections=300", "shared_buffers=64MB", "log_min_messages=warning"] {
            command.args(["-c", setting]);
        }
        command.stdout(output.try_clone()?).stderr(output);
        self.process = Some(command.spawn().context("postgres does not start")?);
        self.wait_until_ready()
    }

    fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START;
        while self.sql(ADMINISTRATOR, "SELECT 1").is_err() {
            let process = self.process.as_mut().context("the server is not running")?;
            let output = std::fs::read_to_string(self.directory.join("output"))?;
            if let Some(status) = process.try_wait()? {
                bail!("postgres ended with {status}:\n{output}");
            }
            ensure!(Instant::now() < deadline, "postgres did not start within {START:?}:\n{output}");
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// One of its programs, as the account that the server runs as: postgres refuses to be root's.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.path(program));
        if let Some(Account { uid, gid }) = self.programs.account {
            command.uid(uid).gid(gid);
        }
        // A group of its own: an interrupt from the keyboard is for the tests, which end it themselves.
        command.current_dir(&self.directory).stdin(Stdio::null()).process_group(0);
        command
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    fn output(&self) -> PathBuf {
        self.directory.join("output")
    }

    fn pid(&self) -> anyhow::Result<u32> {
        Ok(self.process.as_ref().context("the server is not running")?.id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Gone already, maybe. SIGKILL ends a paused one as well.
        let _ = self.kill();
        self.guardian.finish();
    }
}

/// Ends a server that is left.
const END: &str = r#"
    pid=$(head -n 1 "$0/data/postmaster.pid" 2> /dev/null)
    if [ -n "$pid" ] && [ "$(cat "/proc/$pid/comm" 2> /dev/null)" = postgres ]; then
        kill -QUIT "$pid"; kill -CONT "$pid"
        while [ -e "/proc/$pid" ] && [ -e "$0/data/postmaster.pid" ]; do sleep 0.05; done
    fi"#;

fn run(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("{} does not start", command.get_program().display()))?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{} ended with {}:\n{text}{errors}",
        command.get_program().display(),
        output.status
    );
    Ok(text)
}

#[cfg(test)]
mod tests;
