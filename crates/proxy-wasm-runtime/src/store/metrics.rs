use std::collections::{HashMap, HashSet};

use thiserror::Error;

use super::{
    Dict, DictError, owner_of, prometheus,
    quota::{OverQuota, Quota, entry_size},
    split_owner,
};
use crate::{
    abi::{MetricType, Status},
    context::Options,
};

/// The upper bounds of a histogram's buckets, those of Envoy; above the last there is one more.
pub const BUCKETS: [f64; 19] =
    [0.5, 1.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1e3, 2.5e3, 5e3, 1e4, 3e4, 6e4, 3e5, 6e5, 1.8e6, 3.6e6];
/// Where a histogram's sum is, behind its buckets.
const SUM: usize = BUCKETS.len() + 1;
/// The entry that counts the places in the list of all metrics.
const PLACES: &[u8] = b"metrics";
/// Stands before a place in the key of the entry that has the metric's name.
const NAME: &[u8] = b"name:";
/// Stands before a metric in the key of the entry that has its place.
const PLACE: &[u8] = b"place:";
/// Stands before a metric in the key of the entry that has its value.
const VALUE: &[u8] = b"value:";
/// How many metrics the plugins with one `vm_id` can define. A plugin that makes names from what clients send reaches it.
const MAX_METRICS: usize = 10_000;
/// How many ids one virtual machine can have: those stay whose metrics the dict has dropped.
const MAX_IDS: usize = 10 * MAX_METRICS;
/// The part of the dict for the metrics of one `vm_id`, unless `metric_limit` says another: a sixteenth.
const SHARE: usize = 16;
/// Whose metrics the host's own are: no `vm_id` is written so.
const HOST: &[u8] = b"host:";

/// The metrics that a virtual machine has defined: its ids begin at 1. They are shared by all with its `vm_id`, in all processes.
pub struct Metrics {
    defined: Vec<Metric>,
    /// By what [`describe`] makes of owner, type and name.
    ids: HashMap<Vec<u8>, u32>,
    /// What [`owner_of`] makes of the `vm_id`, or [`HOST`].
    owner: Vec<u8>,
    /// None limits the host.
    quotas: Option<Quotas>,
    /// A metric was refused: the id 0 is one that counts nothing.
    refused: bool,
}

/// What plugins with one `vm_id` may have.
struct Quotas {
    bytes: Quota,
    metrics: Quota,
}

struct Metric {
    kind: MetricType,
    /// Of the dict's entry; with a histogram, the last byte chooses one.
    key: Vec<u8>,
}

/// Why a metric was not defined or changed.
#[derive(Clone, Copy, Debug, Error)]
pub enum MetricError {
    /// The guest is told.
    #[error("{0:?}")]
    Status(Status),
    #[error(transparent)]
    Dict(#[from] DictError),
    #[error("there are {0} metrics, and may be no more")]
    TooMany(usize),
    #[error(transparent)]
    OverQuota(#[from] OverQuota),
    #[error("names that begin with resty_wasm_ are the host's own")]
    Reserved,
    /// Nothing is counted.
    #[error("the metric was not defined")]
    Refused,
}

impl MetricError {
    /// Whether the plugin wants what it may not have.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::TooMany(_) | Self::OverQuota(_) | Self::Reserved)
    }
}

impl Metrics {
    /// Those of a plugin.
    pub fn new(options: &Options) -> Self {
        let owner = owner_of(&options.vm_id);
        let name = |counted: &[u8]| [counted, &owner].concat();
        let quotas = Quotas {
            bytes: Quota::new("metric_limit", &name(b"metric-bytes:"), options.metric_limit, SHARE),
            metrics: Quota::new("the host", &name(b"metrics:"), Some(MAX_METRICS), SHARE),
        };
        Self { quotas: Some(quotas), ..Self::of(owner) }
    }

    /// Those that the host counts itself.
    pub fn of_host() -> Self {
        Self::of(HOST.to_vec())
    }

    fn of(owner: Vec<u8>) -> Self {
        Self { owner, defined: Vec::new(), ids: HashMap::new(), quotas: None, refused: false }
    }

    /// The id of the metric with this type and name, in this virtual machine. The id of one that is refused is 0.
    pub fn define(&mut self, dict: &dyn Dict, kind: MetricType, name: &[u8]) -> Result<u32, MetricError> {
        let described = describe(&self.owner, kind, name);
        if let Some(id) = self.ids.get(&described) {
            return Ok(*id);
        }
        let defined = self.define_anew(dict, kind, name, described);
        self.refused |= defined.is_err();
        defined
    }

