//! Through a real port on loopback: who gets in, what each may call, and what hostile peers come to.

mod hostile;
mod manager;
mod members;
mod site;
mod table;
