//! What is to be done later, for a proxy whose timers are few: one drives everything. The proxy may refuse a timer, and may lose
//! one.

use std::{
    collections::BTreeMap,
    hash::BuildHasherDefault,
    mem,
    time::{Duration, Instant},
};

use crate::context::IdMap;

/// The shortest delay of a timer: the proxy looks at its other events before it fires.
pub const SHORTEST: Duration = Duration::from_millis(1);
/// The longest, 11 days. What is due later is asked for again.
const LONGEST: Duration = Duration::from_secs(1_000_000);
/// A timer that is so late has been lost.
const LATE: Duration = Duration::from_secs(1);

/// When a task is due. No other task has the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    at: Instant,
    number: u64,
}

/// A timer that the proxy is to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timer {
    /// When it fires, from now on.
    pub delay: Duration,
    /// Tells it from every other timer.
    pub number: u64,
}

/// Tasks by the time when they are due, and the timers that are to fire for them.
///
/// A task belongs to the place that asks for a timer first after the task was added. Where a timer is refused or lost, tasks
/// belong to nobody again. A place has at most one timer, and others that were asked for before something nearer came up.
pub struct Timers<T> {
    unclaimed: BTreeMap<Time, T>,
    places: IdMap<Place<T>, usize>,
    /// How many tasks and timers there have been.
    last: u64,
}

struct Place<T> {
    due: BTreeMap<Time, T>,
    /// The timers that have not fired, the nearest last.
    asked: Vec<Time>,
}

impl<T> Default for Place<T> {
    fn default() -> Self {
        Self { due: BTreeMap::new(), asked: Vec::new() }
    }
}

impl<T> Place<T> {
    /// Whether a timer fires before anything is due, or as soon as one that is asked for now.
    fn is_covered(&self, now: Instant) -> bool {
        let Some(first) = self.due.keys().next() else { return true };
        self.asked.last().is_some_and(|asked| asked.at <= first.at.max(now + SHORTEST))
    }
}

impl<T> Timers<T> {
    /// None.
    pub const fn new() -> Self {
        Self { unclaimed: BTreeMap::new(), places: IdMap::with_hasher(BuildHasherDefault::new()), last: 0 }
    }

    /// Has a task done at a time. The proxy is to ask for [`Self::next_timer`].
    pub fn add(&mut self, at: Instant, task: T) -> Time {
        let time = self.time(at);
        self.unclaimed.insert(time, task);
        time
    }

    /// Takes a task back, if it has not been taken.
    pub fn remove(&mut self, time: Time) -> Option<T> {
        let claimed = || self.places.values_mut().find_map(|place| place.due.remove(&time));
        self.unclaimed.remove(&time).or_else(claimed)
    }

    /// The timer that a place is to start, if it needs one. It takes on what belongs to nobody.
    ///
    /// One that is nearer than another leaves at least half of the time until that one, so that their number is bounded by the
    /// logarithm of the longest delay.
    pub fn next_timer(&mut self, place: usize, now: Instant) -> Option<Timer> {
        self.forget_lost(now);
        if self.unclaimed.is_empty() && !self.places.contains_key(&place) {
            return None;
        }
        let number = self.last + 1;
        let entry = self.places.entry(place).or_default();
        merge(&mut self.unclaimed, &mut entry.due);
        if entry.is_covered(now) {
            return None;
        }
        let first = entry.due.keys().next()?.at.saturating_duration_since(now);
        let before = entry.asked.last().map_or(LONGEST, |asked| asked.at.saturating_duration_since(now) / 2);
        let delay = first.min(before).max(SHORTEST);
        entry.asked.push(Time { at: now + delay, number });
        self.last = number;
        Some(Timer { delay, number })
    }

    /// A timer was refused: what it was for belongs to nobody until somebody asks again.
    pub fn refused(&mut self, place: usize, number: u64) {
        let Some(mut entry) = self.places.remove(&place) else { return };
        merge(&mut entry.due, &mut self.unclaimed);
        entry.asked.retain(|asked| asked.number != number);
        if !entry.asked.is_empty() {
            self.places.insert(place, entry);
        }
    }