    fn define_anew(
        &mut self,
        dict: &dyn Dict,
        kind: MetricType,
        name: &[u8],
        described: Vec<u8>,
    ) -> Result<u32, MetricError> {
        if self.defined.len() >= MAX_IDS {
            return Err(MetricError::TooMany(MAX_IDS));
        }
        if self.quotas.is_some() && prometheus::is_reserved(name) {
            return Err(MetricError::Reserved);
        }
        if !is_published(dict, &described) {
            self.publish(dict, &described)?;
        }
        let key = key(&described);
        if kind != MetricType::Histogram {
            dict.incr(&key, 0.0, 0.0)?;
        }
        self.defined.push(Metric { kind, key });
        let id = self.defined.len() as u32;
        self.ids.insert(described, id);
        Ok(id)
    }

    /// Enters a metric into the list of all, if there may be one more.
    fn publish(&self, dict: &dyn Dict, described: &[u8]) -> Result<(), MetricError> {
        let Some(Quotas { bytes, metrics }) = &self.quotas else { return Ok(publish(dict, described)?) };
        let size = size(described);
        metrics
            .check(dict, 1, || Some(published_of(dict, &self.owner)?.len()))
            .map_err(|OverQuota { limit, .. }| MetricError::TooMany(limit))?;
        bytes
            .check(dict, size, || Some(published_of(dict, &self.owner)?.iter().map(|other| self::size(other)).sum()))?;
        publish(dict, described)?;
        metrics.count(dict, 0, 1);
        bytes.count(dict, 0, size);
        Ok(())
    }

    /// Adds to a counter or a gauge.
    pub fn increment(&mut self, dict: &dyn Dict, id: u32, by: i64) -> Result<(), MetricError> {
        let metric = self.metric(id)?;
        match metric.kind {
            MetricType::Counter if by > 0 => {}
            MetricType::Gauge => {}
            MetricType::Counter | MetricType::Histogram => return Err(MetricError::Status(Status::BadArgument)),
        }
        dict.incr(&metric.key, by as f64, 0.0)?;
        Ok(())
    }

    /// Adds to a counter, sets a gauge, or counts in a histogram.
    pub fn record(&mut self, dict: &dyn Dict, id: u32, value: u64) -> Result<(), MetricError> {
        let metric = self.metric(id)?;
        let value = value as f64;
        match metric.kind {
            MetricType::Counter => _ = dict.incr(&metric.key, value, 0.0)?,
            MetricType::Gauge => dict.set_number(&metric.key, value)?,
            MetricType::Histogram => {
                let bucket = BUCKETS.partition_point(|bound| *bound < value);
                dict.incr(metric.part(bucket), 1.0, 0.0)?;
                dict.incr(metric.part(SUM), value, 0.0)?;
            }
        }
        Ok(())
    }

    /// The value of a counter or a gauge.
    pub fn get(&mut self, dict: &dyn Dict, id: u32) -> Result<u64, MetricError> {
        let metric = self.metric(id)?;
        if metric.kind == MetricType::Histogram {
            return Err(MetricError::Status(Status::BadArgument));
        }
        let value = dict.number(&metric.key).unwrap_or_default();
        Ok(if value < 0.0 { value as i64 as u64 } else { value as u64 })
    }

