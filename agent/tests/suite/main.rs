//! Whole agents over simulated containers, in sessions with managers on loopback. Connections are in the clear:
//! certificates are the manager's tests' business.

mod fake;
mod hops;
mod isolation;
mod session;
