use std::collections::{BTreeSet, HashMap};

use super::{Dict, DictError};
use crate::abi::{MetricType, Status};

/// The upper bounds of a histogram's buckets, those of Envoy; above the last there is one more.
pub const BUCKETS: [f64; 19] =
    [0.5, 1.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1e3, 2.5e3, 5e3, 1e4, 3e4, 6e4, 3e5, 6e5, 1.8e6, 3.6e6];
/// Where a histogram's sum is, behind its buckets.
const SUM: usize = BUCKETS.len() + 1;
/// The entry that counts the names of metrics.
const NAMES: &[u8] = b"metrics";
/// How many metrics one virtual machine can define. A plugin that makes names from what clients send reaches it.
const MOST: usize = 10_000;

/// The metrics that a virtual machine has defined: its ids begin at 1. Names are everybody's.
#[derive(Default)]
pub struct Metrics {
    defined: Vec<Metric>,
    /// By what [`describe`] makes of type and name.
    ids: HashMap<Vec<u8>, u32>,
}

struct Metric {
    kind: MetricType,
    /// Of the dict's entry; with a histogram, the last byte chooses one.
    key: Vec<u8>,
}

/// Why a metric was not defined or changed.
pub enum MetricError {
    /// What the guest is told.
    Status(Status),
    /// What the log is told: guests know no status for it.
    Dict(DictError),
    /// The virtual machine has as many metrics as it can have.
    TooMany(usize),
}

impl From<DictError> for MetricError {
    fn from(error: DictError) -> Self {
        Self::Dict(error)
    }
}

impl Metrics {
    /// The id of the metric with this type and name, in this virtual machine.
    pub fn define(&mut self, dict: &dyn Dict, kind: MetricType, name: &[u8]) -> Result<u32, MetricError> {
        let described = describe(kind, name);
        if let Some(id) = self.ids.get(&described) {
            return Ok(*id);
        }
        if self.defined.len() >= MOST {
            return Err(MetricError::TooMany(MOST));
        }
        publish(dict, &described)?;
        let key = key(&described);
        if kind != MetricType::Histogram {
            dict.incr(&key, 0.0, 0.0)?;
        }
        self.defined.push(Metric { kind, key });
        let id = self.defined.len() as u32;
        self.ids.insert(described, id);
        Ok(id)
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
        let index = (id as usize).wrapping_sub(1);
        self.defined.get_mut(index).ok_or(MetricError::Status(Status::NotFound))
    }
}

impl Metric {
    /// The key of a histogram's bucket, or of its sum.
    fn part(&mut self, part: usize) -> &[u8] {
        choose_part(&mut self.key, part)
    }
}

/// A metric that some virtual machine has defined.
pub enum Value {
    /// Of a counter or a gauge.
    Number(f64),
    /// How many values each bucket has, and the sum of all.
    Histogram([f64; BUCKETS.len() + 1], f64),
}

/// All metrics with their values, in the order of their types and names.
pub fn all(dict: &dyn Dict) -> Vec<(MetricType, Vec<u8>, Value)> {
    let count = dict.number(NAMES).unwrap_or_default() as u64;
    let name = |place| {
        let mut described = Vec::new();
        dict.get(&name_key(place), &mut described).map(|_| described)
    };
    let names: BTreeSet<Vec<u8>> = (1..=count).filter_map(name).collect();
    names.iter().filter_map(|described| value(dict, described)).collect()
}

fn value(dict: &dyn Dict, described: &[u8]) -> Option<(MetricType, Vec<u8>, Value)> {
    let (kind, name) = described.split_first()?;
    let kind = MetricType::try_from(u32::from(kind.checked_sub(b'0')?)).ok()?;
    let mut key = key(described);
    let value = if kind == MetricType::Histogram {
        let mut part = |part| dict.number(choose_part(&mut key, part)).unwrap_or_default();
        Value::Histogram(std::array::from_fn(&mut part), part(SUM))
    } else {
        Value::Number(dict.number(&key).unwrap_or_default())
    };
    Some((kind, name.to_vec(), value))
}

