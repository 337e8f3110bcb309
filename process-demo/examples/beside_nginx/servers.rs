//! Which servers are compared, and how is each configured?

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;
use std::{env, fs, io};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};

use crate::{MEMORY, TEXT, WORKERS, locked_version};

/// A running server; it is stopped when this is dropped.
pub struct Server {
    pub name: String,
    /// What speaks HTTP, and its version.
    pub engine: String,
    pub address: SocketAddr,
    /// Whether it answers from memory too.
    pub has_memory: bool,
    /// As a reader could start it again.
    pub configuration: String,
    process: Child,
}

/// A server, or a sentence on why there is none.
pub type Started = Result<std::result::Result<Server, String>>;

impl Server {
    /// Our own, of one of its models.
    pub fn ours(model: &str, root: &Path) -> Result<Server> {
        let program = own_server()?;
        let mut command = Command::new(&program);
        command.args(["--quiet", "--listen", "127.0.0.1:0", "--model", model]);
        command.args(["--workers", &WORKERS.to_string(), "--root"]).arg(root);
        let mut process = spawn(command.stderr(Stdio::piped())).with_context(|| program.display().to_string())?;
        let mut said = String::new();
        BufReader::new(process.stderr.as_mut().context("its standard error")?).read_line(&mut said)?;
        let address = said.split_whitespace().find_map(|word| word.trim_end_matches([',', '.', ';']).parse().ok());
        Ok(Server {
            name: model.to_owned(),
            engine: format!("hyper {}", locked_version("hyper")),
            has_memory: true,
            address: address.with_context(|| format!("the server did not say where it listens: {said}"))?,
            configuration: format!("web_server --quiet --model {model} --workers {WORKERS}"),
            process,
        })
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.process.id().cast_signed())
    }

    /// What its answer says before the text, which must be the right one.
    pub fn head(&self, name: &str, text: &str) -> Result<String> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.write_all(format!("GET /{name} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("an answer without an end of its head")?;
        ensure!(body == text, "{} answered {body:?}", self.name);
        Ok(head.to_owned())
    }

    /// Waits until it answers; a foreign program says by nothing else that it is ready.
    fn started(mut self) -> Started {
        for _ in 0..TRIES {
            if TcpStream::connect(self.address).is_ok() {
                return Ok(Ok(self));
            }
            if let Some(status) = self.process.try_wait()? {
                return Ok(Err(format!("{} is left out: it ended at once ({status})", self.name)));
            }
            sleep(Duration::from_millis(10));
        }
        bail!("{} does not answer", self.name)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = kill(self.pid(), Signal::SIGTERM); // Not waited for yet, so the number is still its own.
        let _ = self.process.wait();
    }
}

const TRIES: u32 = 500; // Of 10 ms each.

const NGINX: [(&str, &str); 3] = [
    ("nginx", "sendfile off;"), // Faster on a file that is so small: one system call sends head and text.
    ("nginx (sendfile)", "sendfile on;"), // As Debian has it: the file is sent by the kernel.
    // With files kept open for a second; ours are opened for each request.
    ("nginx (file cache)", "sendfile off; open_file_cache max=1000; open_file_cache_valid 1s;"),
];
const APACHE: [(&str, &str); 2] = [
    ("worker", ""),
    // Enough children for all connections from the first moment: by itself it starts one per second at first.
    ("prefork", "StartServers 32\nMinSpareServers 32\nMaxSpareServers 64\n"),
];

/// All that are not our own.
pub fn others(place: &Path, root: &Path) -> impl Iterator<Item = Started> {
    let nginx = NGINX.into_iter().map(move |(name, files)| start_nginx(name, files, place, root));
    nginx.chain(APACHE.into_iter().map(move |(mpm, more)| start_apache(mpm, more, place, root)))
}

fn start_nginx(name: &str, files: &str, place: &Path, root: &Path) -> Started {
    let Some(program) = find(&["nginx"]) else {
        return Ok(Err("nginx is left out: it is not installed (package nginx-light)".to_owned()));
    };
    let (address, own) = (free_address()?, private_place(place, name)?);
    let user = if Uid::effective().is_root() { "user nobody nogroup;" } else { "" };
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|what| format!("  {what}_temp_path {};\n", own.join(what).display()))
        .concat();
    let configuration = format!(
        "daemon off; {user}\nworker_processes {WORKERS};\npid {};\nerror_log {} crit;\n\
         events {{ worker_connections 8192; }}\nhttp {{\n  access_log off; {files} keepalive_requests \
         1000000000;\n  types {{ text/plain txt; }}\n  etag off; max_ranges 0; server_tokens off;\n{temporary}  \
         server {{ listen {address}; root {}; location = /{MEMORY} {{ return 200 {TEXT:?}; }} }}\n}}\n",
        own.join("pid").display(),
        own.join("log").display(),
        root.display(),
    );
    let file = own.join("nginx.conf");
    fs::write(&file, &configuration)?;
    let engine = version(&program)?;
    let mut command = Command::new(program);
    command.arg("-e").arg(own.join("log")).arg("-c").arg(&file);
    let process = spawn(command.stderr(Stdio::null()))?;
    Server { name: name.to_owned(), engine, address, has_memory: name == "nginx", configuration, process }.started()
}

