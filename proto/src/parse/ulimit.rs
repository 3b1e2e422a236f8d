//! Resource limits of a container's processes: `nofile=1024:2048`.

use super::{ParseError, Quoted};
use crate::container::Ulimit;

const ACCEPTED: &str = "write it like nofile=1024:2048 or nproc=512, with -1 for no limit";

/// What `getrlimit` knows on Linux, as the engine names it.
pub const ULIMIT_NAMES: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// `NAME=SOFT[:HARD]`; without a hard limit both are the same.
pub fn ulimit(text: &str) -> Result<Ulimit, ParseError> {
    let refuse = |wrong: String| ParseError::new("ulimit", text, wrong, ACCEPTED);
    let Some((name, limits)) = text.split_once('=') else {
        return Err(refuse("it has no =".to_owned()));
    };
    if !ULIMIT_NAMES.contains(&name) {
        return Err(refuse(format!("{} is none of {}", Quoted(name), ULIMIT_NAMES.join(", "))));
    }
    let number = |part: &str| match part.parse::<i64>() {
        Ok(number) if number >= -1 && !part.starts_with('+') => Ok(number),
        Ok(_) | Err(_) => Err(refuse(format!("{} is not a limit", Quoted(part)))),
    };
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let read = Ulimit { name: name.to_owned(), soft: number(soft)?, hard: number(hard)? };
    if read.is_inverted() {
        return Err(refuse("its soft limit is above its hard limit".to_owned()));
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::{super::check, *};

    #[test]
    fn accepted() {
        for (text, soft, hard) in
            [("nofile=1024:2048", 1024, 2048), ("nofile=5", 5, 5), ("nofile=5:-1", 5, -1), ("nofile=-1", -1, -1)]
        {
            assert_eq!(ulimit(text), Ok(Ulimit { name: "nofile".into(), soft, hard }), "{text}");
        }
    }

    #[test]
    fn refused() {
        check::refused(
            ulimit,
            &[
                "",
                "nofile",
                "nofile=",
                "files=1",
                "nofile=2:1",
                "nofile=-1:5",
                "nofile=1:2:3",
                "nofile=-2",
                "nofile=+1",
            ],
        );
        check::says(
            ulimit,
            "nofile=2:1",
            r#"invalid ulimit "nofile=2:1": its soft limit is above its hard limit; write it like nofile=1024:2048 or nproc=512, with -1 for no limit"#,
        );
    }
}
