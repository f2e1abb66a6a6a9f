use callout_client::Connection;

/// How many connections are remembered; the oldest are forgotten first.
const MOST: usize = 256;

/// The state of HTTP/2 connections whose sockets wait in nginx's pools: each in a pool of its own, for no other socket can take
/// its place.
pub struct Connections {
    last_number: u32,
    /// Oldest first.
    idle: Vec<(Pool, Connection)>,
}

/// A pool of nginx that has one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// The server, as in the names of pools of many.
    pub server: String,
    number: u32,
}

impl Pool {
    /// Its name for nginx.
    pub fn name(&self) -> String {
        format!("{}:{}", self.server, self.number)
    }
}

impl Connections {
    pub const fn new() -> Self {
        Self { last_number: 0, idle: Vec::new() }
    }

    /// The connection to `server` that was used last, and its pool; or a new pool.
    pub fn take(&mut self, server: String) -> (Pool, Option<Connection>) {
        if let Some(index) = self.idle.iter().rposition(|(pool, _)| pool.server == server) {
            let (pool, connection) = self.idle.remove(index);
            return (pool, Some(connection));
        }
        self.last_number = self.last_number.wrapping_add(1);
        (Pool { server, number: self.last_number }, None)
    }

    /// Keeps a connection whose socket has gone into its pool.
    pub fn keep(&mut self, pool: Pool, connection: Connection) {
        if self.idle.len() >= MOST {
            self.idle.remove(0);
        }
        self.idle.push((pool, connection));
    }
}
