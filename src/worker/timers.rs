//! What a worker does without a request: `proxy_on_tick`, polls of queues, and the publication of metrics. One timer of Lua's
//! drives all of it, or one for each location that has plugins configured: callouts take their resolver from it.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    hash::BuildHasherDefault,
    rc::Rc,
    time::{Duration, Instant},
};

use proxy_wasm_runtime::{
    context::IdMap,
    timers::{SHORTEST, Time, Timer, Timers},
    vm,
};

use super::{Handle, WORKER, Watch, Worker, deliver, pending, publish, publish_soon};
use crate::nginx::process_goes_on;

/// The time between polls of queues.
const QUEUE_PERIOD: Duration = Duration::from_millis(100);
/// How long metrics are counted here before they are published.
const METRICS_PERIOD: Duration = Duration::from_secs(1);
/// How long the Lua code that watches sleeps when nothing is due.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);
/// When tasks have run for so long, other events of nginx have their turn.
const TURN: Duration = Duration::from_millis(10);

/// What is to be done, and when.
pub struct Schedule {
    timers: RefCell<Timers<Task>>,
    /// By the keys of plugin contexts.
    ticks: RefCell<IdMap<Tick, u64>>,
    poll: Cell<Poll>,
    /// The context with whose queues the next poll begins.
    polled_next: Cell<usize>,
    /// The tokens of callouts that wait to be delivered.
    undelivered: RefCell<IdMap<Time>>,
    /// When metrics are published, if they are to be.
    pub publication: Cell<Option<Time>>,
    /// Until when the Lua code that waits for what comes up when no other runs sleeps.
    watch_sleeps_until: Cell<Option<Instant>>,
}

#[derive(Clone, Copy)]
enum Task {
    /// Of the plugin context with this key.
    Tick(u64),
    PollQueues,
    Publish,
    /// To tell a plugin what its callout with this token has brought.
    Deliver(u32),
}

struct Tick {
    period: Duration,
    next: Time,
}

/// When queues are polled next.
#[derive(Clone, Copy)]
enum Poll {
    /// Nothing waits for a queue.
    Never,
    Later(Time),
    /// As soon as nginx has looked at its other events.
    Soon(Time),
}

impl Schedule {
    pub const fn new() -> Self {
        Self {
            timers: RefCell::new(Timers::new()),
            ticks: RefCell::new(HashMap::with_hasher(BuildHasherDefault::new())),
            poll: Cell::new(Poll::Never),
            polled_next: Cell::new(0),
            undelivered: RefCell::new(HashMap::with_hasher(BuildHasherDefault::new())),
            publication: Cell::new(None),
            watch_sleeps_until: Cell::new(None),
        }
    }

    fn add(&self, delay: Duration, task: Task) -> Time {
        WORKER.set_pending(pending::WORK);
        self.timers.borrow_mut().add(Instant::now() + delay, task)
    }

    fn remove(&self, time: Time) {
        self.timers.borrow_mut().remove(time);
    }

    fn set_tick(&self, key: u64, period: Option<Duration>) {
        self.end_tick(key);
        if let Some(period) = period {
            self.tick_after(period, key, period);
        }
    }

    fn tick_after(&self, delay: Duration, key: u64, period: Duration) {
        let next = self.add(delay, Task::Tick(key));
        self.ticks.borrow_mut().insert(key, Tick { period, next });
    }

    /// Delivers a callout later.
    pub fn deliver_after(&self, delay: Duration, token: u32) {
        if !self.undelivered.borrow().contains_key(&token) {
            let time = self.add(delay, Task::Deliver(token));
            self.undelivered.borrow_mut().insert(token, time);
        }
    }

    /// A plugin context has no ticks any more.
    pub fn end_tick(&self, key: u64) {
        if let Some(tick) = self.ticks.borrow_mut().remove(&key) {
            self.remove(tick.next);
        }
    }

    pub fn publish_later(&self) {
        self.publication.set(Some(self.add(METRICS_PERIOD, Task::Publish)));
    }

    fn poll_after(&self, delay: Duration) {
        if let Poll::Later(time) | Poll::Soon(time) = self.poll.get() {
            self.remove(time);
        }
        let time = self.add(delay, Task::PollQueues);
        self.poll.set(if delay.is_zero() { Poll::Soon(time) } else { Poll::Later(time) });
    }

    /// Has the Lua code that watches wake up in time to see that a timer was lost.
    fn wake_watch(&self, now: Instant) {
        let Some(patience) = self.timers.borrow().patience(now) else { return };
        if let Watch::Kept(semaphore) = &*WORKER.watch.borrow()
            && self.watch_sleeps_until.get().is_some_and(|until| until > now + patience)
        {
            self.watch_sleeps_until.set(None);
            semaphore.post();
        }
    }
}

/// Remembers that a guest wants `proxy_on_tick` every `period` milliseconds, or with 0 no more.
pub fn set_tick_period(key: u64, period: u32) {
    WORKER.schedule.set_tick(key, (period > 0).then(|| Duration::from_millis(period.into())));
}

