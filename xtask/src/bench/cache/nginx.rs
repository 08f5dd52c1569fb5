//! nginx with the cache as static files: what others are compared with.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use gradient_test_support::deployment::{Process, wait};

use super::server::Server;
use crate::bench::http::Connection;
use crate::prerequisites;
use crate::test::postgres::free_port;

const START_LIMIT: Duration = Duration::from_secs(20);

/// Whether nginx keeps the files that it has sent open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OpenFiles {
    /// As it is by default: each request opens its file.
    Closed,
    Cached,
}

/// A running nginx with a folder of files.
pub(super) struct Nginx {
    process: Process,
    port: u16,
}

impl Nginx {
    /// Serves the files below `root`, with what it writes itself in `folder`, which is made.
    pub(super) fn start(root: &Path, folder: &Path, open_files: OpenFiles) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let port = free_port()?;
        let configuration = folder.join("nginx.conf");
        fs::write(&configuration, configure(root, folder, port, open_files))?;
        // Debian has it where only root looks.
        let program = ["/usr/sbin/nginx", "nginx"].into_iter().find(|program| Path::new(program).is_file()).unwrap_or("nginx");
        let mut command = Command::new(program);
        command.arg("-e").arg(folder.join("error.log")).arg("-p").arg(folder).arg("-c").arg(&configuration);
        let mut process = Process::spawn("nginx", &mut command, &folder.join("output"))?;
        wait::until("nginx to listen", START_LIMIT, || {
            process.expect_running()?;
            anyhow::Ok(Connection::open(&format!("127.0.0.1:{port}")).ok().map(drop))
        })
        .with_context(|| fs::read_to_string(folder.join("error.log")).unwrap_or_default())?;
        Ok(Self { process, port })
    }

    pub(super) fn server(&self, name: &str) -> Result<Server> {
        Server::at(name, &format!("http://127.0.0.1:{}", self.port), None)
    }

    pub(super) fn stop(mut self) -> Result<()> {
        self.process.stop(START_LIMIT)?;
        Ok(())
    }
}

/// Two workers, sendfile, no access log, and all else as it is by default.
fn configure(root: &Path, folder: &Path, port: u16, open_files: OpenFiles) -> String {
    let mut text = String::new();
    if prerequisites::is_root() {
        // The files are for whoever measures only.
        text.push_str("user root;\n");
    }
    let (root, folder) = (root.display(), folder.display());
    let _ = write!(
        text,
        "daemon off;\nworker_processes 2;\npid {folder}/pid;\nevents {{}}\nhttp {{\n  access_log off;\n  sendfile on;\n  \
         types {{ text/x-nix-narinfo narinfo; application/x-nix-nar zst; }}\n"
    );
    for temporary in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        let _ = writeln!(text, "  {temporary}_temp_path {folder}/{temporary};");
    }
    if open_files == OpenFiles::Cached {
        text.push_str("  open_file_cache max=10000;\n");
    }
    let _ = write!(text, "  server {{ listen 127.0.0.1:{port}; root {root}; }}\n}}\n");
    text
}

/// Makes the files that a server has: its cache information, the narinfos and the NARs.
pub(super) fn copy_files(server: &Server, hashes: &[String], root: &Path) -> Result<()> {
    fs::create_dir_all(root)?;
    let mut connection = server.connect()?;
    fs::write(root.join("nix-cache-info"), server.get(&mut connection, "/nix-cache-info")?)?;
    for hash in hashes {
        let narinfo = server.narinfo(&mut connection, hash)?;
        fs::write(root.join(format!("{hash}.narinfo")), &narinfo.text)?;
        let file = root.join(narinfo.nar.trim_start_matches('/'));
        fs::create_dir_all(file.parent().unwrap_or(root))?;
        fs::write(file, server.get(&mut connection, &narinfo.nar)?)?;
    }
    Ok(())
}
