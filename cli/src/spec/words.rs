//! Splits a command line into words as a shell does, for `--entrypoint` and `--args`. Quotes and backslashes only:
//! nothing is expanded. And back, for showing them.

/// None inside: the word has not begun.
pub fn split(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            ' ' | '\t' | '\n' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                quoted(&mut rest, word).ok_or_else(|| unclosed(text, '\''))?;
            }
            '"' => {
                let word = word.get_or_insert_default();
                double_quoted(&mut rest, word).ok_or_else(|| unclosed(text, '"'))?;
            }
            '\\' => {
                let escaped =
                    rest.next().ok_or_else(|| format!("'{text}' ends in a backslash; double it to mean one"))?;
                word.get_or_insert_default().push(escaped);
            }
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Ok(words)
}

fn unclosed(text: &str, quote: char) -> String {
    format!("a {quote} is not closed in '{text}'")
}

fn quoted(rest: &mut std::str::Chars<'_>, word: &mut String) -> Option<()> {
    loop {
        match rest.next()? {
            '\'' => return Some(()),
            other => word.push(other),
        }
    }
}

fn double_quoted(rest: &mut std::str::Chars<'_>, word: &mut String) -> Option<()> {
    loop {
        match rest.next()? {
            '"' => return Some(()),
            '\\' => match rest.next()? {
                escaped @ ('"' | '\\' | '$' | '`') => word.push(escaped),
                other => word.extend(['\\', other]),
            },
            other => word.push(other),
        }
    }
}

/// As one would write them on a command line.
#[must_use]
pub fn join(words: &[String]) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:=@%+,".contains(c);
    let shown = words.iter().map(|word| match !word.is_empty() && word.chars().all(plain) {
        true => word.clone(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    });
    shown.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_joined_is_split_again() {
        let words = ["sh", "-c", "it's \"so\" $x", "", "a b", "k=v"].map(str::to_owned);
        assert_eq!(split(&join(&words)).unwrap(), words);
        assert_eq!(join(&words[..2]), "sh -c");
    }

    #[test]
    fn words_as_a_shell_sees_them() {
        assert_eq!(split("a  b").unwrap(), ["a", "b"]);
        assert_eq!(
            split(r#"sh -c 'echo "x y"' "a 'b' \" \n" c\ d """#).unwrap(),
            ["sh", "-c", "echo \"x y\"", "a 'b' \" \\n", "c d", ""]
        );
        assert!(split("").unwrap().is_empty());
        assert!(split("'open").unwrap_err().contains("not closed"));
        assert!(split("\"open").unwrap_err().contains("not closed"));
        assert!(split("end\\").is_err());
    }
}
