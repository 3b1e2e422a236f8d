//! Waiting until a service is as asked: [`slots`] reads a snapshot, [`verdict`] decides, [`report`] puts it in words,
//! [`progress`] shows it, [`source`] has the snapshots, and [`watch`] is the loop around them. [`tally`] shows what is
//! waited for where it is a number of tasks of any service.

pub mod progress;
pub mod report;
pub mod slots;
mod source;
pub mod tally;
#[cfg(test)]
mod tests;
pub mod verdict;
pub mod watch;