    fn metric(&mut self, id: u32) -> Result<&mut Metric, MetricError> {
        match self.defined.get_mut((id as usize).wrapping_sub(1)) {
            Some(metric) => Ok(metric),
            None if id == 0 && self.refused => Err(MetricError::Refused),
            None => Err(MetricError::Status(Status::NotFound)),
        }
    }
}

impl Metric {
    /// The key of a histogram's bucket, or of its sum.
    fn part(&mut self, part: usize) -> &[u8] {
        choose_part(&mut self.key, part)
    }
}

/// A metric that some virtual machine has defined, or the host.
pub struct Series {
    /// `None` for the host's own.
    pub vm_id: Option<String>,
    pub kind: MetricType,
    pub name: Vec<u8>,
    pub value: Value,
}

/// What a metric has counted.
pub enum Value {
    /// Of a counter or a gauge.
    Number(f64),
    /// How many values each bucket has, and the sum of all.
    Histogram([f64; BUCKETS.len() + 1], f64),
}

/// All metrics with their values, in the order in which they were defined first.
pub fn all(dict: &dyn Dict) -> Vec<Series> {
    let count = dict.number(PLACES).unwrap_or_default() as u64;
    let mut seen = HashSet::new();
    let name = |place| {
        let mut described = Vec::new();
        dict.get(&name_key(place), &mut described)?;
        seen.insert(described.clone()).then_some(described)
    };
    (1..=count).filter_map(name).filter_map(|described| series(dict, &described)).collect()
}

fn series(dict: &dyn Dict, described: &[u8]) -> Option<Series> {
    let (vm_id, kind, name) = split(described)?;
    let mut key = key(described);
    let value = if kind == MetricType::Histogram {
        let mut part = |part| dict.number(choose_part(&mut key, part)).unwrap_or_default();
        Value::Histogram(std::array::from_fn(&mut part), part(SUM))
    } else {
        Value::Number(dict.number(&key).unwrap_or_default())
    };
    Some(Series { vm_id: vm_id.map(str::to_owned), kind, name: name.to_vec(), value })
}

fn is_published(dict: &dyn Dict, described: &[u8]) -> bool {
    let mut name = Vec::new();
    let place = dict.number(&place_key(described));
    place.is_some_and(|place| dict.get(&name_key(place as u64), &mut name).is_some() && name == described)
}

/// Enters a metric into the list of all. One that two processes enter at once is there twice.
fn publish(dict: &dyn Dict, described: &[u8]) -> Result<(), DictError> {
    loop {
        let place = dict.incr(PLACES, 1.0, 0.0)?;
        // Taken only when the dict has lost the count.
        if dict.add(&name_key(place as u64), described, 0, None)? {
            return dict.set_number(&place_key(described), place);
        }
    }
}

/// What [`describe`] has made of those that an owner has entered.
fn published_of(dict: &dyn Dict, owner: &[u8]) -> Option<Vec<Vec<u8>>> {
    let keys = dict.keys(&place_key(owner))?;
    Some(keys.into_iter().map(|key| key[PLACE.len()..].to_vec()).collect())
}

/// How many bytes of the dict a metric takes. A histogram has all of its buckets from the beginning, as far as this counts.
fn size(described: &[u8]) -> usize {
    const DIGITS: usize = 10;
    const NUMBER: usize = size_of::<f64>();
    let parts = if is_histogram(described) { SUM + 1 } else { 1 };
    entry_size(NAME.len() + DIGITS, described.len())
        + entry_size(PLACE.len() + described.len(), NUMBER)
        + parts * entry_size(key(described).len(), NUMBER)
}

/// Owner, type and name in one.
fn describe(owner: &[u8], kind: MetricType, name: &[u8]) -> Vec<u8> {
    [owner, &[b'0' + kind as u8], name].concat()
}

/// The `vm_id` of what [`describe`] has made, or `None` for the host, and the type and the name.
fn split(described: &[u8]) -> Option<(Option<&str>, MetricType, &[u8])> {
    let (vm_id, rest) = match described.strip_prefix(HOST) {
        Some(rest) => (None, rest),
        None => split_owner(described).map(|(vm_id, rest)| (Some(vm_id), rest))?,
    };
    let (kind, name) = rest.split_first()?;
    Some((vm_id, MetricType::try_from(u32::from(kind.checked_sub(b'0')?)).ok()?, name))
}

fn is_histogram(described: &[u8]) -> bool {
    matches!(split(described), Some((_, MetricType::Histogram, _)))
}

fn name_key(place: u64) -> Vec<u8> {
    [NAME, place.to_string().as_bytes()].concat()
}

fn place_key(described: &[u8]) -> Vec<u8> {
    [PLACE, described].concat()
}

fn key(described: &[u8]) -> Vec<u8> {
    let part: &[u8] = if is_histogram(described) { &[0] } else { &[] };
    [VALUE, described, part].concat()
}

fn choose_part(key: &mut [u8], part: usize) -> &[u8] {
    if let Some(last) = key.last_mut() {
        *last = part as u8;
    }
    key
}

#[cfg(test)]
mod tests {
    use super::{super::InProcess, *};

    fn dict() -> InProcess {
        InProcess::new(1 << 20)
    }

