//! Progress with rate and time left, on a terminal only.

use crate::logs;
use indicatif::{ProgressBar, ProgressStyle};

/// A bar over `total` things called `what`; nothing is drawn where stderr is no terminal.
pub fn bar(total: u64, what: &str) -> ProgressBar {
    let template = format!("{{bar:30}} {{pos}}/{{len}} {what}, {{per_sec}}, {{eta}} left {{msg}}");
    // Events and a bar would draw over each other.
    let bar = if logs::shows_info() {
        ProgressBar::hidden()
    } else {
        ProgressBar::new(total)
    };
    match ProgressStyle::with_template(&template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