/// Enters a metric into the list of all, unless it is there. One that two processes enter at once is there twice.
fn publish(dict: &dyn Dict, described: &[u8]) -> Result<(), DictError> {
    let place_key = [b"metric-place:", described].concat();
    let mut found = Vec::new();
    if dict.get(&place_key, &mut found).is_some() {
        let name_key = std::mem::take(&mut found);
        if dict.get(&name_key, &mut found).is_some() && found == described {
            return Ok(());
        }
    }
    loop {
        let name_key = name_key(dict.incr(NAMES, 1.0, 0.0)? as u64);
        // Taken only when the dict has lost the count.
        if dict.add(&name_key, described, 0, None)? {
            return dict.set(&place_key, &name_key, 0, None);
        }
    }
}

/// Type and name in one.
fn describe(kind: MetricType, name: &[u8]) -> Vec<u8> {
    [&[b'0' + kind as u8], name].concat()
}

fn name_key(place: u64) -> Vec<u8> {
    format!("metric-name:{place}").into_bytes()
}

fn key(described: &[u8]) -> Vec<u8> {
    let is_histogram = described.first() == Some(&(b'0' + MetricType::Histogram as u8));
    let part: &[u8] = if is_histogram { &[0] } else { &[] };
    [b"metric:", described, part].concat()
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
            Err(_) => Status::InternalFailure,
        }
    }

    fn define(metrics: &mut Metrics, dict: &InProcess, kind: MetricType, name: &str) -> u32 {
        metrics.define(dict, kind, name.as_bytes()).ok().unwrap()
    }

    #[test]
    fn a_counter_only_grows() {
        let (dict, mut metrics) = (dict(), Metrics::default());
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
        let (dict, mut metrics) = (dict(), Metrics::default());
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
        let (dict, mut metrics) = (dict(), Metrics::default());
        let id = define(&mut metrics, &dict, MetricType::Histogram, "h");
        assert_eq!(status(metrics.increment(&dict, id, 1)), Status::BadArgument);
        assert_eq!(status(metrics.get(&dict, id)), Status::BadArgument);
        for value in [0, 1, 5, 6, 3_600_000, 3_600_001] {
            assert_eq!(status(metrics.record(&dict, id, value)), Status::Ok);
        }
        let all = all(&dict);
        let (_, _, Value::Histogram(buckets, sum)) = &all[0] else { panic!("not a histogram") };
        let filled: Vec<(usize, f64)> = buckets.iter().copied().enumerate().filter(|(_, count)| *count > 0.0).collect();
        assert_eq!(filled, [(0, 1.0), (1, 1.0), (2, 1.0), (3, 1.0), (18, 1.0), (19, 1.0)]);
        assert_eq!(*sum, 7_200_013.0);
    }

    #[test]
    fn ids_are_those_of_the_virtual_machine_and_values_everybodys() {
        let (dict, mut one, mut other) = (dict(), Metrics::default(), Metrics::default());
        assert_eq!(define(&mut one, &dict, MetricType::Counter, "a"), 1);
        assert_eq!(define(&mut one, &dict, MetricType::Counter, "b"), 2);
        assert_eq!(define(&mut one, &dict, MetricType::Gauge, "a"), 3);
        assert_eq!(define(&mut one, &dict, MetricType::Counter, "a"), 1);
        assert_eq!(define(&mut other, &dict, MetricType::Counter, "b"), 1);
        assert_eq!(status(other.increment(&dict, 1, 4)), Status::Ok);
        assert_eq!(one.get(&dict, 2).ok(), Some(4));
        assert_eq!(one.get(&dict, 3).ok(), Some(0));
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
            define(&mut Metrics::default(), &dict, MetricType::Counter, "c");
        }
        assert_eq!(dict.number(NAMES), Some(1.0));
        dict.delete(&name_key(1));
        assert!(all(&dict).is_empty());
        define(&mut Metrics::default(), &dict, MetricType::Counter, "c");
        assert_eq!(all(&dict).len(), 1);
        dict.delete(NAMES);
        define(&mut Metrics::default(), &dict, MetricType::Counter, "d");
        define(&mut Metrics::default(), &dict, MetricType::Gauge, "d");
        assert_eq!(all(&dict).len(), 3);
    }

    #[test]
    fn a_virtual_machine_can_define_so_many_and_no_more() {
        let (dict, mut metrics) = (InProcess::new(64 << 20), Metrics::default());
        for n in 0..MOST {
            define(&mut metrics, &dict, MetricType::Counter, &n.to_string());
        }
        assert!(matches!(metrics.define(&dict, MetricType::Counter, b"more"), Err(MetricError::TooMany(MOST))));
        assert_eq!(define(&mut metrics, &dict, MetricType::Counter, "1"), 2);
    }
}
