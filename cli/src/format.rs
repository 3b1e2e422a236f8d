//! How results are shown: `--format` and the tables. Commands make rows or objects; only this folder lays them out.

pub mod evidence;
pub mod flag;
pub mod inspect;
pub mod lines;
pub mod list;
pub mod object;
pub mod table;
pub mod template;
pub mod text;