fn start_apache(mpm: &str, more: &str, place: &Path, root: &Path) -> Started {
    let name = format!("Apache {mpm}");
    let modules = ["/usr/lib/apache2/modules", "/usr/lib64/httpd/modules", "/usr/lib/httpd/modules"];
    let modules = modules.into_iter().find(|folder| Path::new(folder).join(format!("mod_mpm_{mpm}.so")).exists());
    let (Some(program), Some(modules)) = (find(&["apache2", "httpd"]), modules) else {
        return Ok(Err(format!("{name} is left out: it is not installed (package apache2-bin)")));
    };
    let (address, own) = (free_address()?, private_place(place, &name)?);
    let user = if Uid::effective().is_root() { "User nobody\nGroup nogroup\n" } else { "" };
    let (own_path, root) = (own.display(), root.display());
    let configuration = format!(
        "ServerRoot {own_path}\nDefaultRuntimeDir {own_path}\nPidFile {own_path}/pid\nErrorLog {own_path}/log\nLogLevel \
         crit\nServerName localhost\nListen {address}\n{user}\
         LoadModule mpm_{mpm}_module {modules}/mod_mpm_{mpm}.so\n\
         LoadModule authz_core_module {modules}/mod_authz_core.so\nLoadModule mime_module {modules}/mod_mime.so\n\
         TypesConfig /dev/null\nAddType text/plain .txt\n{more}KeepAlive On\nMaxKeepAliveRequests 0\nKeepAliveTimeout 75\n\
         FileETag None\nMaxRanges none\nServerTokens Prod\nDocumentRoot {root}\n\
         <Directory {root}>\nRequire all granted\nAllowOverride None\n</Directory>\n",
    );
    let file = own.join("apache.conf");
    fs::write(&file, &configuration)?;
    let engine = version(&program)?;
    let mut command = Command::new(program);
    command.arg("-DFOREGROUND").arg("-f").arg(&file);
    let process = spawn(command.stderr(Stdio::null()))?;
    Server { name, engine, address, has_memory: false, configuration, process }.started()
}

/// `nginx 1.22.1`, `Apache 2.4.62`: of what the programs say for `-v`, on whichever stream.
fn version(program: &Path) -> Result<String> {
    let said = Command::new(program).arg("-v").output()?;
    let said = String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned();
    let named = said.split_whitespace().find(|word| word.starts_with("nginx/") || word.starts_with("Apache/"));
    Ok(named.unwrap_or("?").replace('/', " "))
}

/// As root, the others' workers run as nobody.
pub fn nobody_may_read(directories: &[&Path]) -> Result<()> {
    for directory in directories {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

fn private_place(place: &Path, name: &str) -> Result<PathBuf> {
    let own = place.join(name.replace(' ', "-").replace(['(', ')'], ""));
    fs::create_dir(&own)?;
    nobody_may_read(&[&own])?;
    Ok(own)
}

/// One that nobody listens on now; whoever takes it in between is told of by the server that cannot have it.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

fn find(names: &[&str]) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from); // Not in every user's path.
    let folders: Vec<PathBuf> = env::split_paths(&path).chain(usual).collect();
    names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name))).find(|program| program.is_file())
}

/// The example `web_server`, built anew if cargo runs this, so that it is never an old one.
fn own_server() -> Result<PathBuf> {
    let folder = env::current_exe()?.parent().context("this program's folder")?.to_owned();
    if let Some(cargo) = env::var_os("CARGO") {
        let mut command = Command::new(cargo);
        command.args(["build", "--quiet", "--package", "process-demo", "--example", "web_server"]);
        if !cfg!(debug_assertions) {
            command.arg("--release");
        }
        ensure!(command.status()?.success(), "the example web_server could not be built");
    }
    Ok(folder.join("web_server"))
}

/// In a process group of its own, for Apache ends by a signal to its whole group; yet it stops when this program ends.
fn spawn(command: &mut Command) -> io::Result<Child> {
    // SAFETY: between fork and exec the closure makes one system call, which is async-signal-safe.
    unsafe { command.process_group(0).pre_exec(|| Ok(set_pdeathsig(Signal::SIGTERM)?)) }.spawn()
}
