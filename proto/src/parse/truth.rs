//! Truth values, as Go reads them: `true`.

use super::ParseError;

/// `true`, `t` or `1`; `false`, `f` or `0`.
pub fn truth(text: &str) -> Result<bool, ParseError> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "t" | "true" => Ok(true),
        "0" | "f" | "false" => Ok(false),
        _ => Err(ParseError::new("truth value", text, "it is neither true nor false", "write true or false")),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::check, *};

    #[test]
    fn accepted() {
        for text in ["true", "TRUE", "t", "1"] {
            assert_eq!(truth(text), Ok(true), "{text}");
        }
        for text in ["false", "False", "F", "0"] {
            assert_eq!(truth(text), Ok(false), "{text}");
        }
    }

    #[test]
    fn refused() {
        check::refused(truth, &["", "yes", "2", " true", "-1"]);
        check::says(
            truth,
            "maybe",
            r#"invalid truth value "maybe": it is neither true nor false; write true or false"#,
        );
    }
}