    /// A timer has fired.
    pub fn fired(&mut self, place: usize, number: u64) {
        if let Some(entry) = self.places.get_mut(&place) {
            entry.asked.retain(|asked| asked.number != number);
        }
    }

    /// Takes the first task of a place, or of nobody, that is due before `until`.
    pub fn pop(&mut self, place: usize, until: Instant) -> Option<(Time, T)> {
        let entry = self.places.entry(place).or_default();
        merge(&mut self.unclaimed, &mut entry.due);
        let first = entry.due.first_entry().filter(|first| first.key().at < until).map(|first| first.remove_entry());
        if entry.due.is_empty() && entry.asked.is_empty() {
            self.places.remove(&place);
        }
        first
    }

    /// How long nobody need look whether something is due for which there is no timer, or no timer any more; `None` for ever.
    pub fn patience(&self, now: Instant) -> Option<Duration> {
        let unclaimed = self.unclaimed.keys().next().map(|first| first.at);
        let asked = self.places.values().filter_map(|place| place.asked.last()).map(|asked| asked.at + LATE);
        Some(asked.chain(unclaimed).min()?.saturating_duration_since(now))
    }

    /// What timers that are lost were for belongs to nobody.
    fn forget_lost(&mut self, now: Instant) {
        let unclaimed = &mut self.unclaimed;
        self.places.retain(|_, place| {
            let count = place.asked.len();
            place.asked.retain(|asked| asked.at + LATE >= now);
            if place.asked.len() < count && !place.is_covered(now) {
                merge(&mut place.due, unclaimed);
            }
            !place.due.is_empty() || !place.asked.is_empty()
        });
    }

