//! nginx with the library, and what it says.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

pub const STATIC_BODY: &str = "0123456789 a static file\n";
pub const RETURNED: &str = "returned\n";
pub const SAID: &str = "one\ntwo\nthree\n";

/// The last lines of the error log, and those that none may have.
#[derive(Default)]
pub struct Log {
    pub last: VecDeque<String>,
    pub alarms: Vec<String>,
}

pub struct Nginx {
    process: Child,
    pub log: Arc<Mutex<Log>>,
    reader: Option<JoinHandle<()>>,
}

impl Nginx {
    /// `lib` is the folder with the library's Lua modules, `ports` are for HTTP/1 and HTTP/2, `command` is what runs nginx.
    pub fn start(
        project: &Path,
        lib: &Path,
        root: &Path,
        ports: (u16, u16),
        upstream: u16,
        command: &[String],
    ) -> Result<Self, String> {
        let failure = |error: std::io::Error| format!("{}: {error}", root.display());
        fs::create_dir_all(root.join("html")).map_err(failure)?;
        fs::create_dir_all(root.join("logs")).map_err(failure)?;
        fs::write(root.join("html/static.txt"), STATIC_BODY).map_err(failure)?;
        let configuration = root.join("nginx.conf");
        fs::write(&configuration, configuration_text(project, lib, root, ports, upstream)).map_err(failure)?;
        let mut process = Command::new(&command[0])
            .args(&command[1..])
            .arg("-p")
            .arg(root)
            .arg("-c")
            .arg(&configuration)
            .current_dir(project)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{}: {error}", command[0]))?;
        let stderr = BufReader::new(process.stderr.take().expect("it is piped"));
        let log = Arc::new(Mutex::new(Log::default()));
        let reader = Some(thread::spawn({
            let log = Arc::clone(&log);
            move || watch(stderr, &log)
        }));
        let mut nginx = Self { process, log, reader };
        let from = Instant::now();
        while TcpStream::connect(("127.0.0.1", ports.0)).is_err() {
            if nginx.process.try_wait().map_err(failure)?.is_some() || from.elapsed() > Duration::from_secs(120) {
                return Err(format!("nginx does not start:\n{}", nginx.last_lines()));
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(nginx)
    }

    pub fn last_lines(&self) -> String {
        self.log.lock().unwrap().last.iter().map(|line| format!("      {line}\n")).collect()
    }

    /// Lines of the error log since the last call that mean that something is broken.
    pub fn alarms(&self) -> Vec<String> {
        std::mem::take(&mut self.log.lock().unwrap().alarms)
    }

    pub fn forget_lines(&self) {
        self.log.lock().unwrap().last.clear();
    }

    /// Resident memory of the worker, in kB; 0 when there is none.
    pub fn worker_memory(&self) -> u64 {
        let master = self.process.id();
        let children = fs::read_to_string(format!("/proc/{master}/task/{master}/children")).unwrap_or_default();
        let Some(worker) = children.split_whitespace().next() else { return 0 };
        let status = fs::read_to_string(format!("/proc/{worker}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
    }

    /// Ends it gracefully. Returns what is wrong with its end.
    pub fn stop(mut self) -> Option<String> {
        let _ = Command::new("kill").args(["-QUIT", &self.process.id().to_string()]).status();
        let from = Instant::now();
        let status: Option<ExitStatus> = loop {
            match self.process.try_wait() {
                Ok(Some(status)) => break Some(status),
                _ if from.elapsed() > Duration::from_secs(30) => break None,
                _ => thread::sleep(Duration::from_millis(10)),
            }
        };
        match status {
            Some(status) => {
                if let Some(reader) = self.reader.take() {
                    let _ = reader.join();
                }
                let alarms = self.alarms();
                (!status.success() || !alarms.is_empty()).then(|| format!("nginx ended with {status}: {alarms:?}"))
            }
            None => {
                let _ = self.process.kill();
                Some("nginx does not end".into())
            }
        }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        if let Ok(None) = self.process.try_wait() {
            let _ = Command::new("kill").args(["-TERM", &self.process.id().to_string()]).status();
            let _ = self.process.wait();
        }
    }
}

/// Keeps the last lines, and what no line may say.
fn watch(stderr: impl BufRead, log: &Mutex<Log>) {
    const KEPT: usize = 60;
    const ALARMS: &[&str] = &[
        "[alert]",
        "[emerg]",
        "[crit]",
        "panicked",
        "exited on signal",
        "AddressSanitizer",
        "lua entry thread aborted",
        "failed to run header_filter_by_lua",
        "failed to run body_filter_by_lua",
    ];
    // What scripts ask for: a panic of the guest, the end of a response that has begun.
    const MEANT: &[&str] = &["panicked at script/", "the plugin closes the stream", "the response is cut off"];
    for line in stderr.split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).into_owned();
        let mut log = log.lock().unwrap();
        if ALARMS.iter().any(|alarm| line.contains(alarm)) && !MEANT.iter().any(|text| line.contains(text)) {
            log.alarms.push(line.clone());
        }
        log.last.push_back(line);
        if log.last.len() > KEPT {
            log.last.pop_front();
        }
    }
}

/// Where ngx_lua is a module of its own.
fn modules() -> String {
    let about = Command::new("nginx").arg("-V").output().map(|output| output.stderr).unwrap_or_default();
    let about = String::from_utf8_lossy(&about).into_owned();
    if about.contains("ngx_lua") || about.contains("lua-nginx-module") {
        return String::new();
    }
    let folder = about.split("--modules-path=").nth(1).and_then(|rest| rest.split_whitespace().next());
    let folder = PathBuf::from(folder.unwrap_or("/usr/lib/nginx/modules"));
    ["ndk_http_module.so", "ngx_http_lua_module.so"]
        .iter()
        .map(|name| format!("load_module {};\n", folder.join(name).display()))
        .collect()
}

fn configuration_text(project: &Path, lib: &Path, root: &Path, ports: (u16, u16), upstream: u16) -> String {
    let (port, http2_port) = ports;
    let (project, lib, root) = (project.display(), lib.display(), root.display());
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|name| format!("    {name}_temp_path {root}/{name}_temp;\n"))
        .collect();
    // Responses of all locations pass the filters of the plugin, as its requests do the access phase.
    let plugin = "access_by_lua_block { framing.on_request() } header_filter_by_lua_block { framing.on_response_headers() } \
                  body_filter_by_lua_block { framing.on_response_body() }";
    let pass = "proxy_pass http://backend;";
    format!(
        r#"{modules}user root;
daemon off;
worker_processes 1;
error_log stderr warn;
pid {root}/nginx.pid;
events {{ worker_connections 512; }}
http {{
    access_log off;
    default_type text/plain;
    keepalive_requests 100000;
{temporary}
    lua_package_path "{lib}/?.lua;{project}/t/lib/?.lua;;";
    lua_shared_dict resty_wasm 4m;
    init_worker_by_lua_block {{ framing = require("framing") framing.start() }}
    upstream backend {{ server 127.0.0.1:{upstream}; keepalive 4; }}
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_next_upstream off;
    server {{
        listen 127.0.0.1:{port};
        listen 127.0.0.1:{http2_port} http2;
        client_max_body_size 30M;
        set $wasm_process_req_body "";
        set $wasm_process_resp_body "";
        set $x "";
        location = /install {{ content_by_lua_block {{ framing.install() }} }}
        location /bare/ {{ return 200 "bare\n"; }}
        location /plain/ {{ {pass} }}
        location /smuggled/ {{ return 299 "smuggled\n"; }}

        location /proxy/ {{ {plugin} {pass} }}
        location /unbuffered/ {{ {plugin} {pass} proxy_request_buffering off; proxy_buffering off; }}
        location /http10/ {{ {plugin} {pass} proxy_http_version 1.0; proxy_set_header Host $http_host; }}
        location /host/ {{ {plugin} {pass} proxy_set_header Host $http_host; proxy_set_header Connection ""; }}
        location /first/ {{ rewrite_by_lua_block {{ ngx.req.read_body() }} {plugin} {pass} client_body_buffer_size 1k; }}
        location /in-file/ {{ {plugin} {pass} client_body_in_file_only clean; }}
        location /upgrade/ {{ {plugin} {pass} proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $http_connection; }}
        location /exec/ {{
            access_by_lua_block {{ framing.on_request() return ngx.exec("@executed") }}
        }}
        location @executed {{
            header_filter_by_lua_block {{ framing.on_response_headers() }}
            body_filter_by_lua_block {{ framing.on_response_body() }}
            {pass}
        }}
        location /slice/ {{ slice 1000; {plugin} {pass} proxy_set_header Range $slice_range; }}
        location /auth/ {{ auth_request /auth-check; {plugin} {pass} }}
        location = /auth-check {{ internal; {pass} proxy_method GET; proxy_pass_request_body off; proxy_set_header Content-Length ""; }}
        location /mirror/ {{ mirror /mirrored; {plugin} {pass} }}
        location = /mirrored {{ internal; {pass} }}
        location /intercept/ {{ {plugin} {pass} proxy_intercept_errors on; error_page 404 500 /intercepted; }}
        location /gzip/ {{ gzip on; gzip_types *; gzip_min_length 1; {plugin} {pass} }}

        location /file/ {{ {plugin} root {root}/html; try_files /static.txt =404; }}
        location /return/ {{ {plugin} return 200 "{returned}"; }}
        location /lua/ {{
            {plugin}
            content_by_lua_block {{
                ngx.req.read_body()
                for _, line in ipairs({{"one\n", "two\n", "three\n"}}) do
                    if not ngx.print(line) then return end
                    ngx.flush(true)
                end
            }}
        }}
        location /discard/ {{
            {plugin}
            content_by_lua_block {{ ngx.req.discard_body() ngx.print("one\ntwo\nthree\n") }}
        }}
        location /missing/ {{ {plugin} root {root}/html; error_page 404 @missing; }}
        location @missing {{ {plugin} return 404 "{returned}"; }}
    }}
}}
"#,
        modules = modules(),
        returned = RETURNED.replace('\n', "\\n"),
    )
}
