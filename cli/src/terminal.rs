//! Asking whoever sits at the terminal, also where the command's input and output go elsewhere.
//!
//! A secret is typed unseen. The terminal is as it was before afterwards, whatever ends the typing: Ctrl-C is read as a
//! key like any other.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::fd::AsFd,
};

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

/// The terminal of this process, whatever its stdin and stdout are.
const TERMINAL: &str = "/dev/tty";
/// Longer than anybody types.
const ANSWER_BYTES_MAX: usize = 4 << 10;

const INTERRUPT: u8 = 0x03;
const END: u8 = 0x04;
const BACKSPACE: u8 = 0x08;
const ERASE_LINE: u8 = 0x15;
const DELETE: u8 = 0x7f;

/// Whether what is typed is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Echo {
    Shown,
    Hidden,
}

/// None where there is no terminal.
pub fn ask(question: &str, echo: Echo) -> io::Result<Option<String>> {
    let Ok(mut terminal) = OpenOptions::new().read(true).write(true).open(TERMINAL) else { return Ok(None) };
    write!(terminal, "{question}")?;
    terminal.flush()?;
    let quiet = Quiet::set(&terminal, echo)?;
    let answer = read_line(&mut &terminal);
    drop(quiet);
    writeln!(terminal)?;
    answer.map(Some)
}

/// Keys come one by one and are not shown, until this is dropped.
struct Quiet<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> Quiet<'a> {
    fn set(terminal: &'a File, echo: Echo) -> io::Result<Option<Self>> {
        match echo {
            Echo::Shown => return Ok(None),
            Echo::Hidden => {}
        }
        let before = tcgetattr(terminal.as_fd())?;
        let mut quiet = before.clone();
        quiet.local_flags.remove(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG);
        tcsetattr(terminal.as_fd(), SetArg::TCSAFLUSH, &quiet)?;
        Ok(Some(Self { terminal, before }))
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        if let Err(error) = tcsetattr(self.terminal.as_fd(), SetArg::TCSAFLUSH, &self.before) {
            tracing::debug!("the terminal stays quiet: {error}");
        }
    }
}

fn read_line(keys: &mut impl Read) -> io::Result<String> {
    let mut line = Vec::new();
    let mut key = [0];
    while line.len() < ANSWER_BYTES_MAX {
        if keys.read(&mut key)? == 0 {
            break;
        }
        match key[0] {
            b'\n' | b'\r' | END => break,
            INTERRUPT => return Err(io::ErrorKind::Interrupted.into()),
            ERASE_LINE => line.clear(),
            BACKSPACE | DELETE => erase_last(&mut line),
            other => line.push(other),
        }
    }
    String::from_utf8(line).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "what was typed is not UTF-8"))
}

/// A character, which may be several bytes.
fn erase_last(line: &mut Vec<u8>) {
    while line.pop().is_some_and(|byte| byte & 0b1100_0000 == 0b1000_0000) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(keys: &[u8]) -> io::Result<String> {
        read_line(&mut &*keys)
    }

    #[test]
    fn keys_make_a_line() {
        assert_eq!(typed(b"secret\rmore").unwrap(), "secret");
        assert_eq!(typed("oops\x15gr\u{fc}\u{df}x\x7f\x7fn\n".as_bytes()).unwrap(), "gr\u{fc}n");
        assert_eq!(typed(b"\x7fa\x04").unwrap(), "a");
        assert_eq!(typed(b"ab\x03").unwrap_err().kind(), io::ErrorKind::Interrupted);
        assert_eq!(typed(b"\xff\n").unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
