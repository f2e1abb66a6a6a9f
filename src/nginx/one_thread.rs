/// A static value of the one thread on which nginx runs everything: Lua, plugins and cleanup handlers.
///
/// Unlike a thread-local it costs no lookup, and nothing is freed at the end of the process, where finalizers still run.
pub struct OneThread<T>(T);

// SAFETY: nginx has one thread that runs Lua and request handlers. What is in here is reached from Lua, from a cleanup handler or
// from a fork's handler, all of which run on that thread. The one thread that this library starts (`ticker`) touches none of it.
unsafe impl<T> Sync for OneThread<T> {}

impl<T> OneThread<T> {
    /// The value of a static.
    pub const fn new(value: T) -> Self {
        Self(value)
    }
}

impl<T> std::ops::Deref for OneThread<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
