//! Metrics as Prometheus reads them. The ABI knows no labels: plugins put them into names, in two ways that this understands.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use super::{
    Dict,
    metrics::{self, BUCKETS, Series, Value},
};
use crate::abi::MetricType;

/// Names and values, in the order of the metric's name.
type Labels = Vec<(String, String)>;

/// The label of a series whose family another `vm_id` has defined first.
const VM_ID: &str = "vm_id";
/// What the families of the host's own begin with.
const RESERVED: &str = "resty_wasm_";

/// All metrics in Prometheus' text format, families sorted by name. One that was defined first keeps its name, and its series have
/// no label that tells whose they are: nothing that is defined later changes them.
pub fn prometheus(dict: &dyn Dict) -> String {
    let mut owners: BTreeMap<String, Option<String>> = BTreeMap::new();
    let mut names: BTreeMap<(String, MetricType), String> = BTreeMap::new();
    let mut families: BTreeMap<String, (MetricType, BTreeMap<Labels, Value>)> = BTreeMap::new();
    let mut taken = BTreeSet::new();
    for Series { vm_id, kind, name, value } in metrics::all(dict) {
        let (family, mut labels) = split(&String::from_utf8_lossy(&name));
        let owner = owners.entry(family.clone()).or_insert_with(|| vm_id.clone());
        if vm_id != *owner {
            labels.push((VM_ID.to_owned(), vm_id.unwrap_or_default()));
        }
        let name = names.entry((family, kind)).or_insert_with_key(|(family, _)| claim(family, kind, &mut taken));
        let (_, series) = families.entry(name.clone()).or_insert_with(|| (kind, BTreeMap::new()));
        // Names that differ only in what Prometheus does not allow are one.
        match series.remove(&labels) {
            Some(other) => _ = series.insert(labels, add(other, value)),
            None => _ = series.insert(labels, value),
        }
    }

    let mut text = String::new();
    for (family, (kind, series)) in families {
        write_family(&mut text, &family, kind, &series);
    }
    text
}

/// Whether a metric of this name would be one of the host's own.
pub fn is_reserved(name: &[u8]) -> bool {
    let (mut family, _) = split(&String::from_utf8_lossy(name));
    // A histogram's samples have a suffix.
    family.push('_');
    family.starts_with(RESERVED)
}

fn add(one: Value, other: Value) -> Value {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => Value::Number(one + other),
        (Value::Histogram(one, sum), Value::Histogram(other, other_sum)) => {
            Value::Histogram(std::array::from_fn(|bucket| one[bucket] + other[bucket]), sum + other_sum)
        }
        (one, _) => one,
    }
}

/// Takes the names that a family's samples have. When another family, of another type, has one of them, the type is added.
fn claim(family: &str, kind: MetricType, taken: &mut BTreeSet<String>) -> String {
    let mut family = family.to_owned();
    let samples = |family: &str| match kind {
        MetricType::Histogram => ["", "_bucket", "_sum", "_count"].map(|suffix| format!("{family}{suffix}")).to_vec(),
        _ => vec![family.to_owned()],
    };
    while samples(&family).iter().any(|sample| taken.contains(sample)) {
        family = format!("{family}_{}", type_name(kind));
    }
    taken.extend(samples(&family));
    family
}

fn type_name(kind: MetricType) -> &'static str {
    match kind {
        MetricType::Counter => "counter",
        MetricType::Gauge => "gauge",
        MetricType::Histogram => "histogram",
    }
}

fn write_family(text: &mut String, family: &str, kind: MetricType, series: &BTreeMap<Labels, Value>) {
    let _ = writeln!(text, "# TYPE {family} {}", type_name(kind));
    for (labels, value) in series {
        match value {
            Value::Number(number) => write_sample(text, family, labels, None, *number),
            Value::Histogram(buckets, sum) => {
                let bounds = BUCKETS.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
                let mut count = 0.0;
                for (bound, bucket) in bounds.zip(buckets) {
                    count += bucket;
                    write_sample(text, &format!("{family}_bucket"), labels, Some(&bound), count);
                }
                write_sample(text, &format!("{family}_sum"), labels, None, *sum);
                write_sample(text, &format!("{family}_count"), labels, None, count);
            }
        }
    }
}

