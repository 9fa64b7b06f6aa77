//! The program as its users run it: real files, real processes, read back by other people's software.

mod bad_input;
mod config;
mod encode;
mod keep_parts;
mod logs;
mod missing;
mod plot_training;
mod plugins;
mod readers;
mod solvers;
mod sources;
mod statuses;
mod study;
mod support;
mod tools;
mod train;
mod verify;

pub use support::{Folder, fails, gfe, python, read, root, text, works};
mod uncertainty;
