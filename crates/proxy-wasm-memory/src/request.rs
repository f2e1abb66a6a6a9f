use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use proxy_wasm_runtime::{
    HeaderChange, HttpStream,
    abi::{HeaderMap, pairs::Pair, property::Value},
};

use crate::{Shared, lock};

/// Names and values, in their order.
pub type Headers = Vec<(Vec<u8>, Vec<u8>)>;

/// A request and its response. Clones share everything but the body.
#[derive(Clone, Default)]
pub struct Request {
    /// The header maps; one that is missing is empty.
    pub maps: Shared<BTreeMap<u32, Headers>>,
    /// What plugins find at a path, with NUL between its parts.
    pub properties: Shared<BTreeMap<Vec<u8>, Value<'static>>>,
    /// The part of the body that a callback is about.
    pub body: Option<Arc<[u8]>>,
    /// There are headers that [`HttpStream::headers`] does not give.
    pub hides_headers: bool,
}

impl Request {
    /// A request with these headers.
    pub fn with_headers(headers: &[(&str, &str)]) -> Self {
        let request = Self::default();
        request.set_headers(HeaderMap::RequestHeaders, headers);
        request
    }

    /// A request, or a response, with this part of its body.
    pub fn with_body(body: &str) -> Self {
        Self { body: Some(body.as_bytes().into()), ..Self::default() }
    }

    /// Gives a map these headers and no others.
    pub fn set_headers(&self, map: HeaderMap, headers: &[(&str, &str)]) {
        let headers = headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        lock(&self.maps).insert(map as u32, headers);
    }

    /// Sets what plugins find at a path, with NUL between its parts.
    pub fn set_property(&self, path: &[u8], value: Value<'static>) {
        lock(&self.properties).insert(path.to_vec(), value);
    }

    /// The headers of a map.
    pub fn map(&self, map: HeaderMap) -> Headers {
        lock(&self.maps).get(&(map as u32)).cloned().unwrap_or_default()
    }

    /// The first value of a header.
    pub fn value(&self, map: HeaderMap, name: &str) -> Option<Vec<u8>> {
        self.map(map).into_iter().find(|(other, _)| *other == name.as_bytes()).map(|(_, value)| value)
    }
}

impl HttpStream for Request {
    fn header_count(&self, map: HeaderMap) -> u32 {
        u32::try_from(self.map(map).len()).unwrap_or(u32::MAX)
    }

    fn headers(&self, map: HeaderMap) -> Vec<Pair<'_>> {
        self.map(map).into_iter().map(|(name, value)| (Cow::from(name), Cow::from(value))).collect()
    }

    fn knows_all_headers(&self, _: HeaderMap) -> bool {
        !self.hides_headers
    }

    fn header(&self, map: HeaderMap, name: &[u8]) -> Option<Cow<'_, [u8]>> {
        self.map(map).into_iter().find(|(other, _)| other == name).map(|(_, value)| Cow::from(value))
    }

    fn change_header(&self, map: HeaderMap, name: &[u8], change: HeaderChange<'_>) {
        let mut maps = lock(&self.maps);
        let headers = maps.entry(map as u32).or_default();
        if !matches!(change, HeaderChange::Add(_)) {
            headers.retain(|(other, _)| other != name);
        }
        if let HeaderChange::Add(value) | HeaderChange::Replace(value) = change {
            headers.push((name.to_vec(), value.to_vec()));
        }
    }

    fn body(&self) -> Option<&[u8]> {
        self.body.as_deref()
    }

    fn property(&self, path: &[u8]) -> Option<Value<'_>> {
        lock(&self.properties).get(path).cloned()
    }

    fn set_property(&self, path: &[u8], value: &[u8]) {
        self.set_property(path, Value::Bytes(Cow::from(value.to_vec())));
    }
}