fn write_sample(text: &mut String, name: &str, labels: &Labels, bound: Option<&str>, value: f64) {
    let labels = labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let labels = labels.chain(bound.map(|bound| ("le", bound)));
    let labels: Vec<String> = labels.map(|(name, value)| format!("{name}=\"{}\"", escape(value))).collect();
    let _ = if labels.is_empty() {
        writeln!(text, "{name} {value}")
    } else {
        writeln!(text, "{name}{{{}}} {value}", labels.join(","))
    };
}

fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// The family that a metric's name is of, and the labels that are in it.
fn split(name: &str) -> (String, Labels) {
    let (rest, mut labels) = take_istio_labels(name);
    let (family, more) = take_coraza_labels(&rest);
    labels.extend(more);
    if family.is_empty() {
        return (sanitize(name, true), Vec::new());
    }
    let mut seen = BTreeSet::new();
    let labels = labels.into_iter().map(|(name, value)| (label_name(&name), value));
    (sanitize(&family, true), labels.filter(|(name, _)| seen.insert(name.clone())).collect())
}

/// Istio: `key=.=value;.;`, as often as one likes and anywhere in the name.
fn take_istio_labels(name: &str) -> (String, Labels) {
    let (mut rest, mut labels, mut name) = (String::new(), Vec::new(), name);
    while let Some((before, after)) = name.split_once("=.=") {
        let Some((value, after)) = after.split_once(";.;") else { break };
        let is_key = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let key = before.len() - before.chars().rev().take_while(|c| is_key(*c)).count();
        rest.push_str(&before[..key]);
        labels.push((before[key..].to_owned(), value.to_owned()));
        name = after;
    }
    rest.push_str(name);
    (rest, labels)
}

/// Coraza: `_key=value` at the name's end, as often as one likes. A key has letters and digits; a value may have anything.
fn take_coraza_labels(name: &str) -> (String, Labels) {
    let starts: Vec<(usize, usize)> =
        name.match_indices('=').filter_map(|(end, _)| Some((key_start(name, end)?, end))).collect();
    let family = &name[..starts.first().map_or(name.len(), |(start, _)| *start)];
    let ends = starts.iter().skip(1).map(|(start, _)| *start).chain([name.len()]);
    let labels = starts.iter().zip(ends);
    let labels =
        labels.map(|((start, equals), end)| (name[start + 1..*equals].to_owned(), name[equals + 1..end].to_owned()));
    (family.to_owned(), labels.collect())
}

/// Where the `_` stands before the key that ends at `end`.
fn key_start(name: &str, end: usize) -> Option<usize> {
    let key = name[..end].bytes().rev().take_while(u8::is_ascii_alphanumeric).count();
    let start = (end - key).checked_sub(1)?;
    (key > 0 && name.as_bytes()[start] == b'_').then_some(start)
}

/// `le` is a histogram's own, [`VM_ID`] the host's, and names that begin with `__` are Prometheus'.
fn label_name(name: &str) -> String {
    let name = sanitize(name, false);
    if name == "le" || name == VM_ID || name.starts_with("__") { format!("label_{name}") } else { name }
}

