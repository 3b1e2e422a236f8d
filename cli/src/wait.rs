//! Waiting until a service is as asked: [`slots`] reads a snapshot, [`verdict`] decides, [`report`] puts it in words,
//! [`progress`] shows it, and [`watch`] is the loop around them.

pub mod progress;
pub mod report;
pub mod slots;
#[cfg(test)]
mod tests;
pub mod verdict;
pub mod watch;