    fn status<T>(result: Result<T, MetricError>) -> Status {
        match result {
            Ok(_) => Status::Ok,
            Err(MetricError::Status(status)) => status,
            Err(MetricError::Refused) => Status::Ok,
            Err(_) => Status::InternalFailure,
        }
    }

    fn metrics_of(vm_id: &str) -> Metrics {
        Metrics::new(&Options::new(vm_id))
    }

    fn define(metrics: &mut Metrics, dict: &InProcess, kind: MetricType, name: &str) -> u32 {
        metrics.define(dict, kind, name.as_bytes()).ok().unwrap()
    }

    #[test]
    fn a_counter_only_grows() {
        let (dict, mut metrics) = (dict(), metrics_of("vm"));
        let id = define(&mut metrics, &dict, MetricType::Counter, "c");
        for by in [0, -1, i64::MIN] {
            assert_eq!(status(metrics.increment(&dict, id, by)), Status::BadArgument);
        }
        assert_eq!(status(metrics.increment(&dict, id, 5)), Status::Ok);
        assert_eq!(status(metrics.record(&dict, id, 10)), Status::Ok);
        assert_eq!(metrics.get(&dict, id).ok(), Some(15));
    }

    #[test]
    fn a_gauge_is_set_and_goes_up_and_down() {
        let (dict, mut metrics) = (dict(), metrics_of("vm"));
        let id = define(&mut metrics, &dict, MetricType::Gauge, "g");
        assert_eq!(status(metrics.record(&dict, id, 10)), Status::Ok);
        assert_eq!(status(metrics.increment(&dict, id, -3)), Status::Ok);
        assert_eq!(metrics.get(&dict, id).ok(), Some(7));
        assert_eq!(status(metrics.increment(&dict, id, -9)), Status::Ok);
        assert_eq!(metrics.get(&dict, id).ok(), Some(-2_i64 as u64));
        assert_eq!(status(metrics.record(&dict, id, u64::MAX)), Status::Ok);
        assert_eq!(metrics.get(&dict, id).ok(), Some(u64::MAX));
    }

    #[test]
    fn a_histogram_only_records() {
        let (dict, mut metrics) = (dict(), metrics_of("vm"));
        let id = define(&mut metrics, &dict, MetricType::Histogram, "h");
        assert_eq!(status(metrics.increment(&dict, id, 1)), Status::BadArgument);
        assert_eq!(status(metrics.get(&dict, id)), Status::BadArgument);
        for value in [0, 1, 5, 6, 3_600_000, 3_600_001] {
            assert_eq!(status(metrics.record(&dict, id, value)), Status::Ok);
        }
        let all = all(&dict);
        let Value::Histogram(buckets, sum) = &all[0].value else { panic!("not a histogram") };
        let filled: Vec<(usize, f64)> = buckets.iter().copied().enumerate().filter(|(_, count)| *count > 0.0).collect();
        assert_eq!(filled, [(0, 1.0), (1, 1.0), (2, 1.0), (3, 1.0), (18, 1.0), (19, 1.0)]);
        assert_eq!(*sum, 7_200_013.0);
    }

    #[test]
    fn ids_are_those_of_the_virtual_machine_and_values_those_of_the_vm_id() {
        let (dict, mut one, mut other) = (dict(), metrics_of("vm"), metrics_of("vm"));
        let mut strange = metrics_of("vm:0");
        assert_eq!(define(&mut one, &dict, MetricType::Counter, "a"), 1);
        assert_eq!(define(&mut one, &dict, MetricType::Counter, "b"), 2);
        assert_eq!(define(&mut one, &dict, MetricType::Gauge, "a"), 3);
        assert_eq!(define(&mut one, &dict, MetricType::Counter, "a"), 1);
        assert_eq!(define(&mut other, &dict, MetricType::Counter, "b"), 1);
        assert_eq!(status(other.increment(&dict, 1, 4)), Status::Ok);
        assert_eq!(one.get(&dict, 2).ok(), Some(4));
        assert_eq!(one.get(&dict, 3).ok(), Some(0));
        assert_eq!(define(&mut strange, &dict, MetricType::Counter, "b"), 1);
        assert_eq!(status(strange.record(&dict, 1, 100)), Status::Ok);
        assert_eq!(one.get(&dict, 2).ok(), Some(4));
        for unknown in [0, 4, u32::MAX] {
            assert_eq!(status(one.get(&dict, unknown)), Status::NotFound);
            assert_eq!(status(one.increment(&dict, unknown, 1)), Status::NotFound);
            assert_eq!(status(one.record(&dict, unknown, 1)), Status::NotFound);
        }
    }