/// Has queues polled from now on.
pub fn watch_queues() {
    if matches!(WORKER.schedule.poll.get(), Poll::Never) {
        WORKER.schedule.poll_after(QUEUE_PERIOD);
    }
}

/// Has queues polled at once, if they are polled at all.
pub fn poll_queues_soon() {
    if matches!(WORKER.schedule.poll.get(), Poll::Later(_)) {
        WORKER.schedule.poll_after(Duration::ZERO);
    }
}

/// The timer that Lua code of this configuration is to start, if one is needed.
pub fn next_timer(configuration: usize) -> Option<Timer> {
    WORKER.clear_pending(pending::TIMER_REFUSED);
    let now = Instant::now();
    let timer = WORKER.schedule.timers.borrow_mut().next_timer(configuration, now)?;
    WORKER.schedule.wake_watch(now);
    Some(timer)
}

/// nginx has refused a timer. It is asked for again with the next call of the library, and by the Lua code that watches.
pub fn timer_refused(configuration: usize, number: u64) {
    WORKER.schedule.timers.borrow_mut().refused(configuration, number);
    WORKER.set_pending(pending::TIMER_REFUSED);
    WORKER.schedule.wake_watch(Instant::now());
}

/// A timer that code of this configuration started has fired.
pub fn on_timer(configuration: usize, number: u64) {
    WORKER.schedule.timers.borrow_mut().fired(configuration, number);
    if process_goes_on() {
        WORKER.do_what_is_due(configuration);
    }
}

/// How long the Lua code that watches may sleep. When something is due for which there is no timer, it is done at once.
pub fn before_watch_sleeps(configuration: usize) -> Duration {
    if !process_goes_on() {
        return LONGEST_SLEEP;
    }
    let now = Instant::now();
    let patience =
        WORKER.schedule.timers.borrow().patience(now).map_or(LONGEST_SLEEP, |patience| patience.min(LONGEST_SLEEP));
    if patience < SHORTEST {
        WORKER.do_what_is_due(configuration);
        return SHORTEST;
    }
    WORKER.schedule.watch_sleeps_until.set(Some(now + patience));
    patience
}

impl Worker {
    /// Does what is due, in turns: what comes up meanwhile waits for the next one.
    fn do_what_is_due(&self, configuration: usize) {
        let start = Instant::now();
        // nginx's clock is up to a millisecond behind.
        while let Some((time, task)) = { self.schedule.timers.borrow_mut().pop(configuration, start + SHORTEST) } {
            match task {
                Task::Tick(key) => self.tick(key, time),
                Task::PollQueues => self.poll_queues(time),
                Task::Publish => {
                    self.schedule.publication.set(None);
                    publish();
                }
                Task::Deliver(token) => {
                    self.schedule.undelivered.borrow_mut().remove(&token);
                    deliver(token);
                }
            }
            if start.elapsed() >= TURN {
                break;
            }
        }
        self.forget_retired();
        self.set_pending(pending::WORK);
    }

    fn tick(&self, key: u64, time: Time) {
        publish_soon();
        let Some(handle) = self.handle_of(key) else { return self.schedule.end_tick(key) };
        let period = || self.schedule.ticks.borrow().get(&key).filter(|tick| tick.next == time).map(|tick| tick.period);
        let plugin = handle.context.plugin();
        if let (Some(rest), Some(period)) = (plugin.background_rest(), period()) {
            return self.schedule.tick_after(rest, key, period);
        }
        // Why it failed is in the log; the next one may find a new instance.
        let _ = plugin.in_background(|| handle.context.on_tick());
        let period = period();
        // The guest may have set another meanwhile.
        if period.is_some() {
            self.schedule.set_tick(key, period.filter(|_| !handle.context.is_gone()));
        }
    }

    fn poll_queues(&self, time: Time) {
        self.schedule.poll.set(Poll::Later(time));
        let until = Instant::now() + TURN;
        let contexts = self.contexts.borrow().clone();
        let mut handles: Vec<(usize, Rc<Handle>)> =
            contexts.into_iter().enumerate().filter_map(|(index, slot)| Some((index, slot?))).collect();
        // Who had no turn in the last poll is first.
        let first = handles.partition_point(|(index, _)| *index < self.schedule.polled_next.get());
        handles.rotate_left(first);
        self.schedule.polled_next.set(0);
        let mut polls = Vec::with_capacity(handles.len());
        for (index, handle) in &handles {
            if Instant::now() >= until {
                self.schedule.polled_next.set(*index);
                polls.push(vm::QueuePoll::More);
                break;
            }
            let plugin = handle.context.plugin();
            polls.push(match plugin.background_rest() {
                Some(_) => vm::QueuePoll::Idle,
                None => plugin.in_background(|| handle.context.poll_queues(until)),
            });
        }
        // A guest that was told may have put in another message.
        if matches!(self.schedule.poll.get(), Poll::Soon(_)) {
            return;
        }
        if polls.contains(&vm::QueuePoll::More) {
            self.schedule.poll_after(Duration::ZERO);
        } else if polls.iter().any(|poll| *poll != vm::QueuePoll::Unused) {
            self.schedule.poll_after(QUEUE_PERIOD);
        } else {
            self.schedule.poll.set(Poll::Never);
        }
    }
}