    fn time(&mut self, at: Instant) -> Time {
        self.last += 1;
        Time { at, number: self.last }
    }
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Moves everything; the smaller into the larger.
fn merge<T>(from: &mut BTreeMap<Time, T>, into: &mut BTreeMap<Time, T>) {
    if from.len() > into.len() {
        mem::swap(from, into);
    }
    into.extend(mem::take(from));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HERE: usize = 1;
    const THERE: usize = 2;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn one_timer_is_for_all_tasks_and_fires_for_the_first() {
        let (mut timers, now) = (Timers::new(), Instant::now());
        timers.add(now + ms(300), "late");
        timers.add(now + ms(200), "early");
        let timer = timers.next_timer(HERE, now).unwrap();
        assert_eq!(timer.delay, ms(200));
        timers.add(now + ms(250), "between");
        assert_eq!(timers.next_timer(HERE, now), None);
        timers.fired(HERE, timer.number);
        let due: Vec<_> = std::iter::from_fn(|| timers.pop(HERE, now + ms(251))).map(|(_, task)| task).collect();
        assert_eq!(due, ["early", "between"]);
        assert_eq!(timers.next_timer(HERE, now + ms(251)).unwrap().delay, ms(49));
    }

    #[test]
    fn a_task_that_was_taken_back_is_not_due() {
        let (mut timers, now) = (Timers::new(), Instant::now());
        let (claimed, other) = (timers.add(now, 1), timers.add(now, 2));
        timers.next_timer(HERE, now);
        let unclaimed = timers.add(now, 3);
        assert_eq!(timers.remove(claimed), Some(1));
        assert_eq!(timers.remove(claimed), None);
        assert_eq!(timers.remove(unclaimed), Some(3));
        assert_eq!(timers.pop(HERE, now + ms(1)), Some((other, 2)));
        assert_eq!(timers.pop(HERE, now + ms(1)), None);
    }

    #[test]
    fn a_task_is_done_where_a_timer_was_asked_for_after_it_came() {
        let (mut timers, now) = (Timers::new(), Instant::now());
        timers.add(now, 1);
        assert!(timers.next_timer(HERE, now).is_some());
        assert_eq!(timers.next_timer(THERE, now), None);
        assert_eq!(timers.pop(THERE, now + ms(1)), None);
        assert!(timers.pop(HERE, now + ms(1)).is_some());
    }

    #[test]
    fn what_a_refused_timer_was_for_is_done_where_one_is_asked_for_next() {
        let (mut timers, now) = (Timers::new(), Instant::now());
        timers.add(now + ms(10), 1);
        let timer = timers.next_timer(HERE, now).unwrap();
        timers.refused(HERE, timer.number);
        assert_eq!(timers.patience(now), Some(ms(10)));
        assert_eq!(timers.next_timer(THERE, now).unwrap().delay, ms(10));
        assert_eq!(timers.next_timer(HERE, now), None);
    }

    #[test]
    fn what_a_lost_timer_was_for_is_done_where_one_is_asked_for_next() {
        let (mut timers, now) = (Timers::new(), Instant::now());
        timers.add(now + ms(10), 1);
        assert!(timers.next_timer(HERE, now).is_some());
        assert_eq!(timers.patience(now), Some(ms(10) + LATE));
        assert_eq!(timers.next_timer(THERE, now + ms(10) + LATE), None);
        assert_eq!(timers.next_timer(THERE, now + ms(11) + LATE).unwrap().delay, SHORTEST);
    }

    #[test]
    fn with_nothing_to_do_there_is_no_timer_and_nobody_need_look() {
        let (mut timers, now) = (Timers::new(), Instant::now());
        let time = timers.add(now, 1);
        let timer = timers.next_timer(HERE, now).unwrap();
        timers.remove(time);
        timers.fired(HERE, timer.number);
        assert_eq!(timers.pop(HERE, now + ms(1)), None);
        assert_eq!(timers.next_timer(HERE, now), None);
        assert_eq!(timers.patience(now), None);
    }

    proptest! {
        /// However often something nearer comes up, few timers wait; and there is always one that fires before something is due.
        #[test]
        fn few_timers_wait(delays in proptest::collection::vec(0..100_000_000_u64, 1..200)) {
            let (mut timers, now) = (Timers::new(), Instant::now());
            for delay in delays {
                timers.add(now + ms(delay), delay);
                timers.next_timer(HERE, now);
                let place = &timers.places[&HERE];
                prop_assert!(place.asked.len() <= 32);
                prop_assert!(place.asked.is_sorted_by(|one, next| one >= next));
                prop_assert!(place.asked.last().unwrap().at <= place.due.keys().next().unwrap().at.max(now + SHORTEST));
            }
        }

        /// Whatever is refused and lost, each task is done once, and not before its time.
        #[test]
        fn each_task_is_done_once(steps in proptest::collection::vec((0..5_u8, 0..3_usize, 0..2000_u64), 0..100)) {
            let (mut timers, mut now) = (Timers::new(), Instant::now());
            let (mut added, mut done, mut waiting) = (0, 0, Vec::new());
            for (step, place, time) in steps {
                match step {
                    0 => {
                        timers.add(now + ms(time), now + ms(time));
                        added += 1;
                    }
                    1 => waiting.extend(timers.next_timer(place, now).map(|timer| (place, timer.number))),
                    2 => waiting.pop().into_iter().for_each(|(place, number)| timers.refused(place, number)),
                    3 => {
                        waiting.pop().into_iter().for_each(|(place, number)| timers.fired(place, number));
                        while let Some((_, at)) = timers.pop(place, now) {
                            prop_assert!(at < now);
                            done += 1;
                        }
                    }
                    _ => now += ms(time),
                }
            }
            now += ms(5000);
            // Lost timers have others take on what they were for.
            timers.next_timer(9, now);
            for place in [0, 1, 2, 9] {
                while timers.pop(place, now).is_some() {
                    done += 1;
                }
            }
            prop_assert_eq!(done, added);
        }
    }
}
