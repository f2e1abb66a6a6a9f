use std::{sync::Arc, time::Duration};

/// How a plugin is loaded.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The plugin's name: its properties `plugin_name` and `plugin_root_id`.
    pub name: Arc<str>,
    /// Plugins with the same id share their data and find each other's queues; it is the property `plugin_vm_id`.
    pub vm_id: Arc<str>,
    /// What `proxy_on_vm_start` is given; may be empty.
    pub vm_configuration: Arc<[u8]>,
    /// Bytes of header values that are no UTF-8 reach the guest as `%XX`, instead of as they are.
    pub escape_invalid_utf8: bool,
    /// How long what the plugin shares is kept after it was set; `None` for as long as there is room.
    pub shared_data_ttl: Option<Duration>,
}

impl Options {
    /// Those of a plugin about which nothing is known but its name, which is its `vm_id` then.
    pub fn new(name: &str) -> Self {
        Self { name: name.into(), vm_id: name.into(), ..Self::default() }
    }
}
