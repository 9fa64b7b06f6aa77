//! What happens when a plugin dies by a signal: a sentence, no half file, and an exit code that says so.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

/// Exit code of an internal error, BSD's EX_SOFTWARE.
const EXIT: i32 = 70;

/// The signals by which broken code dies, with their names.
const SIGNALS: [(i32, &str); 7] = [
    (libc::SIGSEGV, "SIGSEGV"),
    (libc::SIGBUS, "SIGBUS"),
    (libc::SIGFPE, "SIGFPE"),
    (libc::SIGILL, "SIGILL"),
    (libc::SIGABRT, "SIGABRT"),
    (libc::SIGSYS, "SIGSYS"),
    (libc::SIGTRAP, "SIGTRAP"),
];

/// The name of a signal by its number.
pub fn signal_name(number: i32) -> String {
    let more = [
        (libc::SIGKILL, "SIGKILL"),
        (libc::SIGTERM, "SIGTERM"),
        (libc::SIGINT, "SIGINT"),
    ];
    let known = SIGNALS.iter().chain(&more).find(|(signal, _)| *signal == number);
    known.map_or_else(|| format!("signal {number}"), |(_, name)| (*name).to_owned())
}

/// What the handler says before and after the signal's name, and the file that it removes. Never freed: a handler may be
/// reading them.
static BEFORE: Said = Said::new();
static AFTER: Said = Said::new();
static FILE: AtomicPtr<libc::c_char> = AtomicPtr::new(std::ptr::null_mut());

struct Said {
    text: AtomicPtr<u8>,
    len: AtomicUsize,
}

impl Said {
    const fn new() -> Said {
        Said {
            text: AtomicPtr::new(std::ptr::null_mut()),
            len: AtomicUsize::new(0),
        }
    }

    fn set(&self, text: String) {
        let text: &'static mut str = Box::leak(text.into_boxed_str());
        self.len.store(0, Ordering::Release);
        self.text.store(text.as_mut_ptr(), Ordering::Release);
        self.len.store(text.len(), Ordering::Release);
    }

    /// Writes it to stderr; async-signal-safe.
    fn say(&self) {
        let (text, len) = (self.text.load(Ordering::Acquire), self.len.load(Ordering::Acquire));
        if !text.is_null() {
            // SAFETY: the text is never freed.
            unsafe { libc::write(2, text.cast(), len) };
        }
    }
}

extern "C" fn died(signal: i32) {
    static ENTERED: AtomicBool = AtomicBool::new(false);
    if ENTERED.swap(true, Ordering::AcqRel) {
        // Another thread is ending the program, or this one died of the same again.
        loop {
            // SAFETY: pause and _exit are async-signal-safe.
            unsafe { libc::pause() };
        }
    }
    BEFORE.say();
    let name = SIGNALS
        .iter()
        .find(|(number, _)| *number == signal)
        .map_or("a signal", |(_, name)| name);
    // SAFETY: write, unlink and _exit are async-signal-safe; name and path are never freed.
    unsafe {
        libc::write(2, name.as_ptr().cast(), name.len());
        AFTER.say();
        let file = FILE.load(Ordering::Acquire);
        if !file.is_null() {
            libc::unlink(file);
        }
        libc::_exit(EXIT);
    }
}

/// Whether the program has come to its end by itself.
static FINISHED: AtomicBool = AtomicBool::new(false);

/// The program has come to its end by itself: leaving is no fault from here on.
pub fn finished() {
    FINISHED.store(true, Ordering::Release);
}

extern "C" fn left() {
    if FINISHED.load(Ordering::Acquire) {
        return;
    }
    BEFORE.say();
    let how = "a call of exit";
    // SAFETY: as in `died`.
    unsafe {
        libc::write(2, how.as_ptr().cast(), how.len());
        AFTER.say();
        let file = FILE.load(Ordering::Acquire);
        if !file.is_null() {
            libc::unlink(file);
        }
        libc::_exit(EXIT);
    }
}

/// From here on a crash, or a call of exit before [`finished`], ends the program with exit code 70, a sentence that names `plugin`, and without the file of
/// [`unlink_on_crash`].
pub fn guard_against_crashes(plugin: &str) {
    static INSTALLED: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let mut plugins = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    if plugins.iter().any(|known| known == plugin) {
        return;
    }
    plugins.push(plugin.to_owned());
    BEFORE.set("gfe: the program ended by ".into());
    AFTER.set(format!(
        " with the plugin {} loaded: look for the fault with gfe plugin check; an output that stood there stands\n",
        plugins.join(", ")
    ));
    if plugins.len() > 1 {
        return;
    }
    // SAFETY: the handler touches nothing that is taken down before it.
    unsafe { libc::atexit(left) };
    for (signal, _) in SIGNALS {
        // SAFETY: the handler does nothing but what is async-signal-safe. It runs on the stack that Rust's threads keep for
        // signals, so that an overflowing stack is told too.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = died as extern "C" fn(i32) as usize;
            action.sa_flags = libc::SA_ONSTACK;
            libc::sigfillset(&mut action.sa_mask);
            libc::sigaction(signal, &action, std::ptr::null_mut());
        }
    }
}

/// A file that is to be gone after a crash, since it would be half a one; `None` from when it is whole.
pub fn unlink_on_crash(path: Option<&Path>) {
    let path = path.and_then(|path| CString::new(path.as_os_str().as_bytes()).ok());
    FILE.store(path.map_or(std::ptr::null_mut(), CString::into_raw), Ordering::Release);
}
