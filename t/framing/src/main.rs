//! Checks that plugins can't break what nginx promises about messages: a client and an upstream, with nginx and the library between
//! them, that look at every byte while random scripts run.
//!
//! ```text
//! framing [--requests N] [--seconds N] [--start SEED] [--lanes N] [--port N] [--seed SEED | CASE-FILE…] [--shrink] [--findings N]
//!     [--without-plugin] [--except TEXT]… [--lib FOLDER] [-- NGINX…]
//! ```
//!
//! Cases follow from the seed `--start`, until `--requests` requests were sent (2000) or `--seconds` are over. `--seed` runs one case again, a file one that is
//! written down. Each lane is an nginx with a client and an upstream of its own. It stops after `--findings` findings (1); `--shrink`
//! leaves out of a case what is not needed for its finding; `--without-plugin` calls none, so that every finding is one of nginx or
//! of these checks; `--except` passes over findings with a text, as long as their cause is not cured. Runs in the project's folder, after `make build guests`.

#![forbid(unsafe_code)]

mod case;
mod client;
mod effects;
mod generate;
mod http2;
mod message;
mod nginx;
mod random;
mod upstream;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use case::Case;
use client::{Client, Counts};
use nginx::Nginx;
use random::Random;
use upstream::Board;

/// So many ports are for HTTP/1, as many behind them for HTTP/2.
const MOST_PORTS: u16 = 32;
/// After so many requests a worker has all that it keeps for good.
const WARM: u64 = 20_000;
/// What a collector of garbage and the allocator leave comes and goes; in kB.
const MOST_GROWTH: u64 = 48 * 1024;

#[derive(Clone)]
struct Options {
    requests: u64,
    seconds: u64,
    start: u64,
    lanes: u16,
    port: u16,
    seeds: Vec<u64>,
    files: Vec<PathBuf>,
    shrink: bool,
    without_plugin: bool,
    excepted: Vec<String>,
    findings: usize,
    lib: PathBuf,
    nginx: Vec<String>,
}

fn options() -> Result<Options, String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let mut options = Options {
        requests: u64::MAX,
        seconds: u64::MAX,
        start: now,
        lanes: 2,
        port: 19100,
        seeds: Vec::new(),
        files: Vec::new(),
        shrink: false,
        without_plugin: false,
        excepted: Vec::new(),
        findings: 1,
        lib: "lib".into(),
        nginx: vec!["nginx".into()],
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || {
            let value = arguments.next().unwrap_or_default();
            value.parse::<u64>().map_err(|_| format!("{argument} takes a number, not `{value}`"))
        };
        match argument.as_str() {
            "--requests" => options.requests = number()?,
            "--seconds" => options.seconds = number()?,
            "--lib" => options.lib = arguments.next().unwrap_or_default().into(),
            "--start" => options.start = number()?,
            "--lanes" => options.lanes = number()?.clamp(1, 16) as u16,
            "--port" => options.port = number()? as u16,
            "--seed" => options.seeds.push(number()?),
            "--findings" => options.findings = number()? as usize,
            "--shrink" => options.shrink = true,
            "--except" => options.excepted.extend(arguments.next()),
            "--without-plugin" => options.without_plugin = true,
            "--" => options.nginx = arguments.by_ref().collect(),
            file if !file.starts_with('-') => options.files.push(file.into()),
            _ => return Err(format!("unknown option {argument}")),
        }
    }
    if options.requests == u64::MAX && options.seconds == u64::MAX {
        options.requests = 2000;
    }
    Ok(options)
}

/// One nginx with a client and an upstream.
struct Lane {
    nginx: Nginx,
    client: Client,
    board: Board,
}

impl Lane {
    fn start(options: &Options, number: u16) -> Result<Self, String> {
        let project = std::env::current_dir().map_err(|error| error.to_string())?;
        let root = project.join(format!("target/framing/{}", options.port + number));
        let board = Board::default();
        let upstream = upstream::start(Board::clone(&board)).map_err(|error| format!("no upstream: {error}"))?;
        let port = options.port + number;
        let lib = project.join(&options.lib);
        let http2_port = port + MOST_PORTS;
        let nginx = Nginx::start(&project, &lib, &root, (port, http2_port), upstream, &options.nginx)?;
        let client = Client::new(port, http2_port, upstream, Board::clone(&board));
        let client = client.map_err(|error| format!("no client: {error}"))?;
        Ok(Self { nginx, client, board })
    }

    /// A finding is told with all that is known of it.
    fn run(&mut self, case: &Case, first_id: u64) -> Result<(), Box<Finding>> {
        self.nginx.forget_lines();
        let outcome = self.client.run(case, first_id);
        if outcome.is_err() {
            // Of a worker that has died the master tells when it has noticed.
            std::thread::sleep(Duration::from_millis(300));
        }
        let mut whys: Vec<String> = outcome.err().into_iter().collect();
        let mut board = self.board.lock().unwrap();
        whys.append(&mut board.faults);
        whys.extend(self.nginx.alarms().into_iter().map(|line| format!("the error log: {line}")));
        if whys.is_empty() {
            return Ok(());
        }
        let transcript = board.transcript.iter().map(|text| format!("    {text}\n")).collect::<String>();
        let details = format!("{transcript}    the error log's last lines\n{}", self.nginx.last_lines());
        Err(Box::new(Finding { why: whys.join("\n    "), case: case.clone(), details }))
    }
}

struct Finding {
    why: String,
    case: Case,
    details: String,
}

