//! What HDF5 may take while it looks at a file that somebody else wrote: so much processor time, so much memory, and not
//! the whole program where it crashes.
//!
//! HDF5 2.2.0 does all of that on damaged files: it goes for ever from object to object of length 0 in a global heap, fills
//! gigabytes for a text whose length is a lie, and reads before the start of a chunk that is shorter than its checksum. A
//! process of its own for every file would hold all of it off too, and would have to send every row through a pipe; here
//! the thread's own clock ends the program with a sentence and the exit code of bad data, and so do the signals of a crash.
//! The clock is of processor time, since a file system may be slow for good reasons. Memory is bounded by the limit of
//! the process' address space, which holds only while a file is opened, when there are no other threads that it could hit.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::ffi::c_void;
use std::mem::{MaybeUninit, zeroed};
use std::path::Path;
use std::sync::Once;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::access;

/// Processor time for opening a file: a hundred times what 50 datasets with attributes take.
pub(crate) const OPENING: Duration = Duration::from_secs(1);
/// Memory for the same, beyond what the process has.
const MEMORY: u64 = 96 << 20;
/// Exit code of bad data, BSD's EX_DATAERR.
const EXIT: i32 = 65;
/// The signal of the clock: nothing else in the program uses it.
const CLOCK: i32 = libc::SIGVTALRM;
/// The signals by which broken code dies.
const CRASHES: [i32; 5] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGABRT];

/// What the handler says of a file.
struct Told {
    crash: String,
    hang: String,
    clock: Option<libc::timer_t>,
    /// The limit of the address space before it was bounded.
    before: Option<Rlimit>,
}

thread_local! {
    /// Of the file that this thread lets HDF5 look at; a handler may read it, since it needs neither set-up nor tear-down.
    static TOLD: Cell<*const Told> = const { Cell::new(std::ptr::null()) };
}

/// Runs what opens `path` and looks at its structure, with a bound on processor time, and on memory in a process that has
/// said by [`set_access`](crate::set_access) that its files are opened by its first thread.
pub(crate) fn opening<T>(path: &Path, run: impl FnOnce() -> T) -> T {
    within(path, OPENING, access::is_set(), run)
}

/// Runs what reads up to `bytes` of values, with a bound on processor time: that of opening, and a second per 16 MiB. Texts
/// keep the bound on memory of an opening around it.
pub(crate) fn reading<T>(path: &Path, (bytes, texts): (u64, bool), run: impl FnOnce() -> T) -> T {
    let time = OPENING.saturating_add(Duration::from_secs(bytes >> 24));
    within(path, time.min(Duration::from_secs(3600)), texts, run)
}

fn within<T>(path: &Path, time: Duration, bounds_memory: bool, run: impl FnOnce() -> T) -> T {
    // SAFETY: the section that set it lives until it sets it back, on this thread, and only this thread reads it.
    if let Some(told) = unsafe { TOLD.get().as_ref() } {
        // A read of values while a file is opened has its own time, and the memory that the caller has found to be right;
        // afterwards the look goes on.
        set_clock(told.clock, time);
        let within = told.before.filter(|_| !bounds_memory);
        let bound = within.map(|_| getrlimit(Resource::As));
        if let Some(before) = within {
            let _ = setrlimit(Resource::As, before);
        }
        let done = run();
        if let Some(bound) = bound {
            let _ = setrlimit(Resource::As, bound);
        }
        set_clock(told.clock, OPENING);
        return done;
    }
    install();
    let path = path.display();
    let told = Told {
        crash: format!("gfe: {path}: damaged in a way that crashes HDF5: fetch or write it again\n"),
        hang: format!("gfe: {path}: damaged in a way that keeps HDF5 busy for ever: fetch or write it again\n"),
        clock: make_clock(),
        before: bounds_memory.then(|| getrlimit(Resource::As)),
    };
    TOLD.set(&told);
    set_clock(told.clock, time);
    let _section = Section {
        clock: told.clock,
        limit: told.before.filter(|before| bound_memory(*before)),
    };
    run()
}