    #[test]
    fn a_metric_is_listed_once_and_again_when_the_dict_has_lost_its_name() {
        let dict = dict();
        for _ in 0..3 {
            define(&mut metrics_of("vm"), &dict, MetricType::Counter, "c");
        }
        assert_eq!(dict.number(PLACES), Some(1.0));
        dict.delete(&name_key(1));
        assert!(all(&dict).is_empty());
        define(&mut metrics_of("vm"), &dict, MetricType::Counter, "c");
        assert_eq!(all(&dict).len(), 1);
        dict.delete(PLACES);
        define(&mut metrics_of("vm"), &dict, MetricType::Counter, "d");
        define(&mut metrics_of("vm"), &dict, MetricType::Gauge, "d");
        assert_eq!(all(&dict).len(), 3);
    }

    fn gone(dict: &InProcess, prefix: &[u8]) {
        dict.keys(prefix).unwrap().iter().for_each(|key| dict.delete(key));
    }

    #[test]
    fn what_a_vm_id_can_define_is_the_same_after_a_rebuild_and_more_when_series_have_gone() {
        let (dict, options) = (InProcess::new(64 << 20), Options::new("vm"));
        let options = Options { metric_limit: Some(usize::MAX), ..options };
        let mut metrics = Metrics::new(&options);
        for n in 0..MAX_METRICS {
            define(&mut metrics, &dict, MetricType::Counter, &n.to_string());
        }
        let too_many = |metrics: &mut Metrics, name: &[u8]| {
            matches!(metrics.define(&dict, MetricType::Counter, name), Err(MetricError::TooMany(MAX_METRICS)))
        };
        assert!(too_many(&mut metrics, b"more"));
        assert_eq!(define(&mut metrics, &dict, MetricType::Counter, "1"), 2);
        let mut rebuilt = Metrics::new(&options);
        assert!(too_many(&mut rebuilt, b"more"));
        define(&mut rebuilt, &dict, MetricType::Counter, "1");
        define(&mut metrics_of("other"), &dict, MetricType::Counter, "more");
        gone(&dict, b"place:2:vm:09");
        gone(&dict, b"counted:");
        for n in 0..11 {
            define(&mut rebuilt, &dict, MetricType::Counter, &format!("more {n}"));
        }
        assert!(!too_many(&mut metrics, b"more"));
    }

    #[test]
    fn metrics_take_no_more_bytes_than_their_limit() {
        let dict = dict();
        let mut metrics = Metrics::new(&Options { metric_limit: Some(1000), ..Options::new("vm") });
        define(&mut metrics, &dict, MetricType::Counter, "a");
        define(&mut metrics, &dict, MetricType::Counter, "b");
        let over = |metrics: &mut Metrics, kind, name: &[u8]| match metrics.define(&dict, kind, name) {
            Err(MetricError::OverQuota(over)) => Some(over),
            _ => None,
        };
        let wanted = OverQuota { option: "metric_limit", limit: 1000, wanted: 9 * 128 };
        assert_eq!(over(&mut metrics, MetricType::Gauge, b"a"), Some(wanted));
        assert_eq!(over(&mut metrics, MetricType::Histogram, b"h"), Some(OverQuota { wanted: 29 * 128, ..wanted }));
        assert_eq!(define(&mut metrics, &dict, MetricType::Counter, "b"), 2);
        gone(&dict, b"place:2:vm:0a");
        gone(&dict, b"counted:");
        assert_eq!(define(&mut metrics, &dict, MetricType::Gauge, "a"), 3);
    }

    #[test]
    fn a_refused_metric_counts_nothing() {
        let (dict, mut metrics) = (dict(), metrics_of("vm"));
        assert_eq!(status(metrics.record(&dict, 0, 1)), Status::NotFound);
        assert!(matches!(metrics.define(&dict, MetricType::Counter, b"resty_wasm_x"), Err(MetricError::Reserved)));
        assert_eq!(status(metrics.record(&dict, 0, 1)), Status::Ok);
        assert_eq!(status(metrics.increment(&dict, 0, 1)), Status::Ok);
        assert_eq!(status(metrics.record(&dict, 1, 1)), Status::NotFound);
        assert!(all(&dict).is_empty());
    }
}
