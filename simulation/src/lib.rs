//! Managers as they are, in one thread on tokio's paused clock, around a network, a disk and a clock that are simulated.
//! One seed decides all that happens: what clients ask, what is lost and late, who is killed, paused or cut off, and
//! when. After a while the faults end and the cluster must heal; [`invariants`] says what must have held.
//!
//! A run has a process of its own, because part of what must be the same from run to run belongs to the process: see
//! [`entropy`].

pub mod agents;
pub mod chance;
pub mod clients;
pub mod clock;
pub mod cluster;
pub mod disk;
pub mod entropy;
pub mod faults;
pub mod gate;
pub mod host;
pub mod invariants;
pub mod network;
pub mod run;
pub mod trace;