/// What ends with the look at a file.
struct Section {
    clock: Option<libc::timer_t>,
    limit: Option<Rlimit>,
}

impl Drop for Section {
    fn drop(&mut self) {
        if let Some(limit) = self.limit.take() {
            // It was this before, so that it can be set again.
            let _ = setrlimit(Resource::As, limit);
        }
        if let Some(clock) = self.clock {
            // SAFETY: the timer was made for this section and is deleted once.
            unsafe { libc::timer_delete(clock) };
        }
        TOLD.set(std::ptr::null());
    }
}

/// Sets the limit of the address space to what is used now and [`MEMORY`] on top; tells whether it did.
fn bound_memory(before: Rlimit) -> bool {
    let used = std::fs::read_to_string("/proc/self/statm");
    let pages = used.ok().and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
    let Some(pages) = pages else { return false };
    let most = pages
        .saturating_mul(rustix::param::page_size() as u64)
        .saturating_add(MEMORY);
    let current = Some(before.current.map_or(most, |current| current.min(most)));
    setrlimit(Resource::As, Rlimit { current, ..before }).is_ok()
}

/// A timer that sends [`CLOCK`] to this thread, by the thread's processor time.
fn make_clock() -> Option<libc::timer_t> {
    // SAFETY: all zeros is a valid `sigevent`, of which the three fields of a signal to a thread are set; timer_create
    // fills the timer where it returns 0.
    unsafe {
        let mut event: libc::sigevent = zeroed();
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = CLOCK;
        event.sigev_notify_thread_id = libc::gettid();
        let mut timer = MaybeUninit::uninit();
        let made = libc::timer_create(libc::CLOCK_THREAD_CPUTIME_ID, &mut event, timer.as_mut_ptr()) == 0;
        made.then(|| timer.assume_init())
    }
}

/// Lets the clock ring after `time` from now.
fn set_clock(clock: Option<libc::timer_t>, time: Duration) {
    let Some(clock) = clock else { return };
    // SAFETY: the timer has not been deleted; all zeros is a valid `itimerspec`, which is read from the stack.
    unsafe {
        let mut when: libc::itimerspec = zeroed();
        when.it_value.tv_sec = time.as_secs() as libc::time_t;
        when.it_value.tv_nsec = time.subsec_nanos().into();
        libc::timer_settime(clock, 0, &when, std::ptr::null_mut());
    }
}

/// What was done on each of [`CRASHES`] before; never freed.
static BEFORE: [AtomicPtr<libc::sigaction>; CRASHES.len()] =
    [const { AtomicPtr::new(std::ptr::null_mut()) }; CRASHES.len()];

fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for (i, signal) in CRASHES.into_iter().chain([CLOCK]).enumerate() {
            // SAFETY: the handler does only what is async-signal-safe, on the stack that Rust's threads keep for signals. All
            // zeros is a valid `sigaction`.
            unsafe {
                let mut action: libc::sigaction = zeroed();
                action.sa_sigaction = handler as extern "C" fn(i32, *mut libc::siginfo_t, *mut c_void) as usize;
                action.sa_flags = libc::SA_ONSTACK | libc::SA_SIGINFO | libc::SA_RESTART;
                let before: &mut libc::sigaction = Box::leak(Box::new(zeroed()));
                libc::sigaction(signal, &action, before);
                if let Some(slot) = BEFORE.get(i) {
                    slot.store(before, Ordering::Release);
                }
            }
        }
    });
}

extern "C" fn handler(signal: i32, info: *mut libc::siginfo_t, context: *mut c_void) {
    let told = TOLD.get();
    if told.is_null() {
        if signal != CLOCK {
            pass_on(signal, info, context);
        }
        // A clock that rang as it was stopped.
        return;
    }
    // SAFETY: the section that set it lives until it sets it back, on the thread that runs this; write and _exit are
    // async-signal-safe.
    unsafe {
        let text = if signal == CLOCK { &(*told).hang } else { &(*told).crash };
        libc::write(2, text.as_ptr().cast(), text.len());
        libc::_exit(EXIT);
    }
}

