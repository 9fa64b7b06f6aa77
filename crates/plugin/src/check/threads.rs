//! Calls from eight threads at once, as the decoder declares that they may be made.

use super::columns::failed;
use super::point::{LANES, Place};
use super::{Outcome, Subject};
use crate::Threads;
use gfe_model::Decoder;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A place, and what one thread alone computes there.
type Alone = (Place, Vec<Vec<f64>>);

/// Threads that call at once.
const THREADS: usize = 8;
/// How long they go on: a collision is a matter of chance.
const TIME: Duration = Duration::from_millis(600);

/// A decoder that is used from several threads at once because it says that it may be.
struct Together<'a>(&'a dyn Decoder);

// SAFETY: the decoder declares SHARED, and this is the check of it.
unsafe impl Sync for Together<'_> {}

pub(crate) fn declared(of: &Subject<'_>) -> Outcome {
    let threads = of.plugin.listed().threads;
    if threads == Threads::Process {
        return Outcome::Passed("one call at a time is made in the whole library".into());
    }
    let own: Result<Vec<Box<dyn Decoder>>, _> = (0..THREADS).map(|_| of.plugin.decoder()).collect();
    let own = match own {
        Ok(own) => own,
        Err(error) => return Outcome::Failed(format!("an instance per thread cannot be made: {error}")),
    };
    // What one thread alone computes; every thread has other points than its neighbors.
    let alone: Result<Vec<Alone>, _> = (0..THREADS)
        .map(|thread| {
            let place = of
                .place
                .pick(&[thread % LANES, (thread + 3) % LANES, (thread + 5) % LANES]);
            place.everything(of.decoder).map(|rows| (place, rows))
        })
        .collect();
    let alone = match alone {
        Ok(alone) => alone,
        Err(error) => return failed(&error),
    };
    let (shared, stop, start) = (Together(of.decoder), AtomicBool::new(false), Instant::now());
    let found: Vec<Result<usize, String>> = std::thread::scope(|scope| {
        let workers: Vec<_> = own
            .into_iter()
            .zip(&alone)
            .map(|(own, (place, expected))| {
                let (shared, stop) = (&shared, &stop);
                scope.spawn(move || {
                    // The whole wrapper, and not the decoder alone, is what may be shared.
                    let shared: &Together<'_> = shared;
                    let decoder = if threads == Threads::Shared { shared.0 } else { &*own };
                    let mut calls = 0;
                    while calls < 20 || (start.elapsed() < TIME && !stop.load(Ordering::Relaxed)) {
                        let rows = place.everything(decoder).map_err(|error| error.to_string())?;
                        let mut pairs = rows.iter().flatten().zip(expected.iter().flatten());
                        if pairs.any(|(a, b)| a.to_bits() != b.to_bits()) {
                            stop.store(true, Ordering::Relaxed);
                            return Err("results change while other threads call".to_owned());
                        }
                        calls += 1;
                    }
                    Ok(calls)
                })
            })
            .collect();
        let joined = workers.into_iter().map(|worker| worker.join());
        joined
            .map(|result| result.unwrap_or_else(|_| Err("a thread panicked".into())))
            .collect()
    });
    let calls: usize = found.iter().filter_map(|found| found.as_ref().ok()).sum();
    match found.into_iter().find_map(Result::err) {
        Some(text) => Outcome::Failed(format!("it declares {} and is not: {text}", threads.name())),
        None => Outcome::Passed(format!(
            "{}: {calls} rounds from {THREADS} threads gave the same bits",
            threads.name()
        )),
    }
}