/// Leaves out what the finding does not need, with an nginx of its own for each try.
fn shrink(options: &Options, number: u16, finding: Box<Finding>) -> Box<Finding> {
    let mut best = finding;
    let mut place = 0;
    loop {
        let case = &best.case;
        let (phases, script, exchanges) = (case.phases.len(), case.script.len(), case.exchanges.len());
        let mut smaller = case.clone();
        match place {
            p if p < exchanges => drop(smaller.exchanges.remove(p)),
            p if p < exchanges + script => drop(smaller.script.remove(p - exchanges)),
            p if p < exchanges + script + phases => drop(smaller.phases.remove(p - exchanges - script)),
            _ => return best,
        }
        let outcome = Lane::start(options, number).map(|mut lane| lane.run(&smaller, 7_000_000));
        match outcome {
            Ok(Err(found)) if !smaller.exchanges.is_empty() => best = found,
            _ => place += 1,
        }
    }
}

/// The seed of a case of a run.
fn seed_of(start: u64, number: u64) -> u64 {
    Random::new(start ^ number.wrapping_mul(0x2545_f491_4f6c_dd1d)).next() >> 16
}

struct Run {
    options: Options,
    next: AtomicU64,
    sent: AtomicU64,
    begun: Instant,
    findings: AtomicUsize,
    counts: Mutex<Counts>,
    memory: Mutex<Vec<(u64, u64)>>,
}

impl Run {
    /// The next case, with the seed that makes it or the file that has it.
    fn next_case(&self) -> Result<Option<(String, Case)>, String> {
        let number = self.next.fetch_add(1, Relaxed);
        let given = self.options.seeds.len() + self.options.files.len();
        if given > 0 {
            let index = number as usize;
            if let Some(&seed) = self.options.seeds.get(index) {
                return Ok(Some((format!("--seed {seed}"), generate::case(seed))));
            }
            let Some(path) = self.options.files.get(index - self.options.seeds.len()) else { return Ok(None) };
            let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
            return Ok(Some((path.display().to_string(), text.parse()?)));
        }
        if self.sent.load(Relaxed) >= self.options.requests || self.begun.elapsed().as_secs() >= self.options.seconds {
            return Ok(None);
        }
        let seed = seed_of(self.options.start, number);
        let mut case = generate::case(seed);
        if self.options.without_plugin {
            case.phases = vec!["log".into()];
            case.script.clear();
        }
        Ok(Some((format!("--seed {seed}"), case)))
    }

    /// Another nginx, in the place of one that may be broken.
    fn start_again(&self, mut lane: Lane, number: u16) -> Result<Lane, String> {
        let counts = std::mem::take(&mut lane.client.counts);
        drop(lane);
        let mut lane = Lane::start(&self.options, number)?;
        lane.client.counts = counts;
        Ok(lane)
    }

    fn lane(&self, number: u16) -> Result<(), String> {
        let mut lane = Lane::start(&self.options, number)?;
        let mut first_id = u64::from(number + 1) * 1_000_000_000;
        let mut warm = None;
        while self.findings.load(Relaxed) < self.options.findings {
            let Some((name, case)) = self.next_case()? else { break };
            first_id += 10_000;
            let before = lane.client.counts.requests;
            let outcome = lane.run(&case, first_id);
            let sent = self.sent.fetch_add(lane.client.counts.requests - before, Relaxed);
            if warm.is_none() && sent > WARM {
                warm = Some(lane.nginx.worker_memory());
            }
            if let Err(finding) = outcome {
                if self.options.excepted.iter().any(|text| finding.why.contains(text)) {
                    lane = self.start_again(lane, number)?;
                    continue;
                }
                if self.findings.fetch_add(1, Relaxed) >= self.options.findings {
                    break;
                }
                lane = self.start_again(lane, number)?;
                warm = None;
                let finding = if self.options.shrink { shrink(&self.options, number + 16, finding) } else { finding };
                println!("FINDING {name}: {}\n{}\n{}", finding.why, indented(&finding.case), finding.details);
            }
        }
        if let Some(warm) = warm {
            self.memory.lock().unwrap().push((warm, lane.nginx.worker_memory()));
        }
        let Lane { nginx, client, .. } = lane;
        let mut counts = self.counts.lock().unwrap();
        counts.cases += client.counts.cases;
        counts.requests += client.counts.requests;
        counts.exact += client.counts.exact;
        drop(client);
        nginx.stop().map_or(Ok(()), Err)
    }
}

fn indented(case: &Case) -> String {
    case.to_string().lines().map(|line| format!("    {line}\n")).collect()
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::FAILURE;
        }
    };
    let lanes = options.lanes;
    let run = Run {
        options,
        next: AtomicU64::new(0),
        sent: AtomicU64::new(0),
        begun: Instant::now(),
        findings: AtomicUsize::new(0),
        counts: Mutex::default(),
        memory: Mutex::default(),
    };
    let problems: Vec<String> = std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..lanes)
            .map(|number| {
                scope.spawn({
                    let run = &run;
                    move || run.lane(number)
                })
            })
            .collect();
        lanes
            .into_iter()
            .filter_map(|lane| lane.join().unwrap_or_else(|_| Err("a lane panicked".into())).err())
            .collect()
    });
    let counts = run.counts.lock().unwrap();
    println!(
        "{} cases, {} requests, {} of them answered exactly as known, in {:.0} s; --start {}",
        counts.cases,
        counts.requests,
        counts.exact,
        run.begun.elapsed().as_secs_f64(),
        run.options.start
    );
    let mut is_fine = run.findings.load(Relaxed) == 0 && problems.is_empty() && counts.requests > 0;
    for problem in problems {
        println!("FAILED: {problem}");
    }
    for (warm, last) in run.memory.lock().unwrap().iter() {
        println!("resident memory of a worker: {warm} kB after {WARM} requests, {last} kB at the end");
        if *last > warm + MOST_GROWTH {
            println!("FAILED: it grows");
            is_fine = false;
        }
    }
    if is_fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
