//! Signals by name or number.

use super::ParseError;

/// Linux's numbers 1 to 31, in order.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
    "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO",
    "PWR", "SYS",
];

/// The real-time signals that programs may use.
const REAL_TIME: std::ops::RangeInclusive<u8> = 34..=64;

/// `SIGTERM`, `term` or `15`, returned as `SIGTERM`; real-time signals as `SIGRTMIN+3`.
pub fn signal(text: &str) -> Result<String, ParseError> {
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    named(name).or_else(|| real_time(name)).or_else(|| numbered(text)).ok_or_else(|| {
        let accepted = "write a name like SIGTERM or INT, or a number from 1 to 64";
        ParseError::new("signal", text, "there is no such signal", accepted)
    })
}

fn named(name: &str) -> Option<String> {
    let name = match name {
        "CLD" => "CHLD",
        "POLL" => "IO",
        "IOT" => "ABRT",
        other => other,
    };
    NAMES.contains(&name).then(|| format!("SIG{name}"))
}

fn real_time(name: &str) -> Option<String> {
    let span = REAL_TIME.end() - REAL_TIME.start();
    let offset = |digits: &str| super::port::digits(digits).and_then(|n| u8::try_from(n).ok()).filter(|n| *n <= span);
    let above = match (name, name.strip_prefix("RTMIN+"), name.strip_prefix("RTMAX-")) {
        ("RTMIN", ..) => Some(0),
        ("RTMAX", ..) => Some(span),
        (_, Some(digits), _) => offset(digits),
        (_, _, Some(digits)) => offset(digits).map(|below| span - below),
        _ => None,
    };
    above.map(real_time_name)
}

/// The engine knows the lower half from SIGRTMIN up and the upper half from SIGRTMAX down.
fn real_time_name(above: u8) -> String {
    let below = REAL_TIME.end() - REAL_TIME.start() - above;
    match (above, below) {
        (0, _) => "SIGRTMIN".to_owned(),
        (_, 0) => "SIGRTMAX".to_owned(),
        (1..=15, _) => format!("SIGRTMIN+{above}"),
        _ => format!("SIGRTMAX-{below}"),
    }
}

fn numbered(text: &str) -> Option<String> {
    let number = u8::try_from(super::port::digits(text)?).ok()?;
    if REAL_TIME.contains(&number) {
        return Some(real_time_name(number - REAL_TIME.start()));
    }
    let name = NAMES.get(usize::from(number.checked_sub(1)?))?;
    Some(format!("SIG{name}"))
}

#[cfg(test)]
mod tests {
    use super::{super::check, *};

    #[test]
    fn accepted() {
        for (text, expected) in [
            ("SIGTERM", "SIGTERM"),
            ("term", "SIGTERM"),
            ("sigint", "SIGINT"),
            ("9", "SIGKILL"),
            ("31", "SIGSYS"),
            ("SIGCLD", "SIGCHLD"),
            ("RTMIN", "SIGRTMIN"),
            ("SIGRTMIN+3", "SIGRTMIN+3"),
            ("RTMIN+30", "SIGRTMAX"),
            ("RTMIN+16", "SIGRTMAX-14"),
            ("SIGRTMAX-1", "SIGRTMAX-1"),
            ("37", "SIGRTMIN+3"),
            ("64", "SIGRTMAX"),
        ] {
            assert_eq!(signal(text).as_deref(), Ok(expected), "{text}");
            assert_eq!(signal(expected).as_deref(), Ok(expected), "{expected}");
        }
    }

    #[test]
    fn refused() {
        check::refused(
            signal,
            &["", "SIG", "0", "32", "33", "65", "-9", "SIGFOO", "RTMIN+31", "RTMIN+", "SIG9", "TERM "],
        );
        check::says(
            signal,
            "SIGFOO",
            r#"invalid signal "SIGFOO": there is no such signal; write a name like SIGTERM or INT, or a number from 1 to 64"#,
        );
    }
}