/// Does what would have been done without the handler here: the crash is another's.
fn pass_on(signal: i32, info: *mut libc::siginfo_t, context: *mut c_void) {
    let slot = CRASHES.iter().position(|crash| *crash == signal);
    let before = slot.map_or(std::ptr::null_mut(), |i| BEFORE[i].load(Ordering::Acquire));
    // SAFETY: what is in the slots was filled by sigaction and is never freed; an address in it that is neither of the two
    // constants is a function of the kind that its flags say.
    unsafe {
        match before.as_ref() {
            Some(action) if action.sa_sigaction != libc::SIG_DFL && action.sa_sigaction != libc::SIG_IGN => {
                if action.sa_flags & libc::SA_SIGINFO != 0 {
                    let run: extern "C" fn(i32, *mut libc::siginfo_t, *mut c_void) =
                        std::mem::transmute(action.sa_sigaction);
                    run(signal, info, context);
                } else {
                    let run: extern "C" fn(i32) = std::mem::transmute(action.sa_sigaction);
                    run(signal);
                }
            }
            _ => {
                libc::signal(signal, libc::SIG_DFL);
                libc::raise(signal);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hint::black_box;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Output};

    /// Which harm the child of a test does.
    const HARM: &str = "GFE_TEST_HARM";

    /// Not a test of its own: the others start this one as a process that comes to harm.
    #[test]
    fn child() {
        let Ok(harm) = std::env::var(HARM) else { return };
        let path = Path::new("/a/file.h5");
        let spin = || {
            loop {
                black_box(());
            }
        };
        let crash = || {
            // SAFETY: none: the crash is what is wanted.
            unsafe { std::ptr::write_volatile(std::ptr::without_provenance_mut::<u8>(8), 1) }
        };
        match harm.as_str() {
            "hang" => within(path, Duration::from_millis(100), true, spin),
            "crash" => opening(path, crash),
            "memory" => {
                let huge = |bytes: usize| Vec::<u8>::new().try_reserve_exact(bytes).is_ok();
                within(path, OPENING, true, || {
                    assert!(huge(16 << 20) && !huge(1 << 30));
                    reading(path, (1 << 30, false), || assert!(huge(1 << 30)));
                    reading(path, (1 << 30, true), || assert!(!huge(1 << 30)));
                    assert!(!huge(1 << 30));
                });
                assert!(huge(1 << 30));
            }
            "elsewhere" => {
                opening(path, || ());
                crash();
            }
            "beside" => {
                let (inside, waiting) = std::sync::mpsc::channel();
                std::thread::spawn(move || {
                    opening(Path::new("/a/file.h5"), || {
                        inside.send(()).expect("it is waited for");
                        std::thread::sleep(Duration::from_secs(10));
                    });
                });
                waiting.recv().expect("the thread runs");
                crash();
            }
            _ => std::process::abort(),
        }
    }

    fn run(harm: &str) -> Output {
        Command::new(std::env::current_exe().expect("this test has a path"))
            .args(["--exact", "guard::tests::child", "--nocapture"])
            .env(HARM, harm)
            .output()
            .expect("it starts")
    }

    #[test]
    fn a_hang_and_a_crash_end_with_the_exit_code_of_bad_data_and_name_the_file() {
        for (harm, word) in [("hang", "busy for ever"), ("crash", "crashes HDF5")] {
            let left = run(harm);
            let said = String::from_utf8_lossy(&left.stderr);
            assert_eq!(left.status.code(), Some(65), "{harm}: {said}");
            assert!(said.contains("/a/file.h5") && said.contains(word), "{said}");
        }
    }

    #[test]
    fn a_crash_of_other_code_stays_one() {
        for harm in ["elsewhere", "beside"] {
            let left = run(harm);
            assert_eq!(left.status.signal(), Some(libc::SIGSEGV), "{harm}");
            assert!(!String::from_utf8_lossy(&left.stderr).contains("file.h5"));
        }
    }

    #[test]
    fn memory_is_bounded_within_and_not_after() {
        let left = run("memory");
        assert!(left.status.success(), "{}", String::from_utf8_lossy(&left.stderr));
    }
}
