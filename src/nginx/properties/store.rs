use std::collections::BTreeMap;

/// What one request keeps of its properties.
#[derive(Default)]
pub struct Properties {
    /// What plugins set, by path.
    set: BTreeMap<Box<[u8]>, Box<[u8]>>,
    /// How many bytes that is.
    size: usize,
    /// What APISIX said, for when it can't be asked.
    apisix: Vec<(&'static str, Box<[u8]>)>,
    /// The details of a plugin's local reply.
    pub code_details: Option<Box<[u8]>>,
}

/// How many bytes of names and values the plugins of one request can set.
pub const LARGEST: usize = 1 << 20;

impl Properties {
    /// What plugins set the property to.
    pub fn get(&self, path: &[u8]) -> Option<&[u8]> {
        self.set.get(path).map(AsRef::as_ref)
    }

    /// Sets a property. Returns `false` when the request has no room for it: it stays as it was.
    pub fn set(&mut self, path: &[u8], value: &[u8]) -> bool {
        let replaced = self.set.get(path).map_or(0, |old| path.len() + old.len());
        let size = self.size - replaced + path.len() + value.len();
        if size > LARGEST {
            return false;
        }
        self.size = size;
        self.set.insert(path.into(), value.into());
        true
    }

    /// What APISIX said last.
    pub fn apisix(&self, name: &str) -> Option<&[u8]> {
        self.apisix.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_ref())
    }

    /// Remembers what APISIX said.
    pub fn set_apisix(&mut self, name: &'static str, value: &[u8]) {
        match self.apisix.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) if known.as_ref() == value => {}
            Some((_, known)) => *known = value.into(),
            None => self.apisix.push((name, value.into())),
        }
    }
}
