//! A sum of vectors from several threads, in a fixed order.

use std::sync::{Condvar, Mutex, PoisonError};

/// Takes part 0, then part 1, ..., whoever brings them: a thread that comes too early waits, so that there is one part in
/// memory for each thread and no more. Parts must be begun in order.
pub(super) struct Sum<'p> {
    state: Mutex<State<'p>>,
    changed: Condvar,
}

struct State<'p> {
    next: usize,
    abandoned: bool,
    total: &'p mut [f64],
}

/// Abandons the sum where its thread panics.
pub(super) struct Guard<'s, 'p>(&'s Sum<'p>);

impl Drop for Guard<'_, '_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.abandon();
        }
    }
}

impl<'p> Sum<'p> {
    /// A sum that is added to `total`.
    pub(super) fn new(total: &'p mut [f64]) -> Self {
        Sum {
            state: Mutex::new(State {
                next: 0,
                abandoned: false,
                total,
            }),
            changed: Condvar::new(),
        }
    }

    /// To be held by every thread that adds.
    pub(super) fn guard(&self) -> Guard<'_, 'p> {
        Guard(self)
    }

    /// No further part is wanted.
    pub(super) fn abandon(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).abandoned = true;
        self.changed.notify_all();
    }

    /// Adds part `index` once those before it are in; false where the sum was abandoned.
    pub(super) fn add(&self, index: usize, part: &[f64]) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = |state: &mut State<'_>| state.next != index && !state.abandoned;
        let state = self.changed.wait_while(state, waiting);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        if state.abandoned {
            return false;
        }
        state
            .total
            .iter_mut()
            .zip(part)
            .for_each(|(total, part)| *total += part);
        state.next += 1;
        drop(state);
        self.changed.notify_all();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::Sum;

    #[test]
    fn parts_are_added_in_their_order_whoever_is_first() {
        // In floating point (1e16 + 1) - 1e16 is 0 and (1e16 - 1e16) + 1 is 1.
        for (parts, expected) in [([1e16, 1.0, -1e16], 0.0), ([1e16, -1e16, 1.0], 1.0)] {
            let mut total = [0.0];
            let sum = Sum::new(&mut total);
            std::thread::scope(|scope| {
                let sum = &sum;
                for index in [2, 0, 1] {
                    scope.spawn(move || assert!(sum.add(index, &[parts[index]])));
                    std::thread::sleep(std::time::Duration::from_millis(5));
                }
            });
            assert_eq!(total, [expected]);
        }
    }

    #[test]
    fn a_thread_that_panics_leaves_none_waiting() {
        let mut total = [0.0];
        let sum = Sum::new(&mut total);
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| sum.add(1, &[1.0]));
            let panics = scope.spawn(|| {
                let _guard = sum.guard();
                panic!("a decoder's bug");
            });
            assert!(panics.join().is_err());
            assert!(!waits.join().expect("it does not panic"));
        });
    }
}
