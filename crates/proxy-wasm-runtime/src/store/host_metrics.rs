use std::time::Duration;

use super::{Dict, Metrics};
use crate::{
    abi::MetricType,
    error::TrapKind,
    vm::{Health, Status},
};

/// What the host counts itself, for Prometheus. Labels are in names, as Istio has them.
///
/// Counters are those of a virtual machine, added to what others of the same plugin have counted. Gauges are those of a process.
pub(crate) struct HostMetrics(Metrics);

impl Default for HostMetrics {
    fn default() -> Self {
        Self(Metrics::of_host())
    }
}

impl HostMetrics {
    /// Counts callbacks that were called: `resty_wasm_calls_total`.
    pub fn calls(&mut self, dict: &dyn Dict, plugin: &str, count: u64) {
        self.add(dict, MetricType::Counter, &[("plugin", plugin)], "resty_wasm_calls_total", count);
    }

    /// Counts a trap: `resty_wasm_traps_total`.
    pub fn trap(&mut self, dict: &dyn Dict, plugin: &str, kind: TrapKind) {
        let labels = [("plugin", plugin), ("kind", kind.name())];
        self.add(dict, MetricType::Counter, &labels, "resty_wasm_traps_total", 1);
    }

    /// Counts a virtual machine that was built anew: `resty_wasm_rebuilds_total`.
    pub fn rebuild(&mut self, dict: &dyn Dict, plugin: &str) {
        self.add(dict, MetricType::Counter, &[("plugin", plugin)], "resty_wasm_rebuilds_total", 1);
    }

    /// Counts a callout that took `duration`: `resty_wasm_callout_milliseconds`, a histogram, and
    /// `resty_wasm_callout_errors_total`. `kind` is `http`, `grpc` or `stream`; `failure` is one of a few words, or a gRPC status.
    pub fn callout(&mut self, dict: &dyn Dict, plugin: &str, kind: &str, duration: Duration, failure: Option<&str>) {
        let labels = [("plugin", plugin), ("kind", kind)];
        let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        self.add(dict, MetricType::Histogram, &labels, "resty_wasm_callout_milliseconds", milliseconds);
        if let Some(failure) = failure {
            let labels = [labels[0], labels[1], ("reason", failure)];
            self.add(dict, MetricType::Counter, &labels, "resty_wasm_callout_errors_total", 1);
        }
    }

    /// Sets what a plugin has in a worker process: `resty_wasm_running`, 0 or 1, and others.
    fn gauges(&mut self, dict: &dyn Dict, plugin: &str, worker: &str, gauges: &Gauges) {
        let labels = [("plugin", plugin), ("worker", worker)];
        for (name, value) in [
            ("resty_wasm_running", gauges.running.into()),
            ("resty_wasm_memory_bytes", gauges.memory as u64),
            ("resty_wasm_plugin_contexts", gauges.plugin_contexts as u64),
            ("resty_wasm_stream_contexts", gauges.stream_contexts as u64),
            ("resty_wasm_callouts", gauges.callouts as u64),
        ] {
            self.add(dict, MetricType::Gauge, &labels, name, value);
        }
    }

    /// A metric that the dict has no room for is not counted: those of the plugins say so.
    fn add(&mut self, dict: &dyn Dict, kind: MetricType, labels: &[(&str, &str)], name: &str, value: u64) {
        let labels: String = labels.iter().map(|(name, value)| format!("{name}=.={value};.;")).collect();
        if let Ok(id) = self.0.define(dict, kind, (labels + name).as_bytes()) {
            let _ = self.0.record(dict, id, value);
        }
    }
}

/// Publishes how the plugins of a worker process fare, for Prometheus.
#[derive(Default)]
pub struct StatusMetrics {
    metrics: HostMetrics,
    /// The plugins of the last time.
    published: Vec<String>,
}

/// What all plugins of one name have in a process.
struct Gauges {
    running: bool,
    memory: usize,
    plugin_contexts: usize,
    stream_contexts: usize,
    callouts: usize,
}

impl StatusMetrics {
    /// Publishes gauges. The worker that takes the place of another has its number.
    pub fn publish(&mut self, dict: &dyn Dict, worker: u32, statuses: &[Status]) {
        let worker = worker.to_string();
        let mut names: Vec<String> = statuses.iter().map(|status| status.name.to_string()).collect();
        names.sort_unstable();
        names.dedup();
        for name in names.iter().chain(self.published.iter().filter(|name| !names.contains(name))) {
            let gauges = Gauges::new(statuses.iter().filter(|status| *status.name == **name));
            self.metrics.gauges(dict, name, &worker, &gauges);
        }
        self.published = names;
    }
}

impl Gauges {
    fn new<'a>(statuses: impl Iterator<Item = &'a Status>) -> Self {
        let mut statuses = statuses.peekable();
        let running = statuses.peek().is_some();
        let none = Self { running, memory: 0, plugin_contexts: 0, stream_contexts: 0, callouts: 0 };
        statuses.fold(none, |sum, status| Self {
            running: sum.running && status.health == Health::Running,
            memory: sum.memory + status.memory,
            plugin_contexts: sum.plugin_contexts + status.plugin_contexts,
            stream_contexts: sum.stream_contexts + status.stream_contexts,
            callouts: sum.callouts + status.callouts,
        })
    }
}