/// A name as Prometheus allows it: letters, digits, `_` and, of metrics, `:`; no digit first.
fn sanitize(name: &str, colon: bool) -> String {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || (colon && c == ':');
    let mut sanitized: String = name.chars().map(|c| if is_allowed(c) { c } else { '_' }).collect();
    if sanitized.is_empty() || sanitized.starts_with(|c: char| c.is_ascii_digit()) {
        sanitized.insert(0, '_');
    }
    sanitized
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::{InProcess, Metrics},
        *,
    };
    use crate::context::Options;

    /// The text of metrics that were recorded once each.
    fn text(recorded: &[(MetricType, &[u8], u64)]) -> String {
        let dict = InProcess::new(1 << 20);
        record(&dict, "vm", recorded);
        prometheus(&dict)
    }

    fn record(dict: &InProcess, vm_id: &str, recorded: &[(MetricType, &[u8], u64)]) {
        let mut metrics = Metrics::new(&Options { metric_limit: Some(1 << 20), ..Options::new(vm_id) });
        for (kind, name, value) in recorded {
            let id = metrics.define(dict, *kind, name).unwrap();
            metrics.record(dict, id, *value).unwrap();
        }
    }

    use MetricType::{Counter, Gauge, Histogram};

    #[test]
    fn families_are_sorted_and_have_their_type_once() {
        let text =
            text(&[(Gauge, b"b", 2), (Counter, b"c_k=1", 3), (Counter, b"c_k=2", 1 << 50), (Counter, b"a.b-c", 4)]);
        assert_eq!(
            text,
            "# TYPE a_b_c counter\na_b_c 4\n# TYPE b gauge\nb 2\n\
             # TYPE c counter\nc{k=\"1\"} 3\nc{k=\"2\"} 1125899906842624\n"
        );
    }

    #[test]
    fn nothing_is_an_empty_text() {
        assert_eq!(text(&[]), "");
    }

    #[test]
    fn labels_are_found_in_the_names_of_istio_and_coraza() {
        type Case = (&'static str, &'static str, &'static [(&'static str, &'static str)]);
        let cases: [Case; 10] = [
            ("plain", "plain", &[]),
            (
                "wasmcustom.reporter=.=source;.;response_code=.=200;.;istio_requests_total",
                "wasmcustom_istio_requests_total",
                &[("reporter", "source"), ("response_code", "200")],
            ),
            ("istio_build.component=.=proxy;.;tag=.=1.2;.;", "istio_build_", &[("component", "proxy"), ("tag", "1.2")]),
            (
                "waf_filter.tx.interruptions_ruleid=949110_phase=http_request_headers_authority=example.com",
                "waf_filter_tx_interruptions",
                &[("ruleid", "949110"), ("phase", "http_request_headers"), ("authority", "example.com")],
            ),
            ("hits_le=1_path=/a=b_c", "hits", &[("label_le", "1"), ("path", "/a=b_c")]),
            ("twice_k=1_k=2", "twice", &[("k", "1")]),
            ("empty_k=", "empty", &[("k", "")]),
            ("_k=v", "_k_v", &[]),
            ("no key=value", "no_key_value", &[]),
            ("digit_1st=x", "digit", &[("_1st", "x")]),
        ];
        for (name, family, labels) in cases {
            let labels: Labels = labels.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
            assert_eq!(split(name), (family.to_owned(), labels), "{name}");
        }
    }

    #[test]
    fn values_of_labels_are_escaped() {
        assert_eq!(text(&[(Gauge, b"g_k=a\"b\\c\nd\xff", 1)]), "# TYPE g gauge\ng{k=\"a\\\"b\\\\c\\nd\u{fffd}\"} 1\n");
    }

    #[test]
    fn a_family_with_two_types_is_two_families() {
        let text = text(&[(Gauge, b"x", 1), (Counter, b"x", 2), (Gauge, b"x_gauge", 3), (Counter, b"x_k=v", 4)]);
        assert_eq!(
            text,
            "# TYPE x gauge\nx 1\n# TYPE x_counter counter\nx_counter 2\nx_counter{k=\"v\"} 4\n\
             # TYPE x_gauge gauge\nx_gauge 3\n"
        );
    }

    #[test]
    fn metrics_that_differ_only_in_what_is_not_allowed_are_added() {
        assert_eq!(text(&[(Counter, b"a.b", 1), (Counter, b"a-b", 2)]), "# TYPE a_b counter\na_b 3\n");
    }

    #[test]
    fn a_histogram_counts_up_to_each_bound() {
        let text = text(&[(Histogram, b"h_k=v", 3), (Histogram, b"h_k=v", 30), (Counter, b"h_sum", 1)]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[..3],
            ["# TYPE h histogram", "h_bucket{k=\"v\",le=\"0.5\"} 0", "h_bucket{k=\"v\",le=\"1\"} 0"]
        );
        assert_eq!(lines[6..8], ["h_bucket{k=\"v\",le=\"50\"} 2", "h_bucket{k=\"v\",le=\"100\"} 2"]);
        assert_eq!(
            lines[19..],
            [
                "h_bucket{k=\"v\",le=\"3600000\"} 2",
                "h_bucket{k=\"v\",le=\"+Inf\"} 2",
                "h_sum{k=\"v\"} 33",
                "h_count{k=\"v\"} 2",
                "# TYPE h_sum_counter counter",
                "h_sum_counter 1"
            ]
        );
    }

    #[test]
    fn nothing_that_another_vm_id_defines_changes_a_family() {
        let dict = InProcess::new(1 << 20);
        record(
            &dict,
            "one",
            &[(Gauge, b"a.b", 1), (Gauge, b"a.b_k=v", 2), (Counter, b"h_sum", 3), (Gauge, b"x_gauge", 4)],
        );
        let before = prometheus(&dict);
        let forged: [(MetricType, &[u8], u64); 8] = [
            (Gauge, b"a.b", 100),
            (Gauge, b"a-b", 100),
            (Counter, b"a_b", 100),
            (Gauge, b"vm_id=.=one;.;a_b", 100),
            (Histogram, b"h", 100),
            (Counter, b"x", 100),
            (Gauge, b"x", 100),
            (Gauge, b"k=.=v;.;a_b", 100),
        ];
        record(&dict, "the\"other", &forged);
        let text = prometheus(&dict);
        for line in before.lines() {
            assert!(text.lines().any(|other| other == line), "{line} is not in:\n{text}");
        }
        for line in [
            r#"a_b{vm_id="the\"other"} 200"#,
            r#"a_b{label_vm_id="one",vm_id="the\"other"} 100"#,
            r#"a_b{k="v",vm_id="the\"other"} 100"#,
            r#"a_b_counter{vm_id="the\"other"} 100"#,
            r#"h_histogram_sum 100"#,
            r#"x_gauge_gauge 100"#,
        ] {
            assert!(text.lines().any(|other| other == line), "{line} is not in:\n{text}");
        }
    }

    #[test]
    fn what_is_the_hosts_own_is_so_however_it_is_written() {
        for name in [
            "resty_wasm_calls_total",
            "resty.wasm-x",
            "plugin=.=p;.;resty_wasm_calls_total",
            "resty_wasm_x_k=v",
            "resty_wasm",
        ] {
            assert!(is_reserved(name.as_bytes()), "{name}");
        }
        for name in ["resty_wasmtime", "my_resty_wasm_x", "resty", ""] {
            assert!(!is_reserved(name.as_bytes()), "{name}");
        }
    }

    fn is_name(name: &str, colon: bool) -> bool {
        !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || (colon && c == ':'))
    }

    proptest! {
        /// Whatever names plugins choose: each line is a comment or a sample, each family and each series is there once.
        #[test]
        fn the_text_is_valid(
            names in proptest::collection::vec((0..3_u32, "([a_.]{0,2}[k=;.\"\\\\\n]{0,3}(=\\.=|;\\.;|_k=|é)?){0,3}"), 0..12)
        ) {
            let recorded: Vec<_> = names
                .iter()
                .map(|(kind, name)| (MetricType::try_from(*kind).unwrap(), name.as_bytes(), 1))
                .collect();
            let text = text(&recorded);
            let (mut families, mut series) = (BTreeSet::new(), BTreeSet::new());
            for line in text.lines() {
                if let Some(family) = line.strip_prefix("# TYPE ") {
                    let (family, _) = family.split_once(' ').unwrap();
                    prop_assert!(is_name(family, true) && families.insert(family.to_owned()), "{}", line);
                    continue;
                }
                let (sample, value) = line.rsplit_once(' ').unwrap();
                prop_assert!(value.parse::<f64>().is_ok() && series.insert(sample.to_owned()), "{}", line);
                let (name, labels) = sample.split_once('{').unwrap_or((sample, "}"));
                prop_assert!(is_name(name, true) && labels.ends_with('}'), "{}", line);
            }
        }
    }
}
