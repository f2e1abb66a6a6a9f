use std::time::Duration;

use super::{Dict, Metrics};
use crate::abi::MetricType;

/// What is counted of a plugin's callouts, for Prometheus: `resty_wasm_callout_milliseconds`, a histogram, and
/// `resty_wasm_callout_errors`, a counter. Their labels are in their names, as Istio has them.
#[derive(Default)]
pub struct CalloutMetrics(Metrics);

impl CalloutMetrics {
    /// Counts a callout of `plugin` that took `duration`. `kind` is `http`, `grpc` or `stream`; `failure` is in few words, or a
    /// gRPC status.
    pub fn count(&mut self, dict: &dyn Dict, plugin: &str, kind: &str, duration: Duration, failure: Option<&str>) {
        let labels = format!("plugin=.={plugin};.;kind=.={kind};.;");
        let name = format!("{labels}resty_wasm_callout_milliseconds");
        let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        self.add(dict, MetricType::Histogram, &name, milliseconds);
        if let Some(failure) = failure {
            let name = format!("{labels}reason=.={failure};.;resty_wasm_callout_errors");
            self.add(dict, MetricType::Counter, &name, 1);
        }
    }

    /// A metric that the dict has no room for is not counted: those of the plugins say so.
    fn add(&mut self, dict: &dyn Dict, kind: MetricType, name: &str, value: u64) {
        if let Ok(id) = self.0.define(dict, kind, name.as_bytes()) {
            let _ = self.0.record(dict, id, value);
        }
    }
}
